"""Named tensors of a file, not read yet, and the backbone they must fit.

Every format is read into `dict[str, Tensor]` under one set of names, those of
Hugging Face's `BertModel`; one function compares them with a configuration
and one sets a backbone's weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from kbert.errors import CheckpointError
from kbert.models.backbone import Backbone
from kbert.models.layers import first_values
from kbert.utils.untrusted import listed

# What a checkpoint may lack: those made without NSP have no pooler.
OPTIONAL = "pooler."

# Tensors of these are the backbone's; others belong to heads.
BACKBONE = ("embeddings.", "encoder.", "pooler.", "embeddings_project.")

# In bytes: TensorFlow computes on memory that begins at a multiple of it.
ALIGNMENT = 64

# More do not read faster.
MAX_THREADS = 4

# Buffers that Hugging Face has written at times; they hold 0, 1, 2 ...
BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")


@dataclass(frozen=True)
class Tensor:
    """A tensor that can be read.

    Attributes:
        shape: tuple of `int`.
        dtype: as the file says it, such as `"F32"`.
        read: gives the array.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], np.ndarray]

    @property
    def T(self) -> Tensor:
        """The tensor with its axes turned around."""
        return replace(self, shape=self.shape[::-1], read=lambda: self.read().T)

    def reshape(self, *shape: int) -> Tensor:
        """The same numbers in another shape, or itself if they differ."""
        if math.prod(shape) != math.prod(self.shape):
            return self
        return replace(
            self, shape=shape, read=lambda: self.read().reshape(shape)
        )

    @staticmethod
    def of(array: np.ndarray) -> Tensor:
        """An array that is in memory already."""
        return Tensor(array.shape, str(array.dtype), lambda: array)


def array_at(
    path: Path, dtype: np.dtype, shape: tuple[int, ...], offset: int
) -> np.ndarray:
    """The array that stands uncompressed at a place of a file, in bytes.

    Raises:
        CheckpointError: the file ends before the array does.
    """
    values = _empty(shape, dtype)
    rest = values.reshape(-1).view("uint8").data
    with open(path, "rb", buffering=0) as file:
        file.seek(offset)
        while count := file.readinto(rest):
            rest = rest[count:]
    if rest:
        raise CheckpointError(
            f"Expected {values.nbytes:,} bytes at {offset:,} of {path}. "
            f"Received: {len(rest):,} fewer; the file is truncated. Fetch it "
            f"again."
        )
    return values


def _empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array to fill, which begins where a backend takes it as it is."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + ALIGNMENT, "uint8")
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


def _as_tensor(array: np.ndarray):
    """The array in C order as the backend's tensor.

    TensorFlow takes over the memory, where it would copy it otherwise: most of
    the time that loading takes goes into touching memory for the first time.
    """
    if not array.flags.c_contiguous:  # A kernel that was turned around.
        turned = _empty(array.shape, array.dtype)
        turned[...] = array
        array = turned
    fits = array.flags.writeable and array.ctypes.data % ALIGNMENT == 0
    if keras.backend.backend() != "tensorflow" or not fits:
        return keras.ops.convert_to_tensor(array)
    import tensorflow as tf

    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


Named = tuple[str, keras.Variable, bool]


def dense(name: str, layer: keras.layers.Dense) -> Iterator[Named]:
    """The weights of a dense layer, as `named_variables` gives them."""
    yield f"{name}.weight", layer.kernel, True
    yield f"{name}.bias", layer.bias, False


def norm(name: str, layer: keras.layers.LayerNormalization) -> Iterator[Named]:
    """The weights of a layer normalization, the same way."""
    yield f"{name}.weight", layer.gamma, False
    yield f"{name}.bias", layer.beta, False


def named_variables(backbone: Backbone) -> Iterator[Named]:
    """Every weight as `(name, variable, transposed)`.

    The name is that of Hugging Face's `BertModel`; `transposed` says that
    Torch keeps a dense kernel as (out, in) where Keras keeps (in, out).
    """
    e = backbone.embeddings
    for name, table in (
        ("word_embeddings", e.token_embedding),
        ("position_embeddings", e.position_embedding),
        ("token_type_embeddings", e.segment_embedding),
    ):
        yield f"embeddings.{name}.weight", table.embeddings, False
    yield from norm("embeddings.LayerNorm", e.norm)
    if e.projection is not None:
        yield from dense("embeddings_project", e.projection)
    for i, layer in enumerate(backbone.encoder):
        name, attention = f"encoder.layer.{i}", layer.attention
        yield from dense(f"{name}.attention.self.query", attention.query)
        yield from dense(f"{name}.attention.self.key", attention.key)
        yield from dense(f"{name}.attention.self.value", attention.value)
        yield from dense(
            f"{name}.attention.output.dense", attention.output_dense
        )
        yield from norm(
            f"{name}.attention.output.LayerNorm", layer.attention_norm
        )
        yield from dense(f"{name}.intermediate.dense", layer.intermediate)
        yield from dense(f"{name}.output.dense", layer.output_dense)
        yield from norm(f"{name}.output.LayerNorm", layer.output_norm)
    yield from dense("pooler.dense", backbone.pooler)


def backbone_shapes(config: dict) -> dict[str, tuple[int, ...]]:
    """Name to shape of every weight, as `BertModel` has them.

    Nothing is built, so that a configuration of absurd sizes costs nothing
    before it is compared with a file.
    """
    h, f = config["hidden_dim"], config["intermediate_dim"]
    e = config.get("embedding_dim") or h
    shapes = {
        "embeddings.word_embeddings.weight": (config["vocabulary_size"], e),
        "embeddings.position_embeddings.weight": (
            config["max_sequence_length"],
            e,
        ),
        "embeddings.token_type_embeddings.weight": (config["num_segments"], e),
        "embeddings.LayerNorm.weight": (e,),
        "embeddings.LayerNorm.bias": (e,),
    }
    sizes: dict[str, tuple] = {}
    if e != h:
        sizes["embeddings_project"] = (h, e)
    for i in range(config["num_layers"]):
        name = f"encoder.layer.{i}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            sizes[f"{name}.attention.{part}"] = (h, h)
        sizes[f"{name}.attention.output.LayerNorm"] = (h,)
        sizes[f"{name}.intermediate.dense"] = (f, h)
        sizes[f"{name}.output.dense"] = (h, f)
        sizes[f"{name}.output.LayerNorm"] = (h,)
    sizes["pooler.dense"] = (h, h)
    for name, shape in sizes.items():
        shapes[f"{name}.weight"] = shape
        shapes[f"{name}.bias"] = shape[:1]
    return shapes


def check_backbone(
    config: dict, tensors: Mapping[str, Tensor], source: str | Path
) -> None:
    """Compare tensors with the weights of a configuration.

    Raises:
        CheckpointError: names every tensor that is missing, has another
            shape than the configuration says, or is the backbone's and not
            in the configuration.
    """
    expected = backbone_shapes(config)
    extra = [
        name
        for name in tensors
        if name.startswith(BACKBONE)
        and name not in expected
        and name not in BUFFERS
    ]
    _raise_misfit(
        [
            *_misfits(expected, tensors),
            *(f"{name} is not in the configuration" for name in extra),
        ],
        source,
    )


def _misfits(
    expected, tensors, optional: str | None = OPTIONAL
) -> Iterator[str]:
    for name, shape in expected.items():
        if name not in tensors:
            if optional is None or not name.startswith(optional):
                yield f"{name} is missing"
        elif tuple(tensors[name].shape) != shape:
            yield f"{name} has shape {tuple(tensors[name].shape)}, not {shape}"
        elif "f" not in str(tensors[name].dtype).lower():  # F32, bfloat16 ...
            yield f"{name} has numbers of type {tensors[name].dtype}, no floats"


def _raise_misfit(wrong: list[str], source: str | Path) -> None:
    if wrong:
        raise CheckpointError(
            f"The weights in {source} do not fit its configuration: "
            f"{listed(wrong)}."
        )


def build_backbone(
    config: dict,
    tensors: Mapping[str, Tensor],
    source: str | Path,
    **overrides,
) -> Backbone:
    """A backbone that begins with the tensors of a file.

    Tables and kernels are read by several threads and become variables as
    they are: nothing is drawn at random first, and no more than a tensor a
    thread is in memory twice. A missing pooler gets random weights.

    Raises:
        CheckpointError: as `check_backbone`, before anything is built.
    """
    check_backbone(config, tensors, source)
    wanted = config | overrides
    expected = backbone_shapes(wanted)
    # Overrides may leave layers out.
    _raise_misfit([*_misfits(expected, tensors)], source)
    with first_values(_matrices(expected, tensors)):
        backbone = Backbone(**wanted)
    # Biases and normalizations; Keras has begun them with zeros and ones.
    small = (v for v in named_variables(backbone) if len(v[1].shape) == 1)
    assign_tensors(small, tensors, source, OPTIONAL)
    return backbone


def _matrices(shapes, tensors) -> list:
    """Tables and kernels in the order in which layers are built, or None."""

    def read(name: str):
        tensor = tensors.get(name)
        if tensor is None:
            return None
        if not name.startswith("embeddings."):
            tensor = tensor.T  # A kernel, (out, in) in Torch.
        return _as_tensor(as_float(tensor.read()))

    # Not while layers are built: threads would wait for that one's Python.
    with ThreadPoolExecutor(MAX_THREADS) as pool:
        names = [name for name, shape in shapes.items() if len(shape) > 1]
        return list(pool.map(read, names))


def assign_tensors(
    named: Iterable[Named],
    tensors: Mapping[str, Tensor],
    source: str | Path,
    optional: str | None = None,
) -> None:
    """Set variables from tensors of the same names, all of them or none.

    Args:
        named: what `named_variables` and its like give.
        tensors: by name.
        source: where they come from, for errors.
        optional: how the names of those begin that may be missing.

    Raises:
        CheckpointError: names every tensor that is missing or has another
            shape.
    """
    named = list(named)
    check_tensors(named, tensors, source, optional)
    for name, variable, transposed in named:
        if name in tensors:
            tensor = tensors[name].T if transposed else tensors[name]
            variable.assign(as_float(tensor.read()))


def check_tensors(
    named: Iterable[Named],
    tensors: Mapping[str, Tensor],
    source: str | Path,
    optional: str | None = None,
) -> None:
    """Raise what `assign_tensors` would; the variables need no values."""
    shapes = {
        name: tuple(variable.shape)[:: -1 if transposed else 1]
        for name, variable, transposed in named
    }
    _raise_misfit([*_misfits(shapes, tensors, optional)], source)


def as_float(array: np.ndarray) -> np.ndarray:
    """float16, bfloat16 and float64 as float32, which backbones begin with."""
    return np.asarray(array, "float32")
