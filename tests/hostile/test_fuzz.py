"""Changed bytes of every form: an answer or a `KbertError`, nothing else."""

import contextlib
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from kbert.checkpoints.loading import open_folder
from kbert.errors import KbertError
from kbert.formats.hdf5 import open_arrays
from kbert.formats.tensors import check_backbone

FIXTURES = Path(__file__).parents[1] / "fixtures"

FILES = [
    ("huggingface", "config.json"),
    ("huggingface", "vocab.txt"),
    ("huggingface", "model.safetensors"),
    ("torch", "pytorch_model.bin"),
    ("garden_1", "bert_config.json"),
    ("garden_1", "bert_model.ckpt.index"),
    ("kerashub", "config.json"),
    ("kerashub", "tokenizer.json"),
]

# Where headers are: changes in the middle of numbers say little.
HEADER = 4096


@st.composite
def changes(draw):
    """A function that changes bytes, cuts them, or puts others in."""
    edits = draw(
        st.lists(
            st.tuples(
                st.floats(0, 1),
                st.sampled_from(["set", "cut", "put", "end"]),
                st.binary(min_size=1, max_size=8),
            ),
            min_size=1,
            max_size=6,
        )
    )

    def change(data):
        data = bytearray(data)
        for place, what, value in edits:
            at = int(place * min(len(data), HEADER))
            if what != "end" and place > 0.5:  # Zip's directory, tables.
                at = max(len(data) - at, 0)
            if what == "set":
                data[at : at + len(value)] = value
            elif what == "cut":
                del data[at : at + len(value)]
            elif what == "put":
                data[at:at] = value
            else:
                del data[at:]
        return bytes(data)

    return change


def open_all(folder):
    """Everything that is read before numbers are, and a few of them."""
    with contextlib.suppress(KbertError):
        checkpoint = open_folder(folder)
        tensors = checkpoint.tensors()
        for tensor in list(tensors.values())[:3]:
            tensor.read()
        check_backbone(checkpoint.config, tensors, folder)


@pytest.mark.parametrize(("form", "name"), FILES)
def test_changed_bytes(form, name, tmp_path, warm, watched):
    folder = Path(shutil.copytree(FIXTURES / form, tmp_path / "model"))
    content = (folder / name).read_bytes()

    @settings(max_examples=40)
    @given(change=changes())
    def run(change):
        (folder / name).write_bytes(change(content))
        with watched(folder):
            open_all(folder)

    run()


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_any_json(name, tmp_path, warm, watched):
    folder = Path(shutil.copytree(FIXTURES / "kerashub", tmp_path / "model"))
    keys = st.sampled_from(
        ["config", "registered_name", "model_type", "hidden_size", "vocab_size"]
    )
    values = st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=5)
        | st.sampled_from(["keras_hub>BertBackbone", "bert", "distilbert"]),
        lambda v: (
            st.lists(v, max_size=3)
            | st.dictionaries(keys | st.text(max_size=5), v, max_size=5)
        ),
        max_leaves=10,
    )

    @settings(max_examples=40)
    @given(value=values)
    def run(value):
        (folder / name).write_text(json.dumps(value))
        with watched(folder):
            open_all(folder)

    run()


@pytest.mark.large
def test_changed_hdf5(tmp_path, warm):
    path = tmp_path / "model.weights.h5"
    content = (FIXTURES / "kerashub" / path.name).read_bytes()

    @settings(max_examples=200)
    @given(change=changes())
    def run(change):
        path.write_bytes(change(content))
        with contextlib.suppress(KbertError):
            for tensor in open_arrays(path).tensors.values():
                tensor.read()

    run()
