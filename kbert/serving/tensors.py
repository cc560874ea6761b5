"""`TensorProto`s to arrays and back, with nobody's memory at risk."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from google.protobuf.message import DecodeError

from kbert.serving.limits import Limits
from kbert.serving.status import invalid
from kbert.serving.wire import varint

if TYPE_CHECKING:
    from tensorflow.core.framework.tensor_pb2 import TensorProto

# Where clients look for the values of each type.
_FIELDS = {
    "float32": "float_val",
    "float64": "double_val",
    "int64": "int64_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
    "bool": "bool_val",
    "string": "string_val",
} | dict.fromkeys(("int8", "int16", "int32", "uint8", "uint16"), "int_val")


# Values that are converted at a time.
PIECE = 100_000

# What a TensorFlow tensor can have.
MAX_DIMENSIONS = 254


def to_array(name: str, proto: TensorProto, limits: Limits) -> np.ndarray:
    """The array of a `TensorProto`; strings as bytes, dtype object.

    A small message can stand for a huge tensor, since its last value is
    repeated to fill the shape: the size is checked before it is made.

    Args:
        name: of the input, for messages.
        proto: `tensorflow.TensorProto`.
        limits: of its rows and bytes.

    Raises:
        ServingError: INVALID_ARGUMENT, the message contradicts itself.
        TooLargeError: the tensor is too large.
    """
    import tensorflow as tf

    shape = proto.tensor_shape
    if len(shape.dim) > MAX_DIMENSIONS:
        raise invalid(
            f"tensor parsing error: {name}: expected at most "
            f"{MAX_DIMENSIONS} dimensions, received {len(shape.dim)}"
        )
    sizes = [dim.size for dim in shape.dim]
    if shape.unknown_rank or any(size < 0 for size in sizes):
        raise invalid(
            f"tensor parsing error: {name}: expected a known shape, received "
            f"{'none' if shape.unknown_rank else sizes}"
        )
    try:
        dtype = tf.dtypes.as_dtype(proto.dtype)
        item = np.dtype(dtype.as_numpy_dtype).itemsize
    except (TypeError, KeyError) as failure:
        raise invalid(f"tensor parsing error: {name}: {failure}") from failure
    values = math.prod(sizes)
    # Values one by one take long; all of a tensor's content does not.
    listed = sum(len(x) for _, x in proto.ListFields() if hasattr(x, "extend"))
    limits.check_values(listed)
    limits.check_bytes(
        _bytes_of(proto, dtype.name, values, item),
        "a tensor",
        f"shape {sizes} of {dtype.name}",
    )
    if sizes:
        limits.check_rows(sizes[0])
    room = values * (2 if dtype.is_complex else 1)
    if listed > room:
        raise invalid(
            f"tensor parsing error: {name}: expected at most {room} values "
            f"for shape {sizes} of {dtype.name}, received {listed}"
        )
    try:
        return from_proto(proto)
    # A narrow type is sent as int32, which may be too large for it.
    except (TypeError, ValueError, OverflowError) as failure:
        raise invalid(f"tensor parsing error: {name}: {failure}") from failure


def from_proto(proto: TensorProto) -> np.ndarray:
    """`tf.make_ndarray`, also of strings that travel as a tensor's content.

    Raises:
        TypeError: the type is none that arrays have.
        ValueError: the message contradicts itself.
        OverflowError: an integer is too large for its type.
    """
    import tensorflow as tf

    if proto.dtype != tf.string.as_datatype_enum or not proto.tensor_content:
        return tf.make_ndarray(proto)
    sizes = [dim.size for dim in proto.tensor_shape.dim]
    array = np.empty(math.prod(sizes), object)
    array[:] = _decode_strings(proto.tensor_content, len(array))
    return array.reshape(sizes)


def _decode_strings(data: bytes, count: int) -> list[bytes]:
    """All lengths, then all bytes. port::DecodeStringList."""
    lengths, at = [], 0
    try:
        for _ in range(count):
            length, at = varint(data, at)
            lengths.append(length)
    except (IndexError, DecodeError):
        lengths = [len(data)]  # Which then is too long.
    if at + sum(lengths) != len(data):
        raise ValueError(f"its content is not that of {count} strings")
    ends = at + np.cumsum(lengths, dtype=np.int64)
    return [data[end - n : end] for end, n in zip(ends, lengths, strict=True)]


def _bytes_of(proto: TensorProto, dtype: str, values: int, item: int) -> int:
    """What a tensor takes, the value that is repeated as often as it is."""
    size = values * item
    if dtype == "string" and proto.string_val:
        last = len(proto.string_val[-1])
        repeated = max(values - len(proto.string_val), 0)
        size += sum(map(len, proto.string_val)) + repeated * last
    return size


def to_proto(array: np.ndarray) -> TensorProto:
    """The `TensorProto` of an array, values in fields. Tensor::AsProtoField.

    Types that have no plain field of their own travel as their bytes.
    """
    import tensorflow as tf
    from tensorflow.core.framework.tensor_pb2 import TensorProto

    dtype = tf.dtypes.as_dtype(array.dtype)
    proto = TensorProto(
        dtype=dtype.as_datatype_enum,
        tensor_shape=tf.TensorShape(array.shape).as_proto(),
    )
    field = _FIELDS.get(dtype.name)
    if field is None:
        proto.tensor_content = array.tobytes()
    else:
        values, flat = getattr(proto, field), array.ravel()
        for start in range(0, flat.size, PIECE):  # Others wait meanwhile.
            values.extend(flat[start : start + PIECE].tolist())
    return proto
