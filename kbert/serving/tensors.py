"""`TensorProto`s to arrays and back, with nobody's memory at risk."""

from __future__ import annotations

import math

import numpy as np

from kbert.serving.status import TooLargeError
from kbert.serving.status import invalid


def to_array(proto, max_bytes: int) -> np.ndarray:
    """The array of a `TensorProto`; strings as bytes, dtype object.

    A small message can stand for a huge tensor, since its last value is
    repeated to fill the shape: the size is checked before it is made.

    Args:
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
        raise invalid(f"Expected a tensor of known shape. Received: {sizes}")
    try:
        dtype = tf.dtypes.as_dtype(proto.dtype)
        item = np.dtype(dtype.as_numpy_dtype).itemsize
    except (TypeError, KeyError) as failure:
        raise invalid(f"Tensor proto not parsable: {failure}") from failure
    if math.prod(sizes) * item > max_bytes:
        raise TooLargeError(
            f"Expected a tensor of at most {max_bytes} bytes. Received: shape "
            f"{sizes} of {dtype.name}"
        )
    try:
        return tf.make_ndarray(proto)
    except (TypeError, ValueError) as failure:
        raise invalid(f"Tensor proto not parsable: {failure}") from failure


def to_proto(array: np.ndarray):
    """The `TensorProto` of an array."""
    import tensorflow as tf

    return tf.make_tensor_proto(array)
