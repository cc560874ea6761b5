"""Explanations: what is laid to the words adds up to what they change."""

import numpy as np
import pytest

import kbert
from kbert.export.explain import can_explain
from kbert.export.explain import make_explain

pytest.importorskip("tensorflow")

TEXTS = ["zz yyy", "aaa 中文, bb", "", "b " * 40]

HEADS = {
    "multi_label": ({"labels": ["x", "y", "z"]}, ("text",)),
    "pairs": ({"labels": ["a", "b"]}, ("text", "text_pair")),
}


@pytest.mark.parametrize("name", HEADS)
def test_attributions_add_up_to_the_change(name):
    import tensorflow as tf

    options, inputs = HEADS[name]
    head = "classification" if name == "pairs" else name
    clf = kbert.Classifier(
        *("random:1x64", head), inputs=inputs, max_length=16, seed=0, **options
    )
    assert can_explain(clf)
    columns = dict(zip(inputs, (TEXTS, TEXTS[::-1]), strict=False))
    why = make_explain(clf)(
        **{key: tf.constant(column) for key, column in columns.items()}
    )
    why = {key: value.numpy() for key, value in why.items()}
    # What is followed is the most probable label.
    np.testing.assert_allclose(
        why["value"], clf.predict_proba(columns).max(axis=1), atol=1e-5
    )
    change = why["value"] - why["blank_value"]
    np.testing.assert_allclose(why["attribution"].sum(1), change, atol=1e-3)
    assert np.abs(change).max() > 1e-2
    # Bytes of the text that `input` names, in the order of `inputs`.
    for i, text in enumerate(columns[inputs[-1]]):
        place = (why["input"][i] == len(inputs) - 1) & (why["end"][i] > 0)
        pieces = [
            text.encode()[a:b].decode()
            for a, b in zip(
                why["start"][i][place], why["end"][i][place], strict=True
            )
        ]
        assert "".join(pieces) == text.replace(" ", "")[: sum(map(len, pieces))]
        assert bool(pieces) == bool(text)


def test_heads_that_answer_tokens_have_none():
    clf = kbert.Classifier("random:1x64", "ner", labels=["PER"], seed=0)
    assert not can_explain(clf)
