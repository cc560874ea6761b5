"""Adaptive softmax beside the same computed label by label in NumPy."""

import json

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

import kbert
from kbert.data.batching import static_shapes
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.heads.adaptive_softmax import AdaptiveSoftmax
from kbert.heads.adaptive_softmax import AdaptiveSoftmaxLoss
from kbert.heads.adaptive_softmax import choose_cutoffs
from kbert.heads.classification import ClassificationHead
from kbert.testing import check_head

DIM = 16


def make(order, cutoffs, shrink=2):
    """A layer with weights large enough to tell labels apart."""
    layer = AdaptiveSoftmax(order, cutoffs, shrink)
    layer.build((None, DIM))
    random = np.random.default_rng(0)
    layer.set_weights(
        [random.normal(size=w.shape) for w in layer.get_weights()]
    )
    return layer


def reference(layer, x):
    """Log-probabilities by the definition, a row and a label at a time."""

    def log_softmax(z):
        return z - z.max() - np.log(np.exp(z - z.max()).sum())

    weights = {w.path.split("/", 1)[1]: w.numpy() for w in layer.weights}
    first = layer.cutoffs[0]
    table = np.zeros((len(x), len(layer.order)))
    for row, features in enumerate(x.astype("float64")):
        head = log_softmax(
            features @ weights["head/kernel"] + weights["head/bias"]
        )
        for place, label in enumerate(layer.order):
            tail = int(np.searchsorted(layer.cutoffs, place, "right")) - 1
            if tail < 0:
                table[row, label] = head[place]
                continue
            inner = features @ weights[f"projection_{tail}/kernel"]
            within = log_softmax(inner @ weights[f"tail_{tail}/kernel"])
            table[row, label] = (
                head[first + tail] + within[place - layer.cutoffs[tail]]
            )
    return table


def features(rows):
    return np.random.default_rng(1).normal(size=(rows, DIM)).astype("float32")


@settings(max_examples=10)
@given(st.data())
def test_answers_and_loss_are_those_of_the_definition(data):
    labels = data.draw(st.integers(2, 12))
    order = data.draw(st.permutations(range(labels)))
    cutoffs = sorted(data.draw(st.sets(st.integers(1, labels - 1), min_size=1)))
    target = data.draw(st.lists(st.integers(0, labels - 1), min_size=1))
    layer, x = make(order, cutoffs), features(len(target))
    expected = reference(layer, x)
    answers = keras.ops.convert_to_numpy(layer(x, answer=True))
    np.testing.assert_allclose(answers, expected, atol=1e-4)
    np.testing.assert_allclose(np.exp(answers).sum(axis=1), 1, atol=1e-5)
    losses = AdaptiveSoftmaxLoss(layer).call(np.array(target, "float32"), x)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(losses),
        -expected[np.arange(len(target)), target],
        atol=1e-4,
    )
    np.testing.assert_array_equal(layer(x), x)


@pytest.mark.skipif(static_shapes(), reason="shapes are static")
def test_a_tail_is_computed_for_its_own_rows_only(monkeypatch):
    layer = make([3, 1, 0, 2, 4], [1, 3])
    seen, tail = [], layer.tail
    monkeypatch.setattr(
        layer, "tail", lambda i, x: seen.append((i, len(x))) or tail(i, x)
    )
    # Label 3 is the head, 1 and 0 are the first tail, 2 and 4 the second.
    AdaptiveSoftmaxLoss(layer)(np.array([3, 0, 3, 4, 1, 1]), features(6))
    assert seen == [(0, 3), (1, 1)]
    seen.clear()
    AdaptiveSoftmaxLoss(layer)(np.array([3, 3]), features(2))
    assert seen == [(0, 0), (1, 0)]


def test_gradients_are_those_of_all_log_probabilities():
    tf = pytest.importorskip("tensorflow")
    if static_shapes():
        pytest.skip("a gradient tape is TensorFlow's")
    layer, x = make([2, 4, 0, 1, 3], [2, 3]), tf.constant(features(7))
    target = np.array([2, 4, 4, 0, 3, 1, 2])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        ours = AdaptiveSoftmaxLoss(layer)(target, x)
        table = layer(x, answer=True)
        theirs = -tf.reduce_mean(tf.gather(table, target, batch_dims=1))
    variables = [x, *(w.value for w in layer.weights)]
    for a, b in zip(
        tape.gradient(ours, variables),
        tape.gradient(theirs, variables),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_layer_comes_back_from_its_config():
    layer = make([1, 0, 2], [1, 2])
    config = json.loads(json.dumps(layer.get_config()))
    copy = AdaptiveSoftmax.from_config(config)
    copy.build((None, DIM))
    copy.set_weights(layer.get_weights())
    x = features(2)
    np.testing.assert_array_equal(layer(x, answer=True), copy(x, answer=True))


@pytest.mark.large
def test_check_head_passes():
    check_head(
        ClassificationHead,
        labels=("a", "b", "c"),
        adaptive_softmax=True,
        cutoffs=[1, 2],
    )


def test_head_counts_labels_and_keeps_their_order():
    head = ClassificationHead(adaptive_softmax=True, cutoffs=[1])
    head.adapt(["b", "c", "b", "a", "c", "c"])
    assert head.labels == ["a", "b", "c"]
    assert head.label_counts == [1, 2, 3]
    given = ClassificationHead(
        labels=["a", "x", "c"], adaptive_softmax=True, cutoffs=[1]
    )
    assert not given.ready
    given.adapt(["c", "c", "a"])
    assert given.ready and given.label_counts == [1, 0, 2]
    clf = kbert.Classifier(
        "random:1x64",
        labels=list("abcd"),
        adaptive_softmax=True,
        cutoffs=[2],
        label_counts=[5, 9, 0, 7],
    )
    assert clf.model.get_layer("adaptive_softmax").order == [1, 3, 0, 2]
    for _, weight in clf.head_weights():
        weight.assign(keras.ops.zeros_like(weight))
    # The two labels of the head, and the tail of two, have a third each.
    np.testing.assert_allclose(
        clf.predict_proba(["x"]), [[1 / 6, 1 / 3, 1 / 6, 1 / 3]], atol=1e-6
    )


def test_fit_save_and_export(tmp_path, toy):
    tf = pytest.importorskip("tensorflow")
    texts, labels = toy
    texts, labels = [*texts, "q"], [*labels, "rare"]
    clf = kbert.Classifier(
        "random:1x64", adaptive_softmax=True, cutoffs=[1], dropout=0.0, seed=0
    )
    history = clf.fit(
        texts,
        labels,
        validation_data=(texts, labels),
        epochs=1,
        batch_size=8,
        learning_rate=1e-3,
        verbose=0,
    ).history
    assert "val_loss" in history
    probabilities = clf.predict_proba(texts)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    # The loss that was watched is -log p of the labels, as answered.
    columns = [clf.labels.index(label) for label in labels]
    picked = probabilities[np.arange(len(texts)), columns]
    assert -np.log(picked).mean() == pytest.approx(
        min(history["val_loss"]), abs=1e-4
    )

    clf.save(tmp_path / "saved")
    again = kbert.load(tmp_path / "saved")
    assert again.head.get_config() == clf.head.get_config()
    np.testing.assert_allclose(
        again.predict_proba(texts), probabilities, atol=1e-6
    )
    path = clf.export(tmp_path / "served")
    serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    answers = serve(text=tf.constant(texts))
    np.testing.assert_allclose(
        answers["probabilities"], probabilities, atol=1e-5
    )
    assert answers["label"].numpy().astype(str).tolist() == clf.predict(texts)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cutoffs": [0, 2]}, "ascending positive"),
        ({"cutoffs": [2, 2]}, "ascending positive"),
        ({"cutoffs": [3, 2]}, "ascending positive"),
        ({"cutoffs": [1.5]}, "ascending positive"),
        ({"cutoffs": []}, "ascending positive"),
        ({"cutoffs": [4]}, "below the number of labels, 4"),
        ({}, "25 at least. Received: 4 labels"),
        ({"cutoffs": [1], "label_counts": [1, 2]}, "Received: 2 of them for 4"),
        ({"cutoffs": [1], "label_counts": [1, 2, 3, -1]}, "0 or more"),
        ({"adaptive_softmax": False, "cutoffs": [1]}, "adaptive_softmax=True"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ConfigError, match=message):
        ClassificationHead(
            labels=list("abcd"), **({"adaptive_softmax": True} | options)
        )


def test_bad_cutoffs_show_once_the_labels_are_known():
    head = ClassificationHead(adaptive_softmax=True, cutoffs=[2, 5])
    with pytest.raises(ConfigError, match="number of labels, 3"):
        head.adapt(["a", "b", "c"])
    with pytest.raises(InputError, match="two different labels"):
        ClassificationHead(adaptive_softmax=True).adapt(["a"])


def test_a_head_with_a_layer_of_its_own_refuses():
    class Own(ClassificationHead):
        name = "own"

        def build(self, features):
            return features["pooled_output"]

    with pytest.raises(ConfigError, match="'own', which ends in"):
        Own(adaptive_softmax=True)


def test_default_cutoffs():
    assert choose_cutoffs(50_000) == [2_000, 10_000]


def test_report_of_many_labels_has_no_table_of_all_by_all():
    head = ClassificationHead(labels=list(range(501)))
    report = head.report({"label": np.array([1, 2])}, np.array([1, 3]))
    assert report["accuracy"] == 0.5
    assert "confusion_matrix" not in report


@pytest.mark.large
def test_equals_torch():
    torch = pytest.importorskip("torch")
    labels, cutoffs = 40, [5, 15]
    layer, x = make(range(labels), cutoffs, shrink=4), features(64)
    target = np.random.default_rng(2).integers(0, labels, 64)
    peer = torch.nn.AdaptiveLogSoftmaxWithLoss(
        DIM, labels, cutoffs, div_value=4.0, head_bias=True
    )
    weights = {w.path.split("/", 1)[1]: w.numpy() for w in layer.weights}
    state = {
        "head.weight": weights["head/kernel"].T,
        "head.bias": weights["head/bias"],
    }
    for i in range(2):
        state[f"tail.{i}.0.weight"] = weights[f"projection_{i}/kernel"].T
        state[f"tail.{i}.1.weight"] = weights[f"tail_{i}/kernel"].T
    peer.load_state_dict({k: torch.tensor(v) for k, v in state.items()})
    with torch.no_grad():
        theirs = peer(torch.tensor(x), torch.tensor(target))
        table = peer.log_prob(torch.tensor(x)).numpy()
    losses = AdaptiveSoftmaxLoss(layer).call(target, x)
    np.testing.assert_allclose(losses, -theirs.output.numpy(), atol=1e-4)
    np.testing.assert_allclose(layer(x, answer=True), table, atol=1e-4)
