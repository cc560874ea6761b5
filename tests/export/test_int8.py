"""The int8 export, run by onnxruntime in `kbert.OnnxModel`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import kbert
from kbert.errors import CheckpointError
from kbert.errors import ConfigError
from kbert.errors import ExportError
from kbert.errors import InputError
from kbert.export.onnx_encoder import LARGEST
from kbert.export.onnx_encoder import quantize

HF = Path(__file__).parents[1] / "fixtures" / "huggingface"
TEXTS = [
    "the film was good",
    "bad, bad.",
    "",
    "x [SEP] y",
    "Ärger 北京 🎉 " * 9,
    "The FILM\twas\x00 bad!",
]


@given(
    arrays.arrays(
        "float32",
        arrays.array_shapes(min_dims=2, max_dims=2, max_side=5),
        elements=st.floats(-100, 100, width=32),
    ),
    st.sampled_from([0, 1]),
)
def test_quantized_values_are_off_by_half_a_step(values, axis):
    integers, scale = quantize(values, axis)
    assert integers.dtype == np.int8 and scale.dtype == np.float32
    assert np.abs(integers).max() <= LARGEST
    assert (np.abs(integers * scale - values) <= scale * 0.501).all()


def make(**options):
    return kbert.Classifier(
        HF, labels=["z", "a", "m"], max_length=16, seed=0, **options
    )


@pytest.mark.large
def test_the_command_answers_without_tensorflow(tmp_path):
    pytest.importorskip("onnxruntime")
    clf = make()
    clf.export(tmp_path / "int8", format="int8")
    code = (
        "import sys\n"
        "from kbert.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n"
        "    assert not end.code\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
    )
    told = ["predict", str(tmp_path / "int8"), "-i", TEXTS[0], "--json"]
    done = subprocess.run(
        [sys.executable, "-c", code, *told, "--proba"],
        capture_output=True,
        text=True,
        env=dict(os.environ, PYTHONPATH=str(Path(__file__).parents[2])),
    )
    assert not done.returncode, done.stderr
    answer = json.loads(done.stdout)
    assert list(answer)[:3] == ["text", "label", "score"]
    expected = kbert.OnnxModel(tmp_path / "int8").answers([TEXTS[0]])
    assert answer["label"] == expected["label"][0]
    assert list(answer["probabilities"]) == clf.labels
    received = list(answer["probabilities"].values())
    np.testing.assert_allclose(
        received, expected["probabilities"][0], atol=1e-5
    )


def test_unknown_format(tmp_path):
    with pytest.raises(ConfigError, match="savedmodel, int8.*'int4'"):
        make().export(tmp_path / "model", format="int4")


def test_missing_extra_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ExportError, match=r"kbert\[onnx\]"):
        make().export(tmp_path / "model", format="int8")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ExportError, match=r"kbert\[onnx\]"):
        kbert.OnnxModel(tmp_path / "model")
    assert not any(tmp_path.iterdir())


def test_heads_that_answer_tokens_are_refused(tmp_path):
    clf = kbert.Classifier(HF, head="ner", labels=["LOC"], max_length=16)
    with pytest.raises(ExportError, match="the head 'ner'"):
        clf.export(tmp_path / "model", format="int8")
    assert not any(tmp_path.iterdir())


@pytest.mark.large
@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler"])
def test_answers_nearly_as_predict(tmp_path, pooling):
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
def test_tokens_are_those_of_kbert(tmp_path):
    pytest.importorskip("onnxruntime")
    clf = make(inputs=("title", "body"))
    path = clf.export(tmp_path / "model", format="int8")
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
def test_a_fresh_process_needs_no_tensorflow(tmp_path):
    pytest.importorskip("onnxruntime")
    clf = make()
    path = clf.export(tmp_path / "model", format="int8")
    code = (
        "import json, sys, kbert\n"
        "model = kbert.OnnxModel(sys.argv[1])\n"
        "answers = model.answers(json.loads(sys.argv[2]))\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
        "print(json.dumps(answers['probabilities'].tolist()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), json.dumps(TEXTS)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(
        json.loads(done.stdout), clf.predict_proba(TEXTS), atol=0.03
    )


@pytest.mark.large
def test_what_is_no_export_is_refused(tmp_path):
    pytest.importorskip("onnxruntime")
    with pytest.raises(CheckpointError, match="format='int8'"):
        kbert.OnnxModel(tmp_path)
    make().export(tmp_path / "plain", format="onnx")
    with pytest.raises(CheckpointError, match="format='int8'"):
        kbert.OnnxModel(tmp_path / "plain")
