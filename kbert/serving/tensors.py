"""`TensorProto`s to arrays and back, with nobody's memory at risk."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from kbert.serving.limits import Limits
from kbert.serving.status import invalid

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
    # Values one by one take long; all of a tensor's content does not.
    limits.check_values(
        sum(len(x) for _, x in proto.ListFields() if hasattr(x, "extend"))
    )
    limits.check_bytes(
        _bytes_of(proto, dtype.name, math.prod(sizes), item),
        "a tensor",
        f"shape {sizes} of {dtype.name}",
    )
    if sizes:
        limits.check_rows(sizes[0])
    try:
        return tf.make_ndarray(proto)
    except (TypeError, ValueError) as failure:
        raise invalid(f"tensor parsing error: {name}: {failure}") from failure


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
