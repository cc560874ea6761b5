"""`TensorProto`s to arrays and back, with nobody's memory at risk."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from kbert.serving.status import TooLargeError
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


def to_array(name: str, proto: TensorProto, max_bytes: int) -> np.ndarray:
    """The array of a `TensorProto`; strings as bytes, dtype object.

    A small message can stand for a huge tensor, since its last value is
    repeated to fill the shape: the size is checked before it is made.

    Args:
        name: of the input, for messages.
        proto: `tensorflow.TensorProto`.
        max_bytes: that the array may take.

    Raises:
        ServingError: INVALID_ARGUMENT, the message contradicts itself; 413,
            the tensor is too large.
    """
    import tensorflow as tf

    shape = proto.tensor_shape
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
    if math.prod(sizes) * item > max_bytes:
        raise TooLargeError(
            f"Expected a tensor of at most {max_bytes} bytes. Received: shape "
            f"{sizes} of {dtype.name}"
        )
    try:
        return tf.make_ndarray(proto)
    except (TypeError, ValueError) as failure:
        raise invalid(f"tensor parsing error: {name}: {failure}") from failure


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
        getattr(proto, field).extend(array.ravel().tolist())
    return proto
