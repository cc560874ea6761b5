"""Dropout drawn by bytes: the rate, the scale, the gradient."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from kbert.models.dropout import Dropout

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="for TensorFlow"
)


@pytest.mark.parametrize("rate", [0.001, 0.05, 0.1, 0.5, 0.9, 0.995, 0.999])
def test_as_many_are_dropped_as_the_rate_says(rate):
    layer = Dropout(rate, seed=1)
    # Each call draws what bytes are held against; so there are many calls.
    x = tf.ones((400, 25))
    draw = tf.function(lambda: tf.reduce_mean(layer(x, training=True)))
    calls = 400
    found = np.mean([draw().numpy() for _ in range(calls)])
    # Of one number; of a call, as bytes decide, a 256th at most besides.
    spread = (rate / (1 - rate)) ** 0.5 / (calls * 10_000) ** 0.5
    spread += 1 / 256 / (1 - rate) / 2 / calls**0.5
    assert abs(found - 1) < 4 * spread


@given(
    shape=st.lists(st.integers(0, 7), min_size=1, max_size=4),
    rate=st.floats(0.0, 0.99),
)
@settings(max_examples=50, deadline=None)
def test_any_shape(shape, rate):
    x = tf.fill(shape, 3.0)
    y = Dropout(rate, seed=0)(x, training=True).numpy()
    assert y.shape == tuple(shape)
    kept = np.float32(3.0) * np.float32(1 / (1 - rate))
    assert all(v == 0 or np.isclose(v, kept) for v in y.ravel())


def test_neighbours_are_dropped_independently():
    y = Dropout(0.5, seed=3)(tf.ones((1000, 400)), training=True).numpy() > 0
    for other in (np.roll(y, 1, 1), np.roll(y, 4, 1), np.roll(y, 1, 0)):
        assert abs(np.mean(y == other) - 0.5) < 0.005


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_gradients_are_of_what_was_kept(dtype):
    layer = Dropout(0.25, seed=0, dtype=dtype)
    x = tf.ones((64, 3), dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    assert y.dtype == dtype
    np.testing.assert_array_equal(
        tf.cast(tape.gradient(y, x), tf.float32), tf.cast(y, tf.float32)
    )


def test_another_mask_each_time_and_the_same_of_a_seed():
    x = tf.ones((10, 10))
    one, other = Dropout(0.5, seed=5), Dropout(0.5, seed=5)
    first, second = (one(x, training=True).numpy() for _ in range(2))
    assert (first != second).any()
    np.testing.assert_array_equal(first, other(x, training=True))


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_without_training_nothing_changes(rate):
    x = tf.ones((5, 5))
    np.testing.assert_array_equal(Dropout(rate)(x), x)
    if not rate:
        np.testing.assert_array_equal(Dropout(rate)(x, training=True), x)


def test_a_noise_shape_is_kerass():
    y = Dropout(0.5, noise_shape=(8, 1), seed=0)(tf.ones((8, 9)), training=True)
    assert (y == y[:, :1]).numpy().all() and (y[:, 0] == 0).numpy().any()
