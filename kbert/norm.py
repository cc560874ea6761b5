"""Keras's layer normalization, in a form that TensorFlow computes in one go."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import keras
from keras import ops

# What oneDNN's operation gets from TensorFlow, whatever the graph says.
FUSED_EPSILON = 1e-3

_constant = ContextVar("constant_norms", default=False)


@contextmanager
def constant_norms() -> Iterator[None]:
    """In here, TensorFlow graphs hold the norms' scales and shifts as numbers.

    For graphs whose weights no longer change, or that are made anew then.
    """
    token = _constant.set(True)
    try:
        yield
    finally:
        _constant.reset(token)


class LayerNormalization(keras.layers.LayerNormalization):
    """`keras.layers.LayerNormalization` over the last axis, fused on a CPU.

    Within `constant_norms` it is written so that TensorFlow's graph optimizer
    puts oneDNN's layer normalization in its place: one pass over memory in
    place of seven. The optimizer takes it for one in this order only, with
    constants only, and leaves epsilon at 0.001: so the tokens are multiplied
    by what makes that the layer's own. Elsewhere it is Keras's layer.

    Example:

    >>> LayerNormalization(epsilon=1e-12)(np.ones((2, 4, 384))).shape
    TensorShape([2, 4, 384])
    """

    def call(self, inputs):
        if not _constant.get():
            return super().call(inputs)
        import tensorflow as tf

        with tf.init_scope():  # Outside of the graph, where there are values.
            numbers = [
                ops.convert_to_numpy(weight).astype("float32")
                for weight in (self.gamma, self.beta)
            ]
        gamma, beta = map(tf.constant, numbers)
        x = ops.cast(inputs, "float32")  # Sums in half precision lose much.
        x *= math.sqrt(FUSED_EPSILON / self.epsilon)
        axis = [len(x.shape) - 1]
        mean = tf.reduce_mean(x, axis, keepdims=True)
        variance = tf.reduce_mean(
            tf.math.squared_difference(x, mean), axis, keepdims=True
        )
        scale = tf.math.rsqrt(variance + FUSED_EPSILON) * gamma
        return ops.cast(x * scale + (beta - mean * scale), self.compute_dtype)
