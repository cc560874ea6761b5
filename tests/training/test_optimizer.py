"""AdamW's groups and rates, the fused update, and the schedule."""

import keras
import numpy as np
import pytest

import kbert
from kbert.errors import ConfigError
from kbert.training.optimizer import AdamW
from kbert.training.optimizer import LossScaleOptimizer
from kbert.training.optimizer import Muon
from kbert.training.optimizer import WarmupLinearDecay
from kbert.training.optimizer import make_optimizer


def backbone():
    return kbert.Backbone.from_size("tiny", vocabulary_size=9)


def gradients(model):
    return [
        keras.ops.ones(v.shape) * (i % 7 - 3)
        for i, v in enumerate(model.trainable_variables)
    ]


def in_encoder(variable):
    return "layer_" in variable.path and variable.path.endswith("kernel")


@pytest.mark.parametrize(("kind", "rate"), [(AdamW, 1e-3), (Muon, 2e-3)])
def test_fused_update_equals_keras(kind, rate):
    ours, theirs = backbone(), backbone()
    theirs.set_weights(ours.get_weights())
    options = {"weight_decay": 0.0, "epsilon": 1e-6, "global_clipnorm": 1.0}
    optimizers = (
        kind(rate, **options),
        keras.optimizers.AdamW(1e-3, **options),
    )
    for _ in range(5):
        for model, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.apply(gradients(model), model.trainable_variables)
    for a, b in zip(ours.weights, theirs.weights, strict=True):
        if kind is AdamW or not in_encoder(a):
            np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-6)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="elsewhere all are dense"
)
@pytest.mark.parametrize("name", ["adamw", "muon", "lamb"])
def test_slices_of_one_token_count_as_their_sum(name):
    import tensorflow as tf

    # Of a token that a batch has twice there are two slices.
    slices = tf.IndexedSlices(
        tf.constant([[1.0, 2.0], [3.0, 4.0], [1.0, 1.0]]),
        tf.constant([0, 0, 2]),
        tf.constant([5, 2]),
    )
    dense = tf.convert_to_tensor(slices)
    norm = np.sqrt(4.0**2 + 6.0**2 + 1 + 1 + 1)
    optimizer = make_optimizer(name, 1e-3, 10)
    for given in (slices, dense):
        clipped, none, other = optimizer._clip_gradients(
            [given, None, tf.constant([1.0])]
        )
        np.testing.assert_allclose(clipped, dense / norm, rtol=1e-6)
        assert none is None
        np.testing.assert_allclose(other, [1 / norm], rtol=1e-6)


def test_layer_decay_shrinks_the_steps_downwards():
    model = backbone()
    before = {v.path: v.numpy() for v in model.trainable_variables}
    ones = [keras.ops.ones(v.shape) for v in model.trainable_variables]
    optimizer = AdamW(
        0.1, layer_decay=0.5, weight_decay=0.0, global_clipnorm=None
    )
    optimizer.apply(ones, model.trainable_variables)

    def step(part):
        path = next(p for p in before if part in p)
        variable = next(v for v in model.weights if v.path == path)
        return float(np.abs(variable.numpy() - before[path]).mean())

    # Adam's first step is the rate itself, whatever the gradient.
    assert step("pooler/kernel") == pytest.approx(0.1, rel=1e-3)
    assert step("layer_1/intermediate/kernel") == pytest.approx(0.05, rel=1e-3)
    assert step("layer_0/intermediate/kernel") == pytest.approx(0.025, rel=1e-3)
    assert step("token_embedding") == pytest.approx(0.0125, rel=1e-3)


def test_schedule_rises_and_falls():
    schedule = WarmupLinearDecay(1.0, total_steps=100, warmup_steps=10)
    rates = [float(schedule(step)) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) in (9, 10)
    assert np.all(np.diff(rates[:10]) > 0)
    assert np.all(np.diff(rates[10:]) < 0)
    assert rates[100] == 0.0


def test_muon_is_for_kernels_of_the_encoder():
    model = backbone()
    optimizer = Muon(weight_decay=0.0)
    before = [v.numpy() for v in model.trainable_variables]
    generator = np.random.default_rng(0)
    values = [
        keras.ops.convert_to_tensor(generator.standard_normal(v.shape), v.dtype)
        for v in model.trainable_variables
    ]
    optimizer.apply(values, model.trainable_variables)
    kernels = 0
    for old, new in zip(before, model.trainable_variables, strict=True):
        step = (old - new.numpy()) / 2e-3
        if in_encoder(new):
            kernels += 1
            # Near orthogonal; without Muon the largest is 2 to 3 medians.
            scale = 0.2 * max(step.shape) ** 0.5
            found = np.linalg.svd(step / scale, compute_uv=False)
            assert 0.6 < np.median(found) < found.max() < 1.3
    assert kernels == 2 * 6


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_what_decays(name):
    model = backbone()
    model.trainable_variables[0].assign(
        np.ones(model.trainable_variables[0].shape)
    )
    before = {v.path: v.numpy() for v in model.trainable_variables}
    zeros = [keras.ops.zeros(v.shape) for v in model.trainable_variables]
    make_optimizer(name, 0.1, 10, warmup=0.0, weight_decay=0.5).apply(
        zeros, model.trainable_variables
    )
    for variable in model.trainable_variables:
        decays = not variable.path.endswith(("bias", "gamma", "beta"))
        factor = 0.95 if decays else 1.0
        np.testing.assert_allclose(
            variable.numpy(), before[variable.path] * factor, rtol=1e-5
        )


@pytest.mark.parametrize(
    "optimizer",
    [
        AdamW(WarmupLinearDecay(1e-4, 100, 10), layer_decay=0.9),
        Muon(WarmupLinearDecay(1e-4, 100, 10), adam_lr_ratio=0.3),
    ],
)
def test_optimizers_survive_serialization(optimizer):
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert again.get_config() == optimizer.get_config()
    assert isinstance(again, type(optimizer))
    if isinstance(optimizer, AdamW):
        assert again.layer_decay == 0.9


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("learning_rate", -1.0),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("warmup", 1.5),
        ("weight_decay", -0.01),
        ("layer_decay", 0.0),
    ],
)
def test_rates_out_of_their_range(key, value):
    rates = {"learning_rate": 1e-4, "steps": 10} | {key: value}
    with pytest.raises(ConfigError, match=f"`{key}` must be .*{key}={value}"):
        make_optimizer("adamw", **rates)


@pytest.mark.parametrize("key", ["learning_rate", "weight_decay"])
def test_a_wrong_rate_is_told_before_the_data_are_read(key):
    clf = kbert.Classifier("random:1x64", seed=0)
    with pytest.raises(ConfigError, match=f"`{key}`"):
        clf.fit(None, None, **{key: -1.0})
    assert clf.model is None


@pytest.mark.parametrize("place", [0, 1])
def test_loss_scaling_looks_at_a_token_that_comes_twice(place):
    import tensorflow as tf

    table = keras.Variable(np.zeros((3, 2), "float32"))
    optimizer = LossScaleOptimizer(AdamW(1e-3))
    optimizer.build([table])
    rows = np.ones((2, 2), "float32")
    rows[place] = np.inf  # Of the same token, once finite and once not.
    slices = tf.IndexedSlices(tf.constant(rows), tf.constant([1, 1]), (3, 2))
    optimizer.apply([slices], [table])
    assert not table.numpy().any() and int(optimizer.iterations) == 0
    assert float(optimizer.dynamic_scale) == optimizer.initial_scale / 2
