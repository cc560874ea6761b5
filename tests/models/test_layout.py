"""Tokens laid flat: the same answers as padded, on real tokens only."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

import kbert
from kbert.data.packing import pack
from kbert.errors import ConfigError
from kbert.models.layout import GROUPS
from kbert.models.layout import FlatLayout
from kbert.models.layout import choose_layout
from kbert.models.layout import flatten
from kbert.models.layout import merge_heads
from kbert.models.layout import pad
from kbert.models.layout import split_heads

JAX = keras.backend.backend() == "jax"
pytestmark = pytest.mark.skipif(
    JAX, reason="flat tokens are for backends that do not compile by shape"
)


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(any),
    st.integers(0, 3),
)
def test_there_and_back(batch, lengths, more):
    mask = batch(lengths, max(lengths) + more)["padding_mask"]
    layout = FlatLayout(num_heads=2, groups=(1,))(mask)
    x = np.random.default_rng(0).random((*mask.shape, 4), "float32")
    flat = flatten(keras.ops.convert_to_tensor(x), layout)
    np.testing.assert_array_equal(flat, x[mask])
    np.testing.assert_array_equal(np.array(pad(flat, layout))[mask], x[mask])
    assert flatten(x, None) is x and pad(x, None) is x


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=9).filter(any),
    st.sampled_from([(1,), (0.25, 1), GROUPS, (0.1, 0.2, 0.5, 1)]),
)
def test_heads_there_and_back(batch, lengths, groups):
    mask = batch(lengths, max(lengths) + 1)["padding_mask"]
    layout = FlatLayout(num_heads=2, groups=groups)(mask)
    x = np.random.default_rng(0).random((sum(lengths), 6), "float32")
    split = split_heads(keras.ops.convert_to_tensor(x), layout, 2, None)
    np.testing.assert_array_equal(merge_heads(split, layout), x)
    # Each text is in one group, padded to the longest there.
    shapes = [tuple(group.shape) for group in split]
    assert sum(shape[0] for shape in shapes) == len(lengths)
    longest = sorted(lengths, reverse=True)
    for rows, _, width, _ in shapes:
        group, longest = longest[:rows], longest[rows:]
        assert width == max(group, default=0)
    seen = [mask.numpy().sum(axis=1).tolist() for mask in layout["seen"]]
    assert sorted(sum(seen, []), reverse=True) == sorted(lengths, reverse=True)


@pytest.mark.parametrize("groups", [(1,), GROUPS])
def test_gradients_of_heads_are_gathered_back(batch, groups):
    import tensorflow as tf

    lengths = [3, 1, 5, 2]
    layout = FlatLayout(num_heads=2, groups=groups)(
        batch(lengths, 6)["padding_mask"]
    )
    random = np.random.default_rng(0)
    x = tf.constant(random.normal(size=(sum(lengths), 6)))
    slope = tf.constant(random.normal(size=x.shape))
    with tf.GradientTape() as tape:
        tape.watch(x)
        rows = split_heads(x, layout, 2, None, training=True)
        y = merge_heads([row**2 for row in rows], layout, training=True)
        loss = tf.reduce_sum(y * slope)
    found, *upstream = tape.gradient(loss, [x, *rows])
    np.testing.assert_allclose(found, 2 * x * slope)
    for gradient, seen in zip(upstream, layout["seen"], strict=True):
        padding = ~np.broadcast_to(seen[:, None, :, None], gradient.shape)
        assert not np.any(np.array(gradient)[padding])


@pytest.fixture(scope="module")
def backbone():
    return kbert.Backbone.from_size((2, 64), 50, num_heads=4)


@settings(max_examples=20)
@given(
    layout=st.sampled_from(["flat", "grouped"]),
    # A text has [CLS] and [SEP]; Keras warns of a softmax over one number.
    lengths=st.lists(st.integers(2, 12), min_size=1, max_size=9),
)
def test_same_features(backbone, batch, check_layout, layout, lengths):
    check_layout(backbone, layout, batch(lengths, max(lengths) + 2))


def test_dense_layers_see_real_tokens_only(backbone, batch, monkeypatch):
    seen = []
    dense = backbone.encoder[0].intermediate
    real = type(dense).call

    def call(self, x, *args, **kwargs):
        if self is dense:
            seen.append(tuple(x.shape))
        return real(self, x, *args, **kwargs)

    monkeypatch.setattr(type(dense), "call", call)
    backbone.without_padding()(batch([3, 9, 5]))
    assert seen[-1] == (17, 64)


def test_graphs_of_answers_are_let_go(backbone, batch):
    """TensorFlow keeps those that have a gradient of their own."""
    import gc
    import weakref

    import tensorflow as tf

    model = backbone.without_padding()
    function = tf.function(lambda x: model(x, training=False), autograph=False)
    graph = weakref.ref(function.get_concrete_function(batch([3, 5])).graph)
    del function
    gc.collect()
    assert graph() is None


def test_weights_are_shared(backbone):
    fast = backbone.without_padding()
    mine = {id(weight) for weight in backbone.weights}
    assert {id(weight) for weight in fast.weights} == mine


@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler"])
def test_a_classifier_answers_the_same(batch, pooling):
    clf = kbert.Classifier(
        "random:tiny", labels=["a", "b"], pooling=pooling, max_length=16
    )
    inputs = batch([3, 12, 7])
    expected = keras.ops.softmax(clf.model(inputs))
    received = clf.serving_model(inputs)["probabilities"]
    np.testing.assert_allclose(received, expected, atol=1e-5)


# === Training ===


@pytest.mark.parametrize("other", ["flat", "packed"])
@pytest.mark.parametrize("pooling", ["mean", "pooler"])
def test_gradients_are_those_of_padded_tokens(
    batch, without_dropout, pooling, other
):
    import tensorflow as tf

    clf = without_dropout(pooling=pooling)
    weights = clf.model.trainable_variables
    inputs, targets = batch([3, 12, 7]), np.array([0, 1, 1])
    gradients = {}
    packed = inputs | pack(inputs["padding_mask"])
    for layout in ("padded", other):
        tokens = packed if layout == "packed" else inputs
        with tf.GradientTape() as tape:
            logits = clf.laid_out(layout)(tokens, training=True)
            loss = clf.head.loss()(targets, logits)
        found = tape.gradient(loss, [weight.value for weight in weights])
        gradients[layout] = [tf.convert_to_tensor(g).numpy() for g in found]
    assert max(np.abs(g).max() for g in gradients["padded"]) > 1e-3
    for weight, one, two in zip(weights, *gradients.values(), strict=True):
        np.testing.assert_allclose(
            one, two, rtol=1e-4, atol=1e-6, err_msg=weight.path
        )


def test_the_loss_falls_as_with_padded_tokens(toy, batch, without_dropout):
    losses = {}
    for layout in ("padded", "flat"):
        clf = without_dropout()
        history = clf.fit(
            *toy,
            epochs=2,
            batch_size=8,
            learning_rate=1e-3,
            layout=layout,
            verbose=0,
        )
        losses[layout] = history.history["loss"]
        assert clf.model.evaluate(batch([4, 2]), np.array([0, 1]), verbose=0)
    assert losses["flat"][-1] < losses["flat"][0]
    np.testing.assert_allclose(losses["flat"], losses["padded"], rtol=1e-3)


def test_the_layout_is_chosen_by_backend_and_device(monkeypatch):
    assert choose_layout() == "flat"
    assert choose_layout("padded") == "padded"
    devices = ["cpu:0", "gpu:0"]
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: devices)
    assert choose_layout() == choose_layout(packed=True) == "padded"
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert choose_layout() == choose_layout(packed=True) == "padded"
    devices.remove("gpu:0")
    assert choose_layout() == "padded"
    assert choose_layout(packed=True) == "packed"
    with pytest.raises(ConfigError, match="TensorFlow backend"):
        choose_layout("flat")


def test_an_unknown_layout_is_refused_before_texts_are_read(without_dropout):
    with pytest.raises(ConfigError, match="padded, flat"):
        without_dropout().fit(["a"], ["a", "z"], layout="tight")


def embedder():
    return kbert.Embedder("random:1x64", seed=0), ([("a b", "b a"), ("c", "d")])


def multitask():
    front = kbert.MultiTask("random:1x64", {"x": "classification"}, seed=0)
    return front, {"x": (["a b", "c"], ["a", "z"])}


@pytest.mark.parametrize("make", [embedder, multitask])
def test_every_training_takes_a_layout(make, monkeypatch):
    front, data = make()
    real, seen = type(front).laid_out, []

    def laid_out(self, layout):
        seen.append(layout)
        return real(self, layout)

    monkeypatch.setattr(type(front), "laid_out", laid_out)
    history = front.fit(data, layout="padded", epochs=1, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert "padded" in seen
    with pytest.raises(ConfigError, match="padded, flat"):
        front.fit(None, layout="packed")
