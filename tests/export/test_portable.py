"""ONNX and LiteRT, run by onnxruntime and LiteRT's interpreter."""

import json
from pathlib import Path

import numpy as np
import pytest

import kbert
from kbert.errors import ExportError
from kbert.export import portable

HF = Path(__file__).parents[1] / "fixtures" / "huggingface"
TEXTS = ["the film was good", "bad, bad.", "x"]


@pytest.fixture(scope="module")
def clf():
    return kbert.Classifier(HF, labels=["z", "a", "m"], max_length=16, seed=0)


def rows(clf, texts, length=None):
    tokens = clf.tokenizer(texts, max_length=16)
    return {
        name: tensor.numpy()
        for name, tensor in clf.tokenizer.pad(tokens, length).items()
    }


def check_companions(clf, folder):
    config = json.loads((folder / "kbert.json").read_text())
    assert config["head"]["config"]["labels"] == clf.labels
    vocabulary = (folder / "vocab.txt").read_text().split("\n")[:-1]
    assert tuple(vocabulary) == clf.tokenizer.vocabulary


@pytest.mark.large
@pytest.mark.parametrize("activation", ["gelu", "gelu_new"])
def test_onnx(tmp_path, activation):
    onnxruntime = pytest.importorskip("onnxruntime")
    clf = kbert.Classifier(HF, labels=["z", "a", "m"], max_length=16, seed=0)
    clf.backbone = kbert.load_backbone(HF, activation=activation)
    clf.build()
    portable.export_onnx(clf, tmp_path / "model")
    check_companions(clf, tmp_path / "model")
    session = onnxruntime.InferenceSession(tmp_path / "model" / "model.onnx")
    names = [output.name for output in session.get_outputs()]
    assert sorted(names) == ["probabilities", "score"]
    for texts in (TEXTS, TEXTS[:1]):
        answers = session.run(None, rows(clf, texts))
        np.testing.assert_allclose(
            answers[names.index("probabilities")],
            clf.predict_proba(texts),
            atol=1e-5,
        )


@pytest.mark.large
def test_litert(tmp_path, clf):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    portable.export_litert(clf, tmp_path / "model")
    check_companions(clf, tmp_path / "model")
    model = interpreter.Interpreter(str(tmp_path / "model" / "model.tflite"))
    run = model.get_signature_runner()
    for text in TEXTS:
        answers = run(**rows(clf, [text], 16))
        np.testing.assert_allclose(
            answers["probabilities"], clf.predict_proba([text]), atol=1e-5
        )


def test_missing_extra_says_what_to_install(tmp_path, clf, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tf2onnx", None)
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ExportError, match=r"kbert\[onnx\]"):
        portable.export_onnx(clf, tmp_path / "model")
    assert not any(tmp_path.iterdir())
