"""ONNX and LiteRT, run by onnxruntime and LiteRT's interpreter."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

import kbert
from kbert.errors import ExportError
from kbert.export import portable
from kbert.plugins import get_plugins

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
    assert sorted(names) == ["label", "probabilities", "score"]
    for texts in (TEXTS, TEXTS[:1]):
        answers = session.run(None, rows(clf, texts))
        np.testing.assert_allclose(
            answers[names.index("probabilities")],
            clf.predict_proba(texts),
            atol=1e-5,
        )


@pytest.mark.large
@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("multi_label", ["a", "b", "c"]),
        ("ner", ["LOC"]),
        ("sentiment", ["bad", "ok", "good"]),
        ("spam", ["ham", "spam"]),
        ("news", ["a", "b", "c", "d"]),
    ],
)
def test_onnx_of_heads(tmp_path, name, labels):
    """Constants of a head are no inputs, and its answers are all there."""
    onnxruntime = pytest.importorskip("onnxruntime")
    if name not in dict(get_plugins().heads.items()):
        pytest.skip(f"no plugin with the head {name!r} is installed")
    clf = kbert.Classifier(HF, head=name, labels=labels, max_length=16, seed=0)
    portable.export_onnx(clf, tmp_path / "model")
    session = onnxruntime.InferenceSession(tmp_path / "model" / "model.onnx")
    batch = rows(clf, TEXTS)
    assert sorted(i.name for i in session.get_inputs()) == sorted(batch)
    names = [output.name for output in session.get_outputs()]
    answers = dict(zip(names, session.run(None, batch), strict=True))
    expected = clf.head.serve(clf.model(batch))
    assert answers.keys() == expected.keys()
    for key, value in expected.items():
        value = keras.ops.convert_to_numpy(value)
        np.testing.assert_allclose(answers[key], value, atol=1e-5)


@pytest.mark.large
def test_tensors_of_a_head_are_refused(tmp_path, clf, monkeypatch):
    pytest.importorskip("onnx")
    serve = type(clf.head).serve

    def with_tensor(head, outputs):
        answers = serve(head, outputs)
        weights = keras.ops.linspace(0.0, 1.0, 3)
        return answers | {"score": answers["probabilities"] @ weights}

    monkeypatch.setattr(type(clf.head), "serve", with_tensor)
    with pytest.raises(ExportError, match="numbers or NumPy arrays"):
        portable.export_onnx(clf, tmp_path / "model")
    assert not any(tmp_path.iterdir())


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
