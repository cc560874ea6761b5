"""PyTorch's pytorch_model.bin, read without unpickling.

A `.bin` is a zip archive: `data.pkl`, a pickle that says which tensor is
which part of which storage, and the storages as plain bytes. A pickle is a
program, and Python's unpickler runs it. Here its steps are read with
`pickletools`, which runs nothing, and only those are followed that put
strings, numbers, tuples, dicts and tensors together; any other step is
refused by name.

Reference: torch/serialization.py; Python's pickletools.
"""

from __future__ import annotations

import functools
import io
import math
import pickletools
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from kbert.errors import CheckpointError
from kbert.errors import UnsafeFileError
from kbert.formats.safetensors_form import shard_files
from kbert.formats.tensors import Tensor
from kbert.formats.tensors import array_at
from kbert.utils.untrusted import has_member
from kbert.utils.untrusted import member

WEIGHTS = "pytorch_model.bin"
INDEX = "pytorch_model.bin.index.json"

# BERT-large has 400 tensors: 60 KB of pickle, and as many members. A step of
# one byte can make an object of 64.
MAX_PICKLE_BYTES = 2**20
MAX_MEMBERS = 10_000
MAX_DIRECTORY_BYTES = 2**21

_STORAGES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}

_CONVERT = (
    "Convert it where you trust it, in Python: sd = torch.load(path, "
    "weights_only=True); safetensors.torch.save_file({k: v.contiguous() for "
    "k, v in sd.items()}, 'model.safetensors')."
)


# What zipfile raises, apart from OSError and ValueError: of a version or a
# flag that it does not know, and of an offset that no file has, too.
CORRUPT = (zipfile.BadZipFile, RuntimeError, OverflowError)


def open_folder(folder: Path) -> tuple[str, dict[str, Tensor]]:
    """The Torch weights of a folder in Hugging Face form, and their file.

    Raises:
        CheckpointError: there are none, or they are corrupt.
        UnsafeFileError: the file holds more than tensors.
    """
    if has_member(folder, WEIGHTS):
        return WEIGHTS, open_tensors(member(folder, WEIGHTS))
    if has_member(folder, INDEX):
        tensors = {}
        for name in shard_files(folder, INDEX):
            tensors |= open_tensors(member(folder, name))
        return INDEX, tensors
    raise CheckpointError(
        f"Expected model.safetensors or pytorch_model.bin in the folder "
        f"{folder}. Received a folder without model.safetensors. Complete it, "
        f"or save the model again in the safetensors form."
    )


def open_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file that `torch.save` wrote, not read yet.

    What is no tensor is left out; a dict in the key `state_dict` or `model`
    is taken for all.

    Raises:
        CheckpointError: the file is missing, truncated or corrupt, or older
            than Torch 1.6.
        UnsafeFileError: it holds more than tensors, or asks for too much.
    """
    try:
        with _Bounded(path) as file, zipfile.ZipFile(file) as archive:
            members = _check_members(archive, path)
            pickle = next(n for n in members if n.endswith("/data.pkl"))
            root = pickle.removesuffix("data.pkl")
            order = members.get(f"{root}byteorder")
            if order and archive.read(order)[:6] != b"little":
                raise ValueError("bytes in another order than little-endian")
            state = _Steps(path, members, root).run(archive.read(pickle))
    except (*CORRUPT, OSError, StopIteration, ValueError) as error:
        raise CheckpointError(
            f"Expected weights that Torch 1.6 or later saved in {path}. "
            f"Received a file that is older, truncated or corrupt: "
            f"{error!r}. {_CONVERT}"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict):
        raise CheckpointError(
            f"Expected a dict of tensors in {path}. Received: "
            f"{type(state).__name__}. {_CONVERT}"
        )
    return {
        name: value
        for name, value in state.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }


class _Bounded(io.FileIO):
    """A file that gives no more at once than a zip directory may take."""

    def read(self, size: int = -1) -> bytes:
        if size > MAX_DIRECTORY_BYTES:
            raise UnsafeFileError(
                f"Expected a zip directory of at most {MAX_DIRECTORY_BYTES:,} "
                f"bytes in {self.name}. Received: {size:,}. Do not use this "
                f"file."
            )
        return super().read(MAX_DIRECTORY_BYTES if size < 0 else size)


def _check_members(archive, path) -> dict[str, zipfile.ZipInfo]:
    infos = archive.infolist()
    if len(infos) > MAX_MEMBERS:
        raise UnsafeFileError(
            f"Expected at most {MAX_MEMBERS:,} members in {path}. Received: "
            f"{len(infos):,}. Do not use this file."
        )
    for info in infos:
        # Torch stores; a compressed member could be a bomb.
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise UnsafeFileError(
                f"Expected stored members in {path}. Received: "
                f"{info.filename!r}, which is compressed or encrypted. Do not "
                f"use this file."
            )
        if info.filename.endswith("/data.pkl"):
            if info.file_size > MAX_PICKLE_BYTES:
                raise UnsafeFileError(
                    f"Expected at most {MAX_PICKLE_BYTES:,} bytes of names "
                    f"and shapes in {path}. Received: {info.file_size:,}. Do "
                    f"not use this file."
                )
    return {info.filename: info for info in infos}


class _Named:
    """A name that a pickle asks for; never looked up."""

    def __init__(self, name: str):
        self.name = name


_MARK = object()


class _Steps:
    """Follows the steps of a pickle that make tensors."""

    def __init__(self, path: Path, members: dict, root: str):
        self.path, self.members, self.root = path, members, root
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, pickle: bytes) -> Any:
        try:
            for opcode, argument, _ in pickletools.genops(pickle):
                if opcode.name == "STOP":
                    return self.stack.pop()
                step = _STEPS.get(opcode.name)
                if step is None:
                    raise self._refusal(f"the step {opcode.name}")
                step(self, argument)
        # A pickle can name what is not there in many ways.
        except (IndexError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"a pickle that does not fit: {error}") from error
        raise ValueError("a pickle without an end")

    def _refusal(self, what: str) -> UnsafeFileError:
        return UnsafeFileError(
            f"Expected nothing but tensors in {self.path}. Received a pickle "
            f"with {what}, which could run code. {_CONVERT}"
        )

    # === Steps ===

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop_mark(self) -> list:
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise IndexError("no mark")
        values = self.stack[at + 1 :]
        del self.stack[at:]
        return values

    def tuple_of(self, count: int) -> None:
        values = tuple(self.stack[len(self.stack) - count :])
        if len(values) < count:
            raise IndexError("too few values")
        del self.stack[len(self.stack) - count :]
        self.push(values)

    def set_items(self, values: list) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise TypeError("items of no dict")
        for key, value in zip(values[::2], values[1::2], strict=True):
            # Others could hash for ever.
            if not isinstance(key, str | int):
                raise TypeError("a key that is no string")
            target[key] = value

    def append(self, values: list) -> None:
        if type(self.stack[-1]) is not list:
            raise TypeError("items of no list")
        self.stack[-1].extend(values)

    def name(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        allowed = {
            "torch": _STORAGES,
            "torch._utils": ("_rebuild_tensor_v2", "_rebuild_parameter"),
            "collections": ("OrderedDict",),
        }
        if name not in allowed.get(module, ()):
            raise self._refusal(f"{module}.{name}")
        self.push(_Named(name))

    def persistent(self) -> None:
        kind, storage, key, _, count = self.stack.pop()
        if kind != "storage" or not isinstance(storage, _Named):
            raise ValueError("a reference to no storage")
        dtype = _STORAGES[storage.name]
        info = self.members[f"{self.root}data/{key}"]
        if type(count) is not int or info.file_size != count * dtype.itemsize:
            raise ValueError(f"the size of storage {ascii(key)[:40]}")
        self.push((info, dtype, count))

    def call(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Named):
            raise TypeError("a call of no name")
        if function.name == "OrderedDict":
            if arguments != ():
                raise ValueError("an OrderedDict with arguments")
            self.push({})
        elif function.name == "_rebuild_parameter":
            self.push(arguments[0])
        elif function.name == "_rebuild_tensor_v2":
            self.push(self.tensor(*arguments[:4]))
        else:
            raise TypeError(f"a call of {function.name}")

    def tensor(self, storage, offset, shape, strides) -> Tensor:
        info, dtype, count = storage
        numbers = (offset, *shape, *strides)
        if (
            any(type(n) is not int or n < 0 for n in numbers)
            or len(shape) != len(strides)
            or math.prod(shape) > count
        ):
            raise ValueError("a tensor larger than its storage")
        last = offset + sum(
            (size - 1) * stride
            for size, stride in zip(shape, strides, strict=True)
        )
        if math.prod(shape) and last >= count:
            raise ValueError("a tensor beyond its storage")
        read = functools.partial(
            _read, self.path, info, dtype, offset, shape, strides
        )
        return Tensor(tuple(shape), dtype.name, read)

    def build(self) -> None:
        # The attributes of an OrderedDict: Torch notes versions there.
        self.stack.pop()

    def get(self, index: int) -> None:
        self.push(self.memo[index])

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]


def _read(path, info, dtype, offset, shape, strides) -> np.ndarray:
    # Not by `ZipFile`, which would read the directory for every tensor.
    with open(path, "rb") as file:
        file.seek(info.header_offset)
        header = file.read(30)
    if len(header) < 30 or header[:4] != b"PK\3\4":
        raise CheckpointError(
            f"Expected the member {info.filename!r} in {path}. Received: a "
            f"damaged archive. Fetch it again."
        )
    start = info.header_offset + 30
    start += int.from_bytes(header[26:28], "little")
    start += int.from_bytes(header[28:30], "little")
    last = sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    count = last + 1 if all(shape) else 0
    start += offset * dtype.itemsize
    data = array_at(path, dtype, (count,), start)
    return np.lib.stride_tricks.as_strided(
        data,
        shape,
        [stride * dtype.itemsize for stride in strides],
    )


_Step = Callable[[_Steps, Any], None]
_VALUES = (
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE"),
)
_STEPS: dict[str, _Step] = {
    "PROTO": lambda s, _: None,
    "FRAME": lambda s, _: None,
    **dict.fromkeys(_VALUES, lambda s, value: s.push(value)),
    "NONE": lambda s, _: s.push(None),
    "NEWTRUE": lambda s, _: s.push(True),
    "NEWFALSE": lambda s, _: s.push(False),
    "MARK": lambda s, _: s.push(_MARK),
    "EMPTY_DICT": lambda s, _: s.push({}),
    "EMPTY_LIST": lambda s, _: s.push([]),
    "EMPTY_TUPLE": lambda s, _: s.push(()),
    "TUPLE": lambda s, _: s.push(tuple(s.pop_mark())),
    "TUPLE1": lambda s, _: s.tuple_of(1),
    "TUPLE2": lambda s, _: s.tuple_of(2),
    "TUPLE3": lambda s, _: s.tuple_of(3),
    "SETITEMS": lambda s, _: s.set_items(s.pop_mark()),
    "SETITEM": lambda s, _: s.set_items([s.stack.pop(-2), s.stack.pop()]),
    "APPENDS": lambda s, _: s.append(s.pop_mark()),
    "APPEND": lambda s, _: s.append([s.stack.pop()]),
    "GLOBAL": _Steps.name,
    "BINPERSID": lambda s, _: s.persistent(),
    "REDUCE": lambda s, _: s.call(),
    "BUILD": lambda s, _: s.build(),
    "BINPUT": _Steps.put,
    "LONG_BINPUT": _Steps.put,
    "BINGET": _Steps.get,
    "LONG_BINGET": _Steps.get,
}
