"""GELU and layer normalization with gradients by hand, for TensorFlow.

What TensorFlow derives from Keras's forms passes over memory about twice as
often, and keeps more of the forward pass. In training alone: TensorFlow keeps
every graph that has a gradient of its own for as long as the process lives.
"""

import functools
import math

import keras
from keras import ops

# The erf form; Keras's own activation where no gradient is asked.
exact_gelu = functools.partial(keras.activations.gelu, approximate=False)


def by_hand() -> bool:
    """Whether this backend is the one that these are for."""
    return keras.backend.backend() == "tensorflow"


def activate(activation, x):
    """An activation in training, computed in float32.

    TensorFlow's erf takes four times as long in half precision.

    Args:
        activation: a function; `exact_gelu` has its gradient by hand.
        x: float `(..., F)`.

    Returns:
        As `x`.
    """
    if activation is exact_gelu and by_hand():
        return _gelu(x)
    return ops.cast(activation(ops.cast(x, "float32")), x.dtype)


def _gelu(x):
    """x times the normal distribution's share below x.

    The derivative is computed right away, so that it alone is kept. Keras's
    form asks erfc, which is exact where the share is next to 0 and takes three
    times as long as erf.
    """
    import tensorflow as tf

    @tf.custom_gradient
    def gelu(x):
        wide = tf.cast(x, tf.float32)
        scaled = wide * math.sqrt(0.5)
        share = 0.5 * (1.0 + tf.math.erf(scaled))
        # TensorFlow makes one operation of these three.
        bell = tf.exp(tf.negative(tf.square(scaled)))
        slope = share + wide * bell * (1 / math.sqrt(2 * math.pi))
        slope = tf.cast(slope, x.dtype)

        def gradient(upstream):
            with tf.name_scope("gelu_gradient"):
                return upstream * slope

        return tf.cast(wide * share, x.dtype), gradient

    with tf.name_scope("gelu"):
        return gelu(x)


def layer_norm(x, gamma, beta, epsilon):
    """A layer normalization over the last axis, in float32.

    Args:
        x: float `(..., H)`.
        gamma: float `(H,)`, the scale.
        beta: float `(H,)`, the shift.
        epsilon: what is added to the variance.

    Returns:
        float32 `(..., H)`.
    """
    import tensorflow as tf

    @tf.custom_gradient
    def norm(x, gamma, beta):
        centred = x - tf.reduce_mean(x, -1, keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), -1, keepdims=True)
        scale = tf.math.rsqrt(variance + epsilon)  # (..., 1)
        normal = centred * scale

        def gradient(upstream):
            with tf.name_scope("norm_gradient"):
                tokens = list(range(len(x.shape) - 1))
                inner = upstream * gamma
                mean = tf.reduce_mean(inner, -1, keepdims=True)
                along = tf.reduce_mean(inner * normal, -1, keepdims=True)
                return (
                    scale * (inner - (mean + normal * along)),
                    tf.reduce_sum(upstream * normal, tokens),
                    tf.reduce_sum(upstream, tokens),
                )

        return normal * gamma + beta, gradient

    return norm(*(tf.cast(part, tf.float32) for part in (x, gamma, beta)))
