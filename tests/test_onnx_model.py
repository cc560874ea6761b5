"""`kbert.OnnxModel`: raw strings to answers without TensorFlow."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import kbert
from kbert.errors import CheckpointError
from kbert.errors import ConfigError
from kbert.errors import InputError

HF = Path(__file__).parent / "fixtures" / "huggingface"
TEXTS = [
    "the film was good",
    "bad, bad.",
    "",
    "x [SEP] y",
    "Ärger 北京 🎉 " * 9,
    "The FILM\twas\x00 bad!",
]
# How far answers may be from those of `predict`.
CLOSE = {"onnx": 1e-5, "int8": 0.03}


def make(**options):
    return kbert.Classifier(
        HF, labels=["z", "a", "m"], max_length=16, seed=0, **options
    )


@pytest.fixture(params=CLOSE)
def format(request):
    pytest.importorskip("onnxruntime")
    return request.param


@pytest.mark.large
def test_tokens_are_those_of_kbert(tmp_path, format):
    clf = make(inputs=("title", "body"))
    path = clf.export(tmp_path / "model", format=format)
    model = kbert.OnnxModel(path)
    pairs = [(a, b) for a in TEXTS for b in TEXTS]
    table = clf.tokenize([list(column) for column in zip(*pairs, strict=True)])
    tokens = model._tokenizer.encode_batch(pairs)
    for row, found in enumerate(tokens):
        place = slice(table.offsets[row], table.offsets[row + 1])
        assert found.ids == table.token_ids[place].tolist()
        assert found.type_ids == table.segment_ids[place].tolist()
    columns = {"title": [b"bad \xff film"], "body": ["good"]}
    assert model.predict(columns) == model.predict([("bad  film", "good")])
    with pytest.raises(ConfigError, match="title, body.*Received: 1"):
        model.predict(["one text"])
    with pytest.raises(InputError, match="one string"):
        model.predict("one text")


@pytest.mark.large
def test_python_and_the_command_answer_without_tensorflow(tmp_path, format):
    clf = make()
    path = clf.export(tmp_path / "model", format=format)
    code = (
        "import json, sys, kbert\n"
        "from kbert.cli import main\n"
        "texts = json.loads(sys.argv.pop())\n"
        "answers = kbert.OnnxModel(sys.argv[2]).answers(texts)\n"
        "print(json.dumps(answers['probabilities'].tolist()))\n"
        "try:\n    main()\nexcept SystemExit as end:\n"
        "    assert not end.code\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
    )
    told = ["predict", str(path), "-i", TEXTS[0], "--json", "--proba"]
    done = subprocess.run(
        [sys.executable, "-c", code, *told, json.dumps(TEXTS)],
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stderr
    by_python, by_command = map(json.loads, done.stdout.splitlines())
    expected = clf.answers(TEXTS)
    np.testing.assert_allclose(
        by_python, expected["probabilities"], atol=CLOSE[format]
    )
    assert list(by_command) == ["text", "label", "score", "probabilities"]
    assert list(by_command["probabilities"]) == clf.labels
    chances = list(by_command["probabilities"].values())
    np.testing.assert_allclose(
        chances, expected["probabilities"][0], atol=CLOSE[format] + 1e-6
    )
    alone = kbert.OnnxModel(path).answers([TEXTS[0]])
    assert by_command["label"] == alone["label"][0]
    np.testing.assert_allclose(chances, alone["probabilities"][0], atol=1e-5)


@pytest.mark.large
@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler"])
def test_int8_answers_nearly_as_predict(tmp_path, pooling):
    pytest.importorskip("onnxruntime")
    clf = make(pooling=pooling)
    # Small weights would give all texts nearly the same answer.
    kernel = clf.model.get_layer("logits").kernel
    kernel.assign(np.random.default_rng(0).normal(size=kernel.shape) * 2)
    path = clf.export(tmp_path / "model", format="int8")
    model = kbert.OnnxModel(path, threads=1)
    answers = model.answers(TEXTS, batch_size=4)
    expected = clf.answers(TEXTS)
    assert sorted(answers) == ["label", "probabilities", "score"]
    error = np.abs(answers["probabilities"] - expected["probabilities"])
    assert error.max() < np.ptp(expected["probabilities"], axis=0).max() / 3
    names = np.array(clf.labels)[answers["probabilities"].argmax(axis=1)]
    assert model.predict(TEXTS) == names.tolist()
    assert model.labels == clf.labels


@pytest.mark.large
def test_several_labels_are_named(tmp_path, format):
    options = {"head": "multi_label", "max_length": 16, "seed": 0}
    clf = kbert.Classifier(HF, labels=["a", "b", "c"], **options)
    middle = np.median(clf.predict_proba(TEXTS), axis=0).tolist()
    clf = kbert.Classifier(
        HF, labels=["a", "b", "c"], thresholds=middle, **options
    )
    path = clf.export(tmp_path / "model", format=format)
    found = list(kbert.OnnxModel(path).stream(TEXTS))
    expected = list(clf.stream(TEXTS))
    assert [sorted(row) for row in found] == [sorted(row) for row in expected]
    # At 8 bits a score near the threshold may fall on its other side.
    if format == "onnx":
        labels = [row["labels"] for row in found]
        assert labels == [row["labels"] for row in expected]
        assert len({len(names) for names in labels}) > 1


@pytest.mark.parametrize("window", [0, -1, "x", None])
def test_windows_of_no_rows_are_refused(window):
    model = object.__new__(kbert.OnnxModel)
    model.inputs = ("text",)
    with pytest.raises(ConfigError, match="`window` must be a positive"):
        list(model.stream(["a"], window=window))


@pytest.mark.large
def test_what_is_no_export_is_refused(tmp_path):
    pytest.importorskip("onnxruntime")
    with pytest.raises(CheckpointError, match="format='onnx' or 'int8'"):
        kbert.OnnxModel(tmp_path)
    clf = kbert.Classifier(HF, head="ner", labels=["LOC"], max_length=16)
    clf.export(tmp_path / "tokens", format="onnx")
    with pytest.raises(CheckpointError, match="answers whole texts"):
        kbert.OnnxModel(tmp_path / "tokens")
