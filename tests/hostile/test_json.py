"""Anything at any place of the JSON that a model brings."""

import contextlib
import copy as copies
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

import kbert
from kbert.checkpoints.loading import open_folder
from kbert.errors import CheckpointError
from kbert.errors import KbertError
from kbert.formats.tensors import check_backbone

FIXTURES = Path(__file__).parents[1] / "fixtures"

FILES = [
    ("huggingface", "config.json"),
    ("huggingface", "tokenizer_config.json"),
    ("huggingface", "tokenizer.json"),
    ("huggingface", "modules.json"),
    ("huggingface", "model.safetensors.index.json"),
    ("torch", "pytorch_model.bin.index.json"),
    ("garden_1", "bert_config.json"),
    ("kerashub", "config.json"),
    ("kerashub", "tokenizer.json"),
    ("kerashub", "model.weights.json"),
]

VALUES = st.recursive(
    st.sampled_from(
        [None, True, 0, -1, 2**63, 1.5, "", "../x", "\x1b", "\ud800"]
    ),
    lambda v: st.lists(v, max_size=2) | st.dictionaries(st.just("a"), v),
    max_leaves=4,
)


def places(value, place=()):
    """Where the values of a document are, itself first."""
    yield place
    items = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        yield from places(inner, (*place, key))


def put(document, place, value):
    """The document with another value at a place."""
    if not place:
        return value
    document = copies.deepcopy(document)
    at = document
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    return document


def changes(document):
    return st.builds(
        put, st.just(document), st.sampled_from([*places(document)]), VALUES
    )


@pytest.fixture
def folder(copy, bert_json):
    """A model of a form that has a file of JSON, and what is in that."""

    def make(form, name):
        path = copy(form)
        if name == "tokenizer.json" and form == "huggingface":
            tokens = (path / "vocab.txt").read_text().split()
            (path / "vocab.txt").unlink()
            document = bert_json(tokens)[1]
            document["added_tokens"] = [{"content": "[PAD]", "id": 0}]
        elif name == "tokenizer_config.json":
            document = {"do_lower_case": True, "strip_accents": None}
        elif name == "modules.json":
            document = [{"path": "", "type": "models.Transformer"}]
        elif name.endswith("index.json") or name == "model.weights.json":
            weights = next(
                p
                for p in path.iterdir()
                if p.suffix in (".safetensors", ".h5", ".bin")
            )
            weights.rename(path / "part")
            document = {"weight_map": {"embeddings.LayerNorm.bias": "part"}}
        else:
            document = json.loads((path / name).read_text())
        (path / name).write_text(json.dumps(document))
        return path, document

    return make


@pytest.mark.parametrize(("form", "name"), FILES)
def test_any_value(form, name, folder, watched):
    path, document = folder(form, name)

    @settings(max_examples=30)
    @given(changed=changes(document))
    def run(changed):
        (path / name).write_text(json.dumps(changed))
        with watched(path), contextlib.suppress(KbertError):
            checkpoint = open_folder(path)
            check_backbone(checkpoint.config, checkpoint.tensors(), path)

    run()


def test_any_value_of_a_saved_model(saved, watched):
    path = saved / "kbert.json"
    document = json.loads(path.read_text())

    @settings(max_examples=20)
    @given(changed=changes(document))
    def run(changed):
        path.write_text(json.dumps(changed))
        with watched(saved), contextlib.suppress(KbertError):
            kbert.load(saved)

    run()


# === What has leaked once ===


def test_a_saved_model_without_labels(saved):
    path = saved / "kbert.json"
    document = put(
        json.loads(path.read_text()), ("head", "config", "labels"), None
    )
    path.write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match="before the labels are known"):
        kbert.load(saved)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("model", "vocab", "a"), [1], "each once"),
        (("model", "vocab", "a"), True, "each once"),
        (("added_tokens",), [{"content": "new", "id": {}}], "each once"),
        (("normalizer", "handle_chinese_chars"), False, "chinese_chars True"),
    ],
)
def test_tokenizer(folder, refused, place, value, message):
    path, document = folder("huggingface", "tokenizer.json")
    text = json.dumps(put(document, place, value))
    (path / "tokenizer.json").write_text(text)
    refused(path, message, error=CheckpointError)


@pytest.mark.parametrize("token", ["\x1b[2J", "x" * 1001, "\ud800", "a\nb"])
def test_tokens_of_json(folder, refused, token):
    path, document = folder("huggingface", "tokenizer.json")
    ids = document["model"]["vocab"]
    document["model"]["vocab"] = {
        token if key == "a" else key: value for key, value in ids.items()
    }
    (path / "tokenizer.json").write_text(json.dumps(document))
    assert "\x1b" not in refused(path, "without control characters")


@pytest.mark.parametrize("value", [5, [["part"]], [None], {}])
def test_files_of_weights(folder, refused, value):
    path, document = folder("kerashub", "model.weights.json")
    text = json.dumps({"weight_map": {"x": value}})
    (path / "model.weights.json").write_text(text)
    refused(path, "Expected a `weight_map`", error=CheckpointError)
