"""Keras's layer normalization, in a form that TensorFlow computes in one go."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import keras
from keras import ops

from kbert.models.gradients import by_hand
from kbert.models.gradients import layer_norm

# What oneDNN's operation gets from TensorFlow, whatever the graph says.
FUSED_EPSILON = 1e-3

# Up to about so many it is slower: it calls for another thread whatever the
# size, and waits for it.
FEW_NUMBERS = 60_000

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


@keras.saving.register_keras_serializable("kbert")
class LayerNormalization(keras.layers.LayerNormalization):
    """`keras.layers.LayerNormalization` over the last axis, fused on a CPU.

    Within `constant_norms` it is written so that TensorFlow's graph optimizer
    puts oneDNN's layer normalization in its place: one pass over memory in
    place of seven. The optimizer takes it for one in this order only, with
    constants only, and leaves epsilon at 0.001: so the tokens are multiplied
    by what makes that the layer's own. For few tokens it stays seven steps,
    which are quicker then. In training its gradient is by hand, see
    `kbert.models.gradients`. Elsewhere it is Keras's layer.

    Example:

    >>> LayerNormalization(epsilon=1e-12)(np.ones((2, 4, 384))).shape
    TensorShape([2, 4, 384])
    """

    def call(self, inputs, training=None):
        if training and by_hand() and self.scale and self.center:
            x = layer_norm(inputs, self.gamma, self.beta, self.epsilon)
            return ops.cast(x, self.compute_dtype)
        if not _constant.get():
            return super().call(inputs)
        import tensorflow as tf

        with tf.init_scope():  # Outside of the graph, where there are values.
            gamma, beta = (
                ops.convert_to_numpy(weight).astype("float32")
                for weight in (self.gamma, self.beta)
            )
        x = ops.cast(inputs, "float32")  # Sums in half precision lose much.
        x = tf.cond(
            tf.size(x) < FEW_NUMBERS,
            lambda: _step_by_step(x, gamma, beta, self.epsilon),
            lambda: _fused(x, gamma, beta, self.epsilon),
        )
        return ops.cast(x, self.compute_dtype)


def _step_by_step(x, gamma, beta, epsilon):
    mean, rsqrt = _moments(x, epsilon)
    # In another order than below: the optimizer must not know it.
    return (x - mean) * (rsqrt * gamma) + beta


def _fused(x, gamma, beta, epsilon):
    import tensorflow as tf

    # Constants of the branch: handed in they would hide what this is. So would
    # a width that is not known, as it is where weights are read in a session.
    gamma, beta = tf.constant(gamma), tf.constant(beta)
    x = tf.ensure_shape(x, (*(None,) * (len(x.shape) - 1), *gamma.shape))
    x *= math.sqrt(FUSED_EPSILON / epsilon)
    mean, scale = _moments(x, FUSED_EPSILON)
    scale *= gamma
    return x * scale + (beta - mean * scale)


def _moments(x, epsilon):
    """Mean, and one over the standard deviation, of the last axis."""
    import tensorflow as tf

    axis = [len(x.shape) - 1]
    mean = tf.reduce_mean(x, axis, keepdims=True)
    variance = tf.reduce_mean(
        tf.math.squared_difference(x, mean), axis, keepdims=True
    )
    return mean, tf.math.rsqrt(variance + epsilon)
