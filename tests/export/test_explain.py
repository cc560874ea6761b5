"""Explanations: what is laid to the words adds up to what they change."""

import numpy as np
import pytest

import kbert
from kbert.export.explain import can_explain
from kbert.export.explain import make_explain
from kbert.heads.ner import EntityHead
from kbert.heads.tokens import TokenHead

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


@pytest.mark.parametrize("head", ["classification", "ner"])
def test_no_rows_have_no_explanations(head):
    import tensorflow as tf

    clf = kbert.Classifier("random:1x64", head, labels=["a", "b"], seed=0)
    explain = tf.function(make_explain(clf))  # Keras checks what is eager.
    why = explain(text=tf.constant([], tf.string))
    assert {len(value) for value in why.values()} == {0}


def test_a_probability_that_leaps():
    """As a trained model's, which is sure of one label and then of the other:
    most points of the way lie where it does not change."""
    import tensorflow as tf

    clf = kbert.Classifier("random:1x64", labels=["a", "b"], seed=0)
    logits = clf.model.get_layer("logits")
    kernel, bias = logits.get_weights()
    texts = tf.constant(TEXTS)

    def sharpened(by):
        difference = (kernel[:, 1] - kernel[:, 0]) * by
        logits.set_weights(
            [np.stack([0 * difference, difference], 1), bias + [0, shift * by]]
        )
        return {k: v.numpy() for k, v in make_explain(clf)(text=texts).items()}

    # Half-way between the blank text and the text is where it leaps.
    shift = 0.0
    why = sharpened(1.0)
    odds = [np.log(why[k] / (1 - why[k])) for k in ("value", "blank_value")]
    sign = 1 if clf.predict([TEXTS[1]]) == ["b"] else -1
    shift = -sign * (odds[0][1] + odds[1][1]) / 2
    why = sharpened(100.0 / abs(odds[0][1] - odds[1][1]))
    change = why["value"][1] - why["blank_value"][1]
    assert change > 0.99
    assert why["attribution"][1].sum() == pytest.approx(change, rel=0.1)


@pytest.mark.parametrize("name", ["ner", "qa"])
def test_heads_that_answer_tokens_follow_what_they_decided(name):
    import tensorflow as tf

    options = {
        "ner": {"labels": ["PER", "LOC"]},
        "qa": {"no_answer": True, "threshold": 0.0},
    }[name]
    clf = kbert.Classifier("random:1x64", name, seed=0, **options)
    assert can_explain(clf)
    texts = ["zz", "aaa 中文, bb", "" if name == "ner" else "b", "b " * 40]
    columns = {key: texts[i:] + texts[:i] for i, key in enumerate(clf.inputs)}
    why = make_explain(clf)(
        **{key: tf.constant(column) for key, column in columns.items()}
    )
    why = {key: value.numpy() for key, value in why.items()}
    change = why["value"] - why["blank_value"]
    np.testing.assert_allclose(why["attribution"].sum(1), change, atol=1e-3)
    assert np.abs(change).max() > 1e-3
    # The probability of a single word's tag is its entity's score.
    if name == "ner":
        ((entity,), *_) = clf.predict(columns)
        assert why["value"][0] == pytest.approx(entity["score"], abs=1e-5)


def test_the_decision_of_a_question_is_the_answer():
    import tensorflow as tf

    clf = kbert.Classifier("random:1x64", "qa", seed=0, no_answer=True)
    columns = {"question": ["zz"] * 3, "context": ["a b c d", "b", "."]}
    tokens = clf.tokenizer(*columns.values(), max_length=32, offsets=True)
    starts, ends = (tokens[key].to_tensor(0) for key in ("starts", "ends"))
    batch = clf.tokenizer.pad(tokens)
    places = {"word": ends > starts, "input": batch["segment_ids"]}
    outputs = clf.model(batch)
    for threshold in (-1e6, 1e6):  # Never an answer; one wherever there can be.
        clf.head.threshold = threshold
        clf.build_serving()
        span = clf.head.decide(tf.convert_to_tensor(outputs), places).numpy()
        for row, answer in enumerate(clf.answers(columns)["start_byte"]):
            assert (answer < 0) == (span[row].tolist() == [0, 0])
            if answer >= 0:
                assert starts.numpy()[row, span[row, 0]] == answer


def test_token_heads_that_do_not_say_what_to_follow_have_none():
    class Silent(EntityHead):
        evidence = TokenHead.evidence

    clf = kbert.Classifier("random:1x64", "ner", labels=["PER"], seed=0)
    clf.head.__class__ = Silent
    assert not can_explain(clf)
