"""TensorFlow's checkpoint files, read without TensorFlow.

`NAME.index` is a sorted table (LevelDB's format) of tensor names to
`BundleEntryProto`: dtype, shape, shard, offset and size. The shards
`NAME.data-00000-of-00001` are plain bytes. TensorFlow's own reader ends the
process where an entry is malformed, and reserves what a shape asks for; here
every number is checked against the size of the files first.

References: tensorflow/core/util/tensor_bundle/tensor_bundle.h,
tensorflow/core/protobuf/tensor_bundle.proto, and LevelDB's
doc/table_format.md.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from kbert.errors import CheckpointError
from kbert.errors import UnsafeFileError
from kbert.formats.tensors import Tensor
from kbert.formats.tensors import array_at
from kbert.utils.untrusted import member
from kbert.utils.untrusted import read_limited

# BERT-large with its optimizer has 1,200 tensors: 80 KB.
MAX_INDEX_BYTES = 16 * 2**20
MAX_ENTRIES = 100_000

_MAGIC = bytes.fromhex("57fb808b247547db")
_FOOTER = 48

# tensorflow/core/framework/types.proto.
_DTYPES = {
    1: np.dtype("<f4"),
    2: np.dtype("<f8"),
    3: np.dtype("<i4"),
    4: np.dtype("u1"),
    5: np.dtype("<i2"),
    6: np.dtype("i1"),
    9: np.dtype("<i8"),
    10: np.dtype("?"),
    14: np.dtype(ml_dtypes.bfloat16),
    19: np.dtype("<f2"),
}


def open_tensors(folder: Path, name: str) -> dict[str, Tensor]:
    """The tensors of a checkpoint, by name, not read yet.

    Those that hold no numbers, such as strings, are left out.

    Args:
        folder: the folder.
        name: of the index without `.index`, such as `"bert_model.ckpt"`.

    Raises:
        CheckpointError: a file is missing, truncated or corrupt.
        UnsafeFileError: the index is absurdly large.
    """
    path = member(folder, f"{name}.index")
    data = read_limited(path, MAX_INDEX_BYTES, "an index")
    try:
        entries = dict(_table(data))
        header = dict(_fields(entries.pop(b"")))
        shards = header.get(1, 1)
        if header.get(2, 0) != 0:
            raise ValueError("bytes in another order than little-endian")
        files = _Shards(folder, name, shards)
        return {
            key.decode(): tensor
            for key, entry in entries.items()
            if (tensor := _tensor(key, entry, files)) is not None
        }
    # Whatever the bytes of a broken table lead to.
    except (ValueError, LookupError, TypeError, OverflowError) as error:
        raise CheckpointError(
            f"Expected the index of a TensorFlow checkpoint in {path}. "
            f"Received one that is truncated or corrupt: {error}. Fetch it "
            f"again."
        ) from error


class _Shards:
    """The data files, each looked up once."""

    def __init__(self, folder: Path, name: str, count: int):
        self.folder, self.name, self.count = folder, name, count
        self._found: dict[int, tuple[Path, int]] = {}

    def get(self, number: int) -> tuple[Path, int]:
        if not 0 <= number < self.count <= 99_999:
            raise ValueError(f"shard {number} of {self.count}")
        if number not in self._found:
            end = f"data-{number:05}-of-{self.count:05}"
            path = member(self.folder, f"{self.name}.{end}")
            self._found[number] = path, path.stat().st_size
        return self._found[number]


def _tensor(key: bytes, entry: bytes, files: _Shards) -> Tensor | None:
    fields = dict(_fields(entry))
    dtype = _DTYPES.get(fields.get(1, 0))
    if dtype is None:
        return None
    shape = []
    for number, value in _fields(fields.get(2, b"")):
        if number == 2:  # A dimension.
            shape.append(dict(_fields(value)).get(1, 0))
        elif number == 3:
            raise ValueError(f"a shape of unknown rank for {key!r}")
    if 7 in fields:
        raise ValueError(f"{key!r}, which is stored in slices")
    offset, size = fields.get(4, 0), fields.get(5, 0)
    path, length = files.get(fields.get(3, 0))
    if len(shape) > 8 or math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"{size} bytes of {key!r} with shape {shape}")
    if offset + size > length:
        raise ValueError(f"{key!r} beyond the {length} bytes of {path.name}")
    read = functools.partial(array_at, path, dtype, tuple(shape), offset)
    return Tensor(tuple(shape), dtype.name, read)


# === LevelDB's table ===


def _table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    if len(data) < _FOOTER or data[-8:] != _MAGIC:
        raise ValueError("no table")
    footer = data[-_FOOTER:]
    _, at = _handle(footer, 0)  # Of the meta index.
    index, _ = _handle(footer, at)
    count = 0
    for _, handle in _block(data, index):
        for item in _block(data, _handle(handle, 0)[0]):
            count += 1
            if count > MAX_ENTRIES:
                raise UnsafeFileError(
                    f"Expected at most {MAX_ENTRIES:,} tensors in a "
                    f"checkpoint. Received: more. Do not use these files."
                )
            yield item


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    offset, at = _varint(data, at)
    size, at = _varint(data, at)
    return (offset, size), at


def _block(data: bytes, handle) -> Iterator[tuple[bytes, bytes]]:
    offset, size = handle
    # A byte for the compression and four for the checksum follow.
    if offset + size + 5 > len(data) or size < 4:
        raise ValueError("a block beyond the end")
    if data[offset + size] != 0:
        raise ValueError("a compressed block")
    block = data[offset : offset + size]
    restarts = int.from_bytes(block[-4:], "little")
    end = size - 4 - 4 * restarts
    if end < 0:
        raise ValueError("a block without entries")
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        fresh, at = _varint(block, at)
        length, at = _varint(block, at)
        if shared > len(key) or at + fresh + length > end:
            raise ValueError("an entry beyond its block")
        key = key[:shared] + block[at : at + fresh]
        at += fresh
        yield key, block[at : at + length]
        at += length


# === Protocol buffers ===


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number without an end")


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Numbers and values of a message's fields."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag & 7 == 0:
            value, at = _varint(data, at)
        else:
            if tag & 7 == 2:
                size, at = _varint(data, at)
            elif tag & 7 in (1, 5):
                size = 8 if tag & 7 == 1 else 4
            else:
                raise ValueError(f"a field of type {tag & 7}")
            if at + size > len(data):
                raise ValueError("a field beyond its message")
            value = data[at : at + size]
            at += size
        yield tag >> 3, value
