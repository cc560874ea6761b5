"""Gradients by hand: those of Keras's forms."""

import keras
import numpy as np
import pytest

import kbert
from kbert.models import dense
from kbert.models import norm
from kbert.models.dense import Dense
from kbert.models.gradients import activate
from kbert.models.gradients import exact_gelu
from kbert.models.gradients import layer_norm
from kbert.models.layers import SelfAttention
from kbert.models.norm import LayerNormalization

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="for TensorFlow"
)


def with_gradients(function, *variables):
    """Values, and gradients of a sum that weighs each of them otherwise."""
    with tf.GradientTape() as tape:
        tape.watch(variables)
        y = function(*variables)
        slopes = np.random.default_rng(7).normal(0.3, 1, y.shape)
        loss = tf.reduce_sum(tf.cast(y, tf.float32) * slopes.astype("float32"))
    return y.numpy(), [g.numpy() for g in tape.gradient(loss, variables)]


def test_gelu():
    # Beyond 6 float32 sees no difference from a line; there is none from 0.
    x = tf.constant(np.linspace(-9, 9, 4001, dtype="float32"))
    y, (slope,) = with_gradients(lambda x: activate(exact_gelu, x), x)
    right, (right_slope,) = with_gradients(exact_gelu, x)
    np.testing.assert_allclose(y, right, atol=1e-6)
    np.testing.assert_allclose(slope, right_slope, rtol=1e-5, atol=1e-6)


def test_gelu_in_half_precision_keeps_its_type():
    x = tf.constant(np.linspace(-4, 4, 101), tf.bfloat16)
    y, (slope,) = with_gradients(lambda x: activate(exact_gelu, x), x)
    wide = tf.cast(x, tf.float32)
    right, (right_slope,) = with_gradients(exact_gelu, wide)
    assert y.dtype == slope.dtype == tf.bfloat16.as_numpy_dtype
    np.testing.assert_allclose(y.astype("float32"), right, atol=0.02)
    np.testing.assert_allclose(
        slope.astype("float32"), right_slope, rtol=0.02, atol=0.01
    )


@pytest.mark.parametrize("shape", [(7, 24), (2, 5, 24)])
@pytest.mark.parametrize("epsilon", [1e-12, 1e-3])
def test_layer_norm(shape, epsilon):
    random = np.random.default_rng(0)
    x, gamma, beta = (
        tf.constant(random.normal(2, 1, size), tf.float32)
        for size in (shape, shape[-1:], shape[-1:])
    )
    found = with_gradients(lambda *a: layer_norm(*a, epsilon), x, gamma, beta)
    right = with_gradients(
        lambda *a: keras.ops.layer_normalization(*a, -1, epsilon),
        *(x, gamma, beta),
    )
    np.testing.assert_allclose(found[0], right[0], rtol=1e-5, atol=1e-5)
    for mine, theirs in zip(found[1], right[1], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_the_layers_take_them_in_training_alone(policy, monkeypatch):
    calls = []
    for module, name in ((dense, "activate"), (norm, "layer_norm")):
        kept = getattr(module, name)
        monkeypatch.setattr(
            module,
            name,
            lambda *a, name=name, kept=kept: calls.append(name) or kept(*a),
        )
    x = np.random.default_rng(0).normal(size=(3, 8)).astype("float32")
    for layer in (
        Dense(8, activation=exact_gelu, dtype=policy),
        LayerNormalization(dtype=policy),
    ):
        plain = layer(x)
        assert not calls
        trained = layer(x, training=True)
        assert calls.pop() and trained.dtype == plain.dtype
        np.testing.assert_allclose(
            *(tf.cast(y, tf.float32) for y in (trained, plain)),
            atol=1e-6 if policy == "float32" else 0.02,
        )


@pytest.mark.parametrize("layout", ["padded", "flat"])
def test_a_backbone_has_the_same_gradients(layout, monkeypatch):
    backbone = kbert.Backbone.from_size(
        "tiny", vocabulary_size=30, dropout=0.0, attention_dropout=0.0
    )
    form = backbone.laid_out(layout)
    random = np.random.default_rng(0)
    inputs = {
        "token_ids": random.integers(0, 30, (4, 11), "int32"),
        "segment_ids": np.zeros((4, 11), "int32"),
        "padding_mask": np.arange(11) < np.array([[11], [3], [7], [1]]),
    }
    slopes = random.normal(0, 1, (4, 128)).astype("float32")

    def gradients():
        with tf.GradientTape() as tape:
            y = form(inputs, training=True)["pooled_output"]
            loss = tf.reduce_sum(y * slopes[:, : y.shape[1]])
        return [
            tf.convert_to_tensor(g).numpy()
            for g in tape.gradient(
                loss, [v.value for v in backbone.trainable_variables]
            )
        ]

    fast = gradients()
    monkeypatch.setattr("kbert.models.gradients.by_hand", lambda: False)
    monkeypatch.setattr("kbert.models.norm.by_hand", lambda: False)
    project = SelfAttention._project
    monkeypatch.setattr(
        SelfAttention,
        "_project",
        lambda self, x, training: project(self, x, training=False),
    )
    for mine, theirs in zip(fast, gradients(), strict=True):
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(mine, theirs, atol=1e-5 * max(scale, 1))
