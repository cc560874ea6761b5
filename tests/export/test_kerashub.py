"""Presets of KerasHub, loaded by keras_hub."""

from pathlib import Path

import numpy as np
import pytest

import kbert
from kbert.errors import ExportError
from kbert.export import kerashub

HF = Path(__file__).parents[1] / "fixtures" / "huggingface"
PRESET = HF.parent / "kerashub"
LABELS = ["z", "a", "m"]
TEXTS = ["the film was good", "bad, bad.", "café", "x"]


def test_what_keras_hub_does_not_compute(tmp_path):
    clf = kbert.Classifier(HF, labels=LABELS, max_length=16)
    with pytest.raises(ExportError, match="approximate_gelu=True"):
        kerashub.save_task(clf, tmp_path / "preset")
    clf = kbert.Classifier(HF.parent / "electra", max_length=16)
    with pytest.raises(ExportError, match="a size of their own"):
        kerashub.save_task(clf, tmp_path / "preset", approximate_gelu=True)
    assert not any(tmp_path.iterdir())


@pytest.mark.large
@pytest.mark.parametrize("pooling", ["pooler", "mean"])
def test_keras_hub_answers_the_same(tmp_path, pooling):
    import keras_hub

    clf = kbert.Classifier(
        PRESET, labels=LABELS, max_length=16, pooling=pooling, seed=0
    )
    kerashub.save_task(clf, tmp_path / "preset")
    tokens = clf.tokenizer.pad(clf.tokenizer(TEXTS, max_length=16), 16)
    x = {k: v.numpy() for k, v in tokens.items()}
    if pooling == "mean":
        model = keras_hub.models.BertBackbone.from_preset(
            str(tmp_path / "preset")
        )
        theirs = model.predict(x, verbose=0)["pooled_output"]
        ours = clf.backbone.predict(x, verbose=0)["pooled_output"]
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    else:
        model = keras_hub.models.BertTextClassifier.from_preset(
            str(tmp_path / "preset")
        )
        read = model.preprocessor(TEXTS)
        np.testing.assert_array_equal(read["token_ids"], x["token_ids"])
        logits = model.predict(TEXTS, verbose=0)
        theirs = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        np.testing.assert_allclose(clf.predict_proba(TEXTS), theirs, atol=1e-5)
    # And kbert reads it back.
    again = kbert.load_backbone(tmp_path / "preset")
    for a, b in zip(
        again.get_weights(), clf.backbone.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(a, b)
