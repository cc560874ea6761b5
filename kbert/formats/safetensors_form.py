"""Tensors in safetensors files, one or several shards.

Reference: https://github.com/huggingface/safetensors, "Format".
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path

import ml_dtypes
import numpy as np
import safetensors
from safetensors.numpy import save_file

from kbert.errors import CheckpointError
from kbert.errors import UnsafeFileError
from kbert.errors import listed
from kbert.formats.tensors import Tensor
from kbert.formats.tensors import array_at
from kbert.utils.finite import not_finite
from kbert.utils.untrusted import member
from kbert.utils.untrusted import read_object

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

# Files of one checkpoint; a BERT of 20 GB in shards of 100 MB has 200.
MAX_SHARDS = 1000

# Of all files of a checkpoint together; a BERT-large's tensors take 50 KB. What
# a header costs is the number of its tensors, which may be empty.
MAX_HEADER_BYTES = 8 * 2**20

_DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}


def open_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, by name, not read yet.

    Raises:
        CheckpointError: the file is missing, truncated or corrupt, or its
            offsets overlap or lead beyond its end.
        UnsafeFileError: it has too many tensors.
    """
    _check_headers([path])
    try:
        # The library checks the header: its size, every offset and shape.
        with safetensors.safe_open(path, framework="numpy"):
            pass
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size))
    except (OSError, safetensors.SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"Expected weights in safetensors form in {path}. Received a file "
            f"that is missing, truncated or corrupt: {error}. Fetch or save "
            f"it again."
        ) from error
    return {
        name: Tensor(
            tuple(facts["shape"]),
            facts["dtype"],
            functools.partial(_read, path, 8 + size, facts),
        )
        for name, facts in header.items()
        if name != "__metadata__"
    }


def _check_headers(paths: list[Path]) -> None:
    """Refuse files that describe more tensors than a BERT can have."""
    total = 0
    for path in paths:
        try:
            with open(path, "rb") as file:
                size = int.from_bytes(file.read(8), "little")
            # A file that ends before its header is truncated, no more.
            total += size if size < path.stat().st_size else 0
        except OSError:
            return  # Whoever opens it says so.
    if total > MAX_HEADER_BYTES:
        raise UnsafeFileError(
            f"Expected at most {MAX_HEADER_BYTES:,} bytes of tensors' names "
            f"and shapes in {listed(paths)}. Received: {total:,}. Do not use "
            f"these files."
        )


def _read(path: Path, start: int, facts: dict) -> np.ndarray:
    dtype = _DTYPES.get(facts["dtype"])
    if dtype is None:
        raise CheckpointError(
            f"Expected numbers of one of the types {', '.join(_DTYPES)} in "
            f"{path}. Received: {facts['dtype']}. Save the model in float32."
        )
    begin, _ = facts["data_offsets"]
    return array_at(path, dtype, facts["shape"], start + begin)


def open_shards(folder: Path, index: str = INDEX) -> dict[str, Tensor]:
    """The tensors of a checkpoint that an index spreads over files.

    Raises:
        UnsafeFileError: the index names a file outside of the folder.
        CheckpointError: the index or a file is missing or corrupt, or a
            file lacks tensors that the index has in it.
    """
    shards = shard_files(folder, index)
    _check_headers([member(folder, name) for name in shards])
    tensors = {}
    for name, wanted in shards.items():
        found = open_tensors(member(folder, name))
        if missing := sorted(wanted - set(found)):
            raise CheckpointError(
                f"Expected {len(wanted)} tensors in {folder / name}, as "
                f"{index} says. Received a file without "
                f"{', '.join(missing[:10])}. Fetch it again."
            )
        tensors |= {key: found[key] for key in wanted}
    return tensors


def shard_files(folder: Path, index: str) -> dict[str, set[str]]:
    """File to the tensors in it, as a `*.index.json` has it.

    Raises:
        UnsafeFileError: it names a file outside of the folder.
        CheckpointError: it is corrupt, or a file is missing.
    """
    table = read_object(member(folder, index)).get("weight_map")
    if not isinstance(table, dict) or not all(
        isinstance(name, str) for name in table.values()
    ):
        raise CheckpointError(
            f"Expected a `weight_map` of tensors to files in "
            f"{folder / index}. Received: something else. Fetch it again."
        )
    shards: dict[str, set[str]] = {}
    for key, name in table.items():
        shards.setdefault(name, set()).add(key)
    if len(shards) > MAX_SHARDS:
        raise CheckpointError(
            f"Expected at most {MAX_SHARDS} files in {folder / index}. "
            f"Received: {len(shards):,}. Save the model in larger files."
        )
    for name in shards:
        member(folder, name)  # All of them, before one is opened.
    return shards


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """All tensors of a safetensors file, by name.

    Raises:
        CheckpointError: the file is missing, truncated or corrupt.
    """
    return {name: t.read() for name, t in open_tensors(path).items()}


def write_tensors(tensors: Mapping[str, np.ndarray], path: Path) -> None:
    """Write tensors, by name, to a safetensors file.

    Raises:
        CheckpointError: names tensors that hold NaN or infinity.
        OSError: the file cannot be written, as on a full disk.
    """
    if names := not_finite(tensors.items()):
        raise CheckpointError(
            f"Expected finite numbers to write. Received: NaN or infinity in "
            f"{names}. They are of no use to anyone; train anew, with a lower "
            f"learning_rate or in float32."
        )
    try:
        save_file(
            {k: np.asarray(v, order="C") for k, v in tensors.items()},
            path,
            metadata={"format": "pt"},  # Hugging Face asks for it.
        )
        path.chmod(0o644)  # Its 0600 would hide it from a server.
    except safetensors.SafetensorError as error:
        raise OSError(str(error)) from error
