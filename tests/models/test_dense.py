"""The dense layer: Keras's values, and its bias's gradient in bfloat16."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kbert.models.dense import Dense

ROWS = 8192


def made(policy, cls=Dense, activation=None):
    layer = cls(16, activation=activation, dtype=policy)
    layer.build((None, 16))
    random = np.random.default_rng(0)
    layer.set_weights([random.normal(0, 0.2, w.shape) for w in layer.weights])
    return layer


def bias_gradient(layer):
    random = np.random.default_rng(1)
    x = tf.constant(random.normal(size=(ROWS, 16)), "float32")
    # Not around zero, as gradients of a loss are not.
    slope = tf.constant(random.normal(0.3, 1, (ROWS, 16)), "float32")
    with tf.GradientTape() as tape:
        y = tf.cast(layer(x, training=True), "float32")
        loss = tf.reduce_sum(y * slope)
    return tape.gradient(loss, layer.bias.value).numpy()


def test_bias_gradient_in_bfloat16():
    right = bias_gradient(made("float32"))

    def error(cls):
        wrong = bias_gradient(made("mixed_bfloat16", cls)) - right
        return np.linalg.norm(wrong) / np.linalg.norm(right)

    assert error(Dense) < 0.01
    if not keras.distribution.list_devices("gpu"):
        # Once this fails, the layer can go.
        assert error(keras.layers.Dense) > 0.2


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("activation", [None, "tanh"])
def test_values_are_those_of_keras(policy, training, activation):
    x = np.random.default_rng(2).normal(size=(3, 5, 16))
    ours, theirs = (
        made(policy, cls, activation)(x, training=training)
        for cls in (Dense, keras.layers.Dense)
    )
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(
        tf.cast(ours, "float32"), tf.cast(theirs, "float32")
    )


def test_quantize():
    layer = made("float32")
    x = np.random.default_rng(2).normal(size=(3, 16)).astype("float32")
    before = layer(x).numpy()
    layer.quantize("int8")
    np.testing.assert_allclose(layer(x).numpy(), before, atol=0.05)


def test_activation_in_half_precision_is_computed_in_float32():
    gelu = keras.activations.gelu
    layers = {
        policy: made(policy, activation=lambda x: gelu(x, approximate=False))
        for policy in ("float32", "mixed_bfloat16")
    }
    x = np.random.default_rng(1).normal(size=(64, 16)).astype("float32")
    right = np.array(layers["float32"](x, training=True))
    found = layers["mixed_bfloat16"](x, training=True)
    assert found.dtype == tf.bfloat16
    # As exact as bfloat16 products are, also where GELU is nearly 0.
    np.testing.assert_allclose(
        tf.cast(found, "float32"), right, rtol=0.02, atol=0.005
    )


def test_without_a_bias_it_is_kerass():
    layer = Dense(4, use_bias=False)
    x = np.ones((2, 3), "float32")
    np.testing.assert_array_equal(layer(x, training=True), layer(x))
