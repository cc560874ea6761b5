"""Sizes that no file has room for, and files that are too large.

Keras's advisory CVE-2026-0897 and its like: shapes, decompression, nesting;
and what is hostile in safetensors, TensorFlow's tables, JSON and vocabularies.
"""

import json
import math
import struct

import keras
import pytest

import kbert
from kbert.errors import CheckpointError
from kbert.errors import InputError
from kbert.errors import UnsafeFileError
from kbert.formats import tensor_bundle
from kbert.formats.safetensors_form import open_tensors
from kbert.formats.tensors import backbone_shapes
from kbert.utils.untrusted import MAX_JSON_BYTES
from kbert.utils.untrusted import read_json

HEAD = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"


# === config.json ===


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": 10**12}, "hidden_dim is no integer of 1 to"),
        ({"hidden_size": 65_536}, "has shape"),
        ({"vocab_size": 10**7}, "word_embeddings.weight has shape"),
        ({"num_hidden_layers": 10**9}, "num_layers is no integer of 1 to"),
        ({"num_hidden_layers": 1000}, "and 15,468 more|is missing"),
        ({"intermediate_size": 2**20}, "has shape"),
        ({"max_position_embeddings": 2**20}, "has shape"),
        ({"type_vocab_size": 60_000}, "has shape"),
        ({"num_attention_heads": 5}, "no multiple of num_heads"),
        ({"num_attention_heads": 0}, "num_heads is no integer"),
        ({"hidden_size": -32}, "hidden_dim is no integer"),
        ({"hidden_size": True}, "hidden_dim is no integer"),
        ({"hidden_size": 32.0}, "hidden_dim is no integer"),
        ({"layer_norm_eps": 1e400}, "layer_norm_epsilon"),
        ({"layer_norm_eps": float("nan")}, "layer_norm_epsilon"),
        ({"hidden_dropout_prob": 1}, "dropout is no rate"),
        ({"hidden_act": "x" * 10**6}, "activation is none of"),
        ({"model_type": "x" * 10**6}, "Expected one of the model types"),
    ],
)
def test_absurd_sizes(copy, refused, change, message):
    folder = copy("huggingface")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    refused(folder, message, error=CheckpointError)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 10**6, "brackets in brackets"),
        ('{"a":' * 10**6, "brackets in brackets"),
        ('{"hidden_size": ' + "9" * 10**6 + "}", "Expected JSON"),
        ("null", "JSON object"),
        ("\ud800".encode("utf-8", "surrogatepass"), "Expected JSON"),
        (b"\xff\xfe{", "Expected JSON"),
    ],
)
def test_hostile_json(copy, refused, text, message):
    folder = copy("huggingface")
    content = text if isinstance(text, bytes) else text.encode()
    (folder / "config.json").write_bytes(content)
    refused(folder, message, error=CheckpointError)


def test_json_without_end(tmp_path):
    path = tmp_path / "config.json"
    with open(path, "wb") as file:
        file.truncate(10 * 2**30)  # Takes no room: a hole.
    with pytest.raises(UnsafeFileError, match=f"{MAX_JSON_BYTES:,} bytes"):
        read_json(path)


# === Vocabularies ===


@pytest.mark.parametrize(
    ("text", "message", "error"),
    [
        (HEAD + "a\nb\na\n", "Line 8 .* repeats 'a' of line 6", InputError),
        (HEAD + "a\x1b[2Jb\n", "without control characters", InputError),
        (HEAD + "a\x00b\n", "without control characters", InputError),
        (HEAD + "a\tb\n", "without control characters", InputError),
        (HEAD + "x" * 1001 + "\n", "at most 1000 characters", InputError),
        (HEAD + "x\n" * 10**6, "at most 524,288 tokens", UnsafeFileError),
        ("\n" * 10**6, "at most 524,288 tokens", UnsafeFileError),
        ("x" * (9 * 2**20), "at most 8,388,608 bytes", UnsafeFileError),
        # Each line would do, but not all of them together.
        (f"{'x' * 246}\n" * 40_000, "at most 8,388,608 bytes", UnsafeFileError),
        ("a\nb\n", r"lacks \[PAD\]", InputError),
        ("", "is empty", InputError),
    ],
)
def test_vocabulary(copy, refused, text, message, error):
    folder = copy("huggingface")
    path = folder / "config.json"
    config = json.loads(path.read_text()) | {"vocab_size": 61}
    path.write_text(json.dumps(config))
    (folder / "vocab.txt").write_text(text)

    def load(folder):
        return kbert.Classifier(folder, labels=["a", "b"], max_length=8)

    assert "\x1b" not in refused(folder, message, load, error)


# === safetensors ===


def safetensors(header, data=b"", size=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + data


def facts(shape, begin, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    "content",
    [
        # Overlapping.
        safetensors({"a": facts([2], 0, 8), "b": facts([2], 4, 12)}, bytes(12)),
        safetensors({"a": facts([2], 0, 8), "b": facts([2], 0, 8)}, bytes(8)),
        # Beyond the end, and backwards.
        safetensors({"a": facts([2**40], 0, 2**42)}, bytes(8)),
        safetensors({"a": facts([2], 8, 0)}, bytes(8)),
        safetensors({"a": facts([2], -8, 0)}, bytes(8)),
        # Bytes that no tensor has.
        safetensors({"a": facts([2], 0, 8)}, bytes(80)),
        # Shapes that do not fit, overflow, or are none.
        safetensors({"a": facts([2**62, 4], 0, 8)}, bytes(8)),
        safetensors({"a": facts([-1, -2], 0, 8)}, bytes(8)),
        safetensors({"a": facts(["x"], 0, 8)}, bytes(8)),
        safetensors({"a": facts([2], 0, 8, "EVIL")}, bytes(8)),
        # Headers.
        safetensors({}, size=2**63),
        safetensors({}, size=2**40),
        safetensors(b"[" * 100_000),
        safetensors(b"\xff\xff"),
        b"",
        b"\0" * 7,
    ],
)
def test_hostile_safetensors(copy, refused, content):
    folder = copy("huggingface")
    (folder / "model.safetensors").write_bytes(content)
    refused(folder, "truncated or corrupt", error=CheckpointError)


def test_tensors_without_end_are_not_all_named(copy, refused):
    folder = copy("huggingface")
    header = {f"encoder.x{i}": facts([0], 0, 0) for i in range(50_000)}
    (folder / "model.safetensors").write_bytes(safetensors(header))
    refused(folder, "and 49,537 more")


def test_more_tensors_than_a_model_has(copy, refused):
    folder = copy("huggingface")
    header = {f"x{i}": facts([0], 0, 0) for i in range(150_000)}
    (folder / "model.safetensors").write_bytes(safetensors(header))
    message = "at most 8,388,608 bytes of tensors' names"
    refused(folder, message, error=UnsafeFileError)
    # Each shard would do, but not all of them together.
    (folder / "model.safetensors").unlink()
    names = sorted(header)
    shards = {f"{n}.safetensors": names[n::3] for n in range(3)}
    for name, part in shards.items():
        content = safetensors({key: header[key] for key in part})
        (folder / name).write_bytes(content)
    table = {key: name for name, part in shards.items() for key in part}
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": table})
    )
    refused(folder, message, error=UnsafeFileError)


def test_names_that_a_terminal_would_obey(copy, refused):
    folder = copy("huggingface")
    header = {"encoder.\x1b[2J\n": facts([0], 0, 0)}
    (folder / "model.safetensors").write_bytes(safetensors(header))
    message = refused(folder, "is not in the configuration")
    assert "\x1b" not in message


def test_numbers_of_a_type_that_numpy_has_not(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors({"a": facts([4], 0, 4, "F8_E4M3")}, bytes(4)))
    with pytest.raises(CheckpointError, match="F8_E4M3"):
        open_tensors(path)["a"].read()


# === TensorFlow's tables ===


@pytest.fixture
def index(copy):
    return copy("garden_1") / "bert_model.ckpt.index"


def replace(path, old, new):
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


def test_shape_beyond_the_data(index, refused):
    # A dimension of 61 (the vocabulary) becomes 127.
    replace(index, b"\x12\x02\x08\x3d", b"\x12\x02\x08\x7f")
    refused(index.parent, r"with shape \[127, 32\]", error=CheckpointError)


def test_data_that_is_cut(index, refused):
    path = index.with_suffix(".data-00000-of-00001")
    path.write_bytes(path.read_bytes()[:1000])
    refused(index.parent, "beyond the 1000 bytes", error=CheckpointError)


@pytest.mark.parametrize("size", [0, 47, 48, 500])
def test_table_that_is_cut(index, refused, size):
    index.write_bytes(index.read_bytes()[-size:] if size else b"")
    refused(index.parent, "truncated or corrupt", error=CheckpointError)


def test_table_without_end(index, refused):
    with open(index, "wb") as file:
        file.truncate(2**34)
    refused(index.parent, "at most 16,777,216 bytes", error=UnsafeFileError)


def test_entries_without_end(index, refused, monkeypatch):
    monkeypatch.setattr(tensor_bundle, "MAX_ENTRIES", 10)
    refused(index.parent, "at most 10 tensors", error=UnsafeFileError)


# === Saved models ===


@pytest.mark.parametrize("key", ["hidden_dim", "vocabulary_size"])
def test_saved_model_of_absurd_sizes(saved, refused, key):
    path = saved / "kbert.json"
    config = json.loads(path.read_text())
    config["backbone"][key] = 2**16
    path.write_text(json.dumps(config))
    refused(saved, "has shape", kbert.load, CheckpointError)


def test_saved_configuration_without_end(saved, refused):
    with open(saved / "kbert.json", "wb") as file:
        file.truncate(2**34)
    refused(saved, "at most 16,777,216 bytes", kbert.load, UnsafeFileError)


def test_head_that_the_file_has_no_room_for(saved, refused):
    """2 GB of head over a backbone of 72 MB, which is a hole on the disk."""
    path = saved / "kbert.json"
    config = json.loads(path.read_text())
    sizes = {"hidden_dim": 2048, "num_heads": 1, "intermediate_dim": 1}
    config["backbone"] |= sizes
    config["head"]["config"]["labels"] = [str(i) for i in range(2**18)]
    path.write_text(json.dumps(config))
    header, end = {}, 0
    for name, shape in backbone_shapes(config["backbone"]).items():
        begin, end = end, end + 4 * math.prod(shape)
        header[f"bert.{name}"] = facts(shape, begin, end)
    with open(saved / "model.safetensors", "wb") as file:
        file.write(safetensors(header))
        file.truncate(file.tell() + end)
    refused(saved, "head.logits.kernel is missing", kbert.load, CheckpointError)
    # Nor is it made later, by whatever next begins with weights unmade.
    with keras.StatelessScope():
        pass


@pytest.mark.parametrize("key", ["hidden_dim", "num_layers", "num_heads"])
def test_saved_model_without_a_size(saved, refused, key):
    path = saved / "kbert.json"
    config = json.loads(path.read_text())
    del config["backbone"][key]
    path.write_text(json.dumps(config))
    refused(saved, f"{key} is missing", kbert.load, CheckpointError)


def test_sizes_that_have_a_default(copy):
    folder = copy("huggingface")
    path = folder / "config.json"
    config = json.loads(path.read_text())
    del config["type_vocab_size"]
    path.write_text(json.dumps(config))
    assert kbert.load_backbone(folder).config["num_segments"] == 2
