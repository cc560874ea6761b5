"""Pickles: pytorch_model.bin and what else could be unpickled.

Keras's and Torch's advisories (CVE-2025-32434: `weights_only` that is not);
kbert follows the steps that make tensors and refuses every other.
"""

import io
import json
import os
import pickle
import shutil
import zipfile

import numpy as np
import pytest

import kbert
from kbert.errors import CheckpointError
from kbert.errors import UnsafeFileError
from kbert.formats import torch_form


def write(folder, content, compress=zipfile.ZIP_STORED, **members):
    """A pytorch_model.bin with a pickle of its own."""
    path = folder / "pytorch_model.bin"
    with zipfile.ZipFile(path, "w", compress) as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/version", "3\n")
        for name, data in members.items():
            archive.writestr(f"archive/data/{name}", data)
    return path


class Evil:
    """Unpickling it calls a function."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.fixture
def folder(copy):
    return copy("torch")


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("function", [os.system, eval, getattr])
def test_call(folder, refused, canary, function, protocol):
    evil = Evil(function, f"open({str(canary)!r}, 'w')")
    write(folder, pickle.dumps({"x": evil}, protocol))
    refused(folder, "could run code", error=UnsafeFileError)


def test_message_names_the_function_and_the_way_out(folder, refused):
    write(folder, pickle.dumps({"x": Evil(os.system, "true")}, 2))
    message = refused(folder, "posix.system")
    assert "weights_only=True" in message


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", 1j, np.zeros(2)])
def test_other_objects(folder, refused, value):
    write(folder, pickle.dumps({"x": value}, 4))
    refused(folder, "could run code", error=UnsafeFileError)


def test_persistent_reference_to_elsewhere(folder, refused):
    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return ("storage", "/etc/passwd") if value == "evil" else None

    out = io.BytesIO()
    Pickler(out, 2).dump({"x": "evil"})
    write(folder, out.getvalue())
    refused(folder, "corrupt")


def tensor(shape, strides, offset=0, count=4, key="0", storage="FloatStorage"):
    """The pickle of a dict of one tensor."""

    def text(value):
        data = value.encode()
        return b"X" + len(data).to_bytes(4, "little") + data

    def number(value):
        data = pickle.encode_long(value)
        return b"\x8a" + bytes([len(data)]) + data

    def numbers(values):
        return b"(" + b"".join(map(number, values)) + b"t"

    return b"".join(
        [
            b"\x80\x02}",
            text("bert.x.weight"),
            b"ctorch._utils\n_rebuild_tensor_v2\n((",
            text("storage"),
            f"ctorch\n{storage}\n".encode(),
            text(key),
            text("cpu"),
            number(count),
            b"tQ",
            number(offset),
            numbers(shape),
            numbers(strides),
            b"\x89ccollections\nOrderedDict\n)RtRs.",
        ]
    )


def test_the_tensor_that_the_next_tests_spoil(folder):
    data = np.arange(4, dtype="<f4").tobytes()
    path = write(folder, tensor((2, 2), (1, 2)), **{"0": data})
    (found,) = torch_form.open_tensors(path).values()
    np.testing.assert_array_equal(found.read(), [[0, 2], [1, 3]])


@pytest.mark.parametrize(
    "change",
    [
        {"shape": (2**40,), "strides": (0,)},  # One number, for ever.
        {"shape": (2**20, 2**20), "strides": (0, 0)},
        {"shape": (4,), "strides": (2,)},  # Beyond the end.
        {"shape": (2,), "strides": (1,), "offset": 3},
        {"shape": (2,), "strides": (-1,)},
        {"shape": (2,), "strides": (1,), "offset": -1},
        {"shape": (2, 2), "strides": (1,)},
        {"shape": (2,), "strides": (1,), "count": 2**40},
        {"shape": (2,), "strides": (1,), "key": "../../secret"},
        {"shape": (2,), "strides": (1,), "storage": "DoubleStorage"},
    ],
)
def test_tensor_beyond_its_bytes(folder, refused, change):
    write(folder, tensor(**change), **{"0": bytes(16)})
    refused(folder, "truncated or corrupt", error=CheckpointError)


def test_storage_of_unknown_kind(folder, refused):
    evil = tensor((2,), (1,), storage="EvilStorage")
    write(folder, evil, **{"0": bytes(16)})
    refused(folder, "torch.EvilStorage", error=UnsafeFileError)


# === The archive ===


def test_compressed(folder, refused):
    write(folder, b"\0" * 2**20, zipfile.ZIP_DEFLATED)
    refused(folder, "compressed or encrypted", error=UnsafeFileError)


def test_pickle_without_end(folder, refused):
    write(folder, b"\x80\x02" + b"}" * 2**21)
    refused(folder, "at most 1,048,576 bytes", error=UnsafeFileError)


def test_largest_pickle(folder, refused):
    write(folder, b"\x80\x02" + b"}" * (2**20 - 2))
    refused(folder, "corrupt")


def test_memo_of_absurd_numbers(folder, refused):
    write(folder, b"\x80\x02}r" + b"\xff" * 4 + b"j" + b"\xff" * 4 + b".")
    refused(folder, "embeddings.word_embeddings.weight is missing")


def test_members_without_end(folder, refused):
    path = folder / "pytorch_model.bin"
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(10_001):
            archive.writestr(f"{i}", b"")
    refused(folder, "at most 10,000 members", error=UnsafeFileError)


def test_directory_without_end(folder, refused):
    path = folder / "pytorch_model.bin"
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(15_000):
            archive.writestr(f"{i:0100}", b"")
    refused(folder, "zip directory of at most", error=UnsafeFileError)


@pytest.mark.parametrize(
    ("at", "value"),
    [(6, 99), (8, 0x20), (8, 0x40)],
    ids=["version", "patched", "strong encryption"],
)
def test_directory_of_another_zip(folder, refused, at, value):
    """Versions and flags that zipfile says it has not implemented."""
    path = folder / "pytorch_model.bin"
    content = bytearray(path.read_bytes())
    entry = content.find(b"PK\1\2")
    while entry >= 0:
        content[entry + at] = value
        entry = content.find(b"PK\1\2", entry + 1)
    path.write_bytes(content)
    refused(folder, "older, truncated or corrupt")


def test_old_pickle_without_an_archive(folder, refused, canary):
    evil = Evil(os.system, f"touch {canary}")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(evil))
    refused(folder, "Torch 1.6 or later.*weights_only=True")


# === Pickles in other places ===


def test_pickled_array_in_a_corpus(tmp_path, corpus_path, refused, canary):
    folder = tmp_path / "corpus"
    shutil.copytree(corpus_path, folder)
    path = folder / "00000.tokens.npy"
    evil = np.array([Evil(os.system, f"touch {canary}")], object)
    np.save(path, evil, allow_pickle=True)
    index = json.loads((folder / "corpus.json").read_text())
    index["files"][path.name]["bytes"] = path.stat().st_size
    (folder / "corpus.json").write_text(json.dumps(index))
    refused(folder, "Python objects", kbert.Corpus)
