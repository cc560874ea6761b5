"""Lists what an HDF5 file holds, as a program of its own.

    python -P hdf5_index.py FILE

libhdf5 can loop or crash on a broken file: here it takes nobody with it. It
answers one JSON object, either `tensors`, by their places the shape, the type
and where in the file the numbers begin, and `names`; or `refused` or
`corrupt`, why. It imports nothing of kbert, to start quickly.

HDF5 can send a reader elsewhere: external links, soft links, datasets whose
bytes lie in another file, datasets made of pieces of others. It can name a
shape that no bytes stand behind, or compress zeros. None of it is in Keras's
weights, and all of it is refused.

Reference: The HDF5 file format; Keras's advisories of 2025 on external links
and on shapes in .h5 files.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator

# Each thread of a matrix library would take some of what memory there is.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import h5py

# BERT-large has 400 arrays in 1,500 groups, 5 deep.
MAX_OBJECTS = 50_000
MAX_DEPTH = 16

# Bytes of address space; some 300 MB of it are those of the libraries.
MAX_MEMORY = 2**30


class Refused(Exception):
    """What the file holds that no file of weights does."""


def index(path: str) -> dict:
    """The datasets of a file, and the names of its layers.

    Returns:
        A dict of two: `tensors`, place to `(shape, dtype, offset)`, with the
        dtype as NumPy writes it and the offset in bytes; and `names`, the
        place of a group to the name of its layer, which Keras writes into
        the attribute `name` of the group `vars` in it.

    Raises:
        Refused: it refers to other files, or its shapes have no bytes
            behind them.
        Exception: h5py turns the library's errors into whatever fits.
    """
    tensors, names = {}, {}
    size = os.path.getsize(path)
    with h5py.File(path, "r", locking=False) as file:
        for place, item in _walk(file):
            if isinstance(item, h5py.Dataset):
                tensors[place] = _dataset(item, size)
                continue
            group, _, last = place.rpartition("/")
            name = item.attrs.get("name") if last == "vars" else None
            if isinstance(name, str):
                names[group] = name
    return {"tensors": tensors, "names": names}


def _walk(file: h5py.File) -> Iterator[tuple[str, h5py.HLObject]]:
    """Every group and dataset with its place, a parent before its own."""
    waiting: list[tuple[str, h5py.Group]] = [("", file)]
    count = 0
    # A group can hold itself: what is no tree ends at the limits.
    while waiting:
        place, group = waiting.pop()
        if place.count("/") >= MAX_DEPTH:
            raise Refused(f"groups more than {MAX_DEPTH} deep")
        count += len(group)
        if count > MAX_OBJECTS:
            raise Refused(f"more than {MAX_OBJECTS:,} objects")
        for key in group:
            link = group.get(key, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise Refused(f"the {type(link).__name__} {key!a:.80}")
            item, inner = group[key], f"{place}/{key}"
            if isinstance(item, h5py.Group):
                waiting.append((inner, item))
            elif not isinstance(item, h5py.Dataset):
                raise Refused(f"{key!a:.80}, neither a group nor numbers")
            yield inner, item


def _dataset(dataset: h5py.Dataset, size: int) -> tuple:
    what = f"the dataset {dataset.name!a}"
    if dataset.is_virtual:
        raise Refused(f"{what}, which is made of others'")
    if dataset.external:
        raise Refused(f"{what}, whose bytes are in another file")
    kind = dataset.dtype
    if kind.kind not in "fiub" or h5py.h5t.py_create(kind) != (
        dataset.id.get_type()
    ):
        raise Refused(f"{what} of {kind}, which are no numbers")
    if dataset.id.get_create_plist().get_nfilters():
        raise Refused(f"{what}, which is compressed")
    start = dataset.id.get_offset()
    if dataset.nbytes and (
        dataset.nbytes > min(size, dataset.id.get_storage_size())
        or (start is not None and start + dataset.nbytes > size)
    ):
        raise Refused(
            f"{what} of shape {dataset.shape}, which the file has no room for"
        )
    if dataset.nbytes and start is None:
        raise Refused(f"{what}, whose bytes do not lie in one piece")
    return dataset.shape, kind.str, start or 0


def main() -> None:
    with contextlib.suppress(ImportError):  # Windows has no such limit.
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    try:
        answer = index(sys.argv[1])
    except Refused as error:
        answer = {"refused": str(error)}
    except Exception as error:
        answer = {"corrupt": str(error)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
