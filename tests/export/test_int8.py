"""The int8 export; tests/test_onnx_model.py has what answers with it."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import kbert
from kbert.errors import ConfigError
from kbert.errors import ExportError
from kbert.export.onnx_encoder import LARGEST
from kbert.export.onnx_encoder import quantize

HF = Path(__file__).parents[1] / "fixtures" / "huggingface"


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


def test_unknown_format(tmp_path):
    with pytest.raises(ConfigError, match="savedmodel, int8.*'int4'"):
        make().export(tmp_path / "model", format="int4")


def test_missing_extra_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ExportError, match=r"kbert-keras\[onnx\]"):
        make().export(tmp_path / "model", format="int8")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ExportError, match=r"kbert-keras\[onnx\]"):
        kbert.OnnxModel(tmp_path / "model")
    assert not any(tmp_path.iterdir())


def test_heads_that_answer_tokens_are_refused(tmp_path):
    clf = kbert.Classifier(HF, head="ner", labels=["LOC"], max_length=16)
    with pytest.raises(ExportError, match="the head 'ner'"):
        clf.export(tmp_path / "model", format="int8")
    assert not any(tmp_path.iterdir())
