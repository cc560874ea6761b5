"""Datasets of an HDF5 file that are plain arrays inside of it.

HDF5 can send a reader elsewhere: external links, soft links, datasets whose
bytes lie in another file, datasets made of pieces of others. It can name a
shape that no bytes stand behind, or compress zeros. None of it is in Keras's
weights, and all of it is refused before a number is read.

Reference: The HDF5 file format; Keras's advisories of 2025 on external links
and on shapes in .h5 files.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from kbert.checkpoints.tensors import Tensor
from kbert.errors import CheckpointError
from kbert.errors import UnsafeFileError

# BERT-large has 400 arrays in 1,500 groups, 5 deep.
MAX_OBJECTS = 50_000
MAX_DEPTH = 16


@dataclass(frozen=True)
class Arrays:
    """What an HDF5 file of Keras holds.

    Attributes:
        tensors: path to dataset, not read yet.
        names: path of a group to the name of its layer, which Keras writes
            into the attribute `name` of the group `vars` in it.
    """

    tensors: dict[str, Tensor]
    names: dict[str, str]


def open_arrays(path: Path) -> Arrays:
    """The datasets of an HDF5 file, and the names of their layers.

    Raises:
        CheckpointError: the file is missing, truncated or corrupt.
        UnsafeFileError: it refers to other files, or its shapes have no
            bytes behind them.
    """
    found = Arrays({}, {})
    try:
        size = path.stat().st_size
        with h5py.File(path, "r", locking=False) as file:
            for place, item in _walk(file, path):
                if isinstance(item, h5py.Group):
                    group, _, last = place.rpartition("/")
                    name = item.attrs.get("name") if last == "vars" else None
                    if isinstance(name, str):
                        found.names[group] = name
                    continue
                _check(item, size, path)
                read = functools.partial(_read, path, place)
                found.tensors[place] = Tensor(item.shape, item.dtype.name, read)
    # h5py turns the library's errors into whatever fits.
    except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"Expected weights in HDF5 form in {path}. Received a file that "
            f"is missing, truncated or corrupt: {error}. Fetch it again."
        ) from error
    return found


def _walk(file: h5py.File, path: Path) -> Iterator[tuple[str, h5py.HLObject]]:
    """Every group and dataset with its place, a parent before its own."""
    waiting: list[tuple[str, h5py.Group]] = [("", file)]
    count = 0
    # A group can hold itself: what is no tree ends at the limits.
    while waiting:
        place, group = waiting.pop()
        if place.count("/") >= MAX_DEPTH:
            _refuse(path, f"groups more than {MAX_DEPTH} deep")
        count += len(group)
        if count > MAX_OBJECTS:
            _refuse(path, f"more than {MAX_OBJECTS:,} objects")
        for key in group:
            link = group.get(key, getlink=True)
            if not isinstance(link, h5py.HardLink):
                _refuse(path, f"the {type(link).__name__} {key!a:.80}")
            item, inner = group[key], f"{place}/{key}"
            if isinstance(item, h5py.Group):
                waiting.append((inner, item))
            elif not isinstance(item, h5py.Dataset):
                _refuse(path, f"{key!a:.80}, neither a group nor numbers")
            yield inner, item


def _check(dataset: h5py.Dataset, size: int, path: Path) -> None:
    what = f"the dataset {dataset.name!a}"
    if dataset.is_virtual:
        _refuse(path, f"{what}, which is made of others'")
    if dataset.external:
        _refuse(path, f"{what}, whose bytes are in another file")
    if dataset.dtype.kind not in "fiub":
        _refuse(path, f"{what} of {dataset.dtype}, which are no numbers")
    if dataset.id.get_create_plist().get_nfilters():
        _refuse(path, f"{what}, which is compressed")
    if dataset.nbytes > size or dataset.nbytes > dataset.id.get_storage_size():
        _refuse(
            path,
            f"{what} of shape {dataset.shape}, which the file has no room for",
        )


def _refuse(path: Path, what: str) -> None:
    raise UnsafeFileError(
        f"Expected plain arrays in {path}. Received: {what}. Do not use this "
        f"file."
    )


def _read(path: Path, name: str) -> np.ndarray:
    with h5py.File(path, "r", locking=False) as file:
        return file[name][...]
