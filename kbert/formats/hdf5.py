"""Datasets of an HDF5 file that are plain arrays inside of it."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kbert.errors import CheckpointError
from kbert.errors import UnsafeFileError
from kbert.formats.tensors import Tensor
from kbert.formats.tensors import array_at

PROGRAM = Path(__file__).with_name("hdf5_index.py")

# BERT-large takes half of one.
MAX_SECONDS = 60


@dataclass(frozen=True)
class Arrays:
    """What an HDF5 file of Keras holds.

    Attributes:
        tensors: place of a dataset to it, not read yet.
        names: place of a group to the name of its layer.
    """

    tensors: dict[str, Tensor]
    names: dict[str, str]


def open_arrays(path: Path) -> Arrays:
    """The datasets of an HDF5 file, and the names of their layers.

    Another process finds out where they lie, see `hdf5_index`; this one reads
    numbers by their offsets.

    Raises:
        CheckpointError: the file is missing, truncated or corrupt.
        UnsafeFileError: it refers to other files, or its shapes have no
            bytes behind them.
    """
    found = _index(path)
    if "refused" in found:
        raise UnsafeFileError(
            f"Expected plain arrays in {path}. Received: {found['refused']}. "
            f"Do not use this file."
        )
    if "corrupt" in found:
        raise CheckpointError(
            f"Expected weights in HDF5 form in {path}. Received a file that "
            f"is missing, truncated or corrupt: {found['corrupt']}. Fetch it "
            f"again."
        )
    tensors = {}
    for place, (shape, kind, start) in found["tensors"].items():
        dtype = np.dtype(kind)
        read = functools.partial(array_at, path, dtype, tuple(shape), start)
        tensors[place] = Tensor(tuple(shape), dtype.name, read)
    return Arrays(tensors, found["names"])


def _index(path: Path) -> dict:
    try:
        done = subprocess.run(
            # Without the program's folder among those of modules.
            [sys.executable, "-P", PROGRAM, path],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=MAX_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return {"refused": f"one that takes over {MAX_SECONDS} s to open"}
    if done.returncode:  # Without an answer: a crash.
        lines = done.stderr.decode(errors="replace").split("\n")
        why = next(filter(None, reversed(lines)), f"code {done.returncode}")
        return {"refused": f"one that ends its reader: {why:.200}"}
    return json.loads(done.stdout)
