"""ONNX and LiteRT, run by onnxruntime and LiteRT's interpreter."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

import kbert
from kbert.errors import ExportError
from kbert.export import portable
from kbert.exported.onnx_session import FEATURES
from kbert.exported.onnx_session import feed_of
from kbert.exported.onnx_session import open_session
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


def run(folder, batch):
    """Answers by name, of a batch of the backbone's inputs."""
    session = open_session(folder / "model.onnx")
    names = [output.name for output in session.get_outputs()]
    feed = feed_of(session, *(batch[name] for name in FEATURES))
    return dict(zip(names, session.run(None, feed), strict=True))


def check_companions(clf, folder):
    config = json.loads((folder / "kbert.json").read_text())
    assert config["head"]["config"]["labels"] == clf.labels
    vocabulary = (folder / "vocab.txt").read_text().split("\n")[:-1]
    assert tuple(vocabulary) == clf.tokenizer.vocabulary


@pytest.mark.large
@pytest.mark.parametrize("activation", ["gelu", "gelu_new"])
def test_onnx(tmp_path, activation):
    pytest.importorskip("onnxruntime")
    clf = kbert.Classifier(HF, labels=["z", "a", "m"], max_length=16, seed=0)
    clf.backbone = kbert.load_backbone(HF, activation=activation)
    clf.build()
    portable.export_onnx(clf, tmp_path / "model")
    check_companions(clf, tmp_path / "model")
    for texts in (TEXTS, TEXTS[:1]):
        answers = run(tmp_path / "model", rows(clf, texts))
        assert sorted(answers) == ["label", "probabilities", "score"]
        np.testing.assert_allclose(
            answers["probabilities"], clf.predict_proba(texts), atol=1e-5
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
    pytest.importorskip("onnxruntime")
    if name not in dict(get_plugins().heads.items()):
        pytest.skip(f"no plugin with the head {name!r} is installed")
    clf = kbert.Classifier(HF, head=name, labels=labels, max_length=16, seed=0)
    portable.export_onnx(clf, tmp_path / "model")
    batch = rows(clf, TEXTS)
    answers = run(tmp_path / "model", batch)
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
    with pytest.raises(ExportError, match=r"kbert-keras\[onnx\]"):
        portable.export_onnx(clf, tmp_path / "model")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "format", [pytest.param("onnx", marks=pytest.mark.large), "int8"]
)
def test_inputs_are_those_of_a_tokenizer(tmp_path, clf, format):
    """What `AutoTokenizer` gives goes in as it is, whatever its size."""
    pytest.importorskip("tf2onnx")
    path = clf.export(tmp_path / "model", format=format)
    session = open_session(path / "model.onnx")
    axes = ["batch_size", "sequence_length"]
    assert [(x.name, x.type, x.shape) for x in session.get_inputs()] == [
        (name, "tensor(int64)", axes)
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    assert {x.shape[0] for x in session.get_outputs()} == {"batch_size"}
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    for texts in (TEXTS, [""], ["the film " * 40], ["a", "", "bad " * 9]):
        batch = tokenizer(
            texts, padding=True, truncation=True, return_tensors="np"
        )
        received = session.run(["probabilities"], dict(batch))[0]
        expected = kbert.OnnxModel(path).answers(texts, batch_size=9)
        np.testing.assert_allclose(
            received, expected["probabilities"], atol=1e-6
        )
        close = 1e-5 if format == "onnx" else 0.03
        np.testing.assert_allclose(
            received, clf.predict_proba(texts), atol=close
        )


@pytest.mark.parametrize(
    "size",
    [
        {"num_heads": 1},
        pytest.param({"num_heads": 16}, marks=pytest.mark.large),
        pytest.param({"embedding_dim": 8}, marks=pytest.mark.large),
        pytest.param(
            {"num_heads": 1, "embedding_dim": 1}, marks=pytest.mark.large
        ),
        pytest.param({"num_segments": 1}, marks=pytest.mark.large),
        pytest.param({"num_segments": 3}, marks=pytest.mark.large),
        pytest.param({"activation": "relu"}, marks=pytest.mark.large),
    ],
    ids=str,
)
def test_models_of_odd_sizes(tmp_path, clf, size):
    pytest.importorskip("tf2onnx")
    config = {
        "vocabulary_size": clf.tokenizer.vocabulary_size,
        **{"num_layers": 1, "num_heads": 2, "hidden_dim": 16},
        **{"intermediate_dim": 8, "max_sequence_length": 40},
    }
    odd = kbert.Classifier.on(
        kbert.Backbone(**(config | size)),
        clf.tokenizer,
        kbert.heads.classification.ClassificationHead(["a", "z"]),
        max_length=3 if "num_heads" in size else 40,
    )
    model = kbert.OnnxModel(odd.export(tmp_path / "m", format="onnx"))
    for texts in (TEXTS, [""], ["the film " * 40, "", "x"]):
        np.testing.assert_allclose(
            model.answers(texts)["probabilities"],
            odd.predict_proba(texts),
            atol=1e-5,
        )


def test_exports_of_before_are_read(tmp_path, clf, monkeypatch):
    pytest.importorskip("tf2onnx")
    monkeypatch.setattr(portable, "take_tokenizers_inputs", lambda model: None)
    path = clf.export(tmp_path / "old", format="int8")
    names = [x.name for x in open_session(path / "model.onnx").get_inputs()]
    assert names == ["token_ids", "segment_ids", "padding_mask"]
    model = kbert.OnnxModel(path)
    np.testing.assert_allclose(
        model.answers(TEXTS)["probabilities"],
        clf.predict_proba(TEXTS),
        atol=0.03,
    )


@pytest.mark.parametrize("wrong", ["values", "fails", "infinite", "shape"])
def test_what_answers_otherwise_is_not_kept(tmp_path, clf, monkeypatch, wrong):
    pytest.importorskip("tf2onnx")
    from onnx import helper
    from onnx import numpy_helper

    change = portable.take_tokenizers_inputs
    value, op = {
        "values": (np.float32([0.9, 0.05, 0.05]), "Mul"),
        "infinite": (np.float32(np.inf), "Mul"),
        "shape": (np.zeros((2, 1, 3), "float32"), "Add"),
        "fails": (np.zeros((7, 5), "float32"), "Add"),
    }[wrong]

    def spoil(model):
        change(model)
        nodes = [*model.graph.node]
        places = [i for i, n in enumerate(nodes) if "probabilities" in n.output]
        nodes[places[0]].output[0] = "before"
        spoilt = helper.make_node(op, ["before", "spoil"], ["probabilities"])
        nodes.insert(places[0] + 1, spoilt)
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        model.graph.initializer.append(numpy_helper.from_array(value, "spoil"))

    monkeypatch.setattr(portable, "take_tokenizers_inputs", spoil)
    with pytest.raises(ExportError, match="ONNX model.*[Nn]othing is kept"):
        clf.export(tmp_path / "m", format="int8")
    assert not any(tmp_path.iterdir())
