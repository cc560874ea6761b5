"""`fit(r_drop=)`: the loss, what training sees, bad input."""

import keras
import numpy as np
import pytest

import kbert
from kbert.errors import ConfigError
from kbert.training.r_drop import RDrop


def tiny(head="classification", **options):
    return kbert.Classifier("random:1x64", head=head, seed=0, **options)


@pytest.fixture(scope="module")
def task():
    clf = tiny()
    clf.head.adapt(["a", "b", "c"])
    clf.build()
    return clf


def compiled(task, weight):
    task.model.compile("sgd", loss=task.head.loss())
    return RDrop(task, weight)


@pytest.mark.parametrize("weights", [None, [1.0, 0.5, 0.0]])
def test_loss_is_that_of_the_paper_halved(task, weights):
    model = compiled(task, 1.5)
    logits = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
    y = np.array([2, 0, 1], "int32")
    weight = None if weights is None else np.array(weights, "float32")
    loss = model.compute_loss(
        y=keras.ops.convert_to_tensor(y),
        y_pred=keras.ops.convert_to_tensor(logits),
        sample_weight=weight,
    )
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    w = np.ones(3) if weight is None else weight
    p, q = p[:3], p[3:]
    rows = np.arange(3)
    entropy = -np.log(p[rows, y]) - np.log(q[rows, y])
    kl = (p * np.log(p / q)).sum(-1) + (q * np.log(q / p)).sum(-1)
    expected = np.mean(w * (entropy + 1.5 * kl / 2)) / 2
    np.testing.assert_allclose(float(loss), expected, rtol=1e-5)


def test_both_answers_differ_by_dropout_alone(task):
    model = RDrop(task, 1.0)
    batch = task.tokenizer.pad(task.tokens([["a b", "c"]]))
    outputs = np.asarray(model(batch, training=True))
    assert outputs.shape == (4, 3)
    assert (outputs[:2] != outputs[2:]).all()
    np.testing.assert_array_equal(
        model(batch, training=False), task.model(batch, training=False)
    )


def test_learns(toy):
    clf = tiny()
    history = clf.fit(
        *toy,
        batch_size=8,
        r_drop=1.0,
        validation_split=0.25,
        epochs=4,
        learning_rate=3e-3,
        verbose=0,
    )
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert history.history["val_accuracy"][-1] > 0.9


@pytest.mark.parametrize(
    ("head", "names"),
    [("spam", ("ham", "spam")), ("sentiment", ("negative", "positive"))],
)
def test_heads_of_one_label(head, names, toy):
    texts, labels = toy
    y = [names[label == "z"] for label in labels]
    clf = tiny(head)
    history = clf.fit(
        texts, y, r_drop=1.0, validation_split=0.25, epochs=2, verbose=0
    )
    assert np.isfinite(history.history["loss"]).all()


def test_a_run_goes_on(toy, tmp_path):
    def run(folder, epochs_before_the_stop=None):
        class Stop(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                if epoch == epochs_before_the_stop:
                    raise KeyboardInterrupt

        clf = tiny()
        clf.fit(
            *toy,
            r_drop=1.0,
            epochs=2,
            verbose=0,
            run_dir=tmp_path / folder,
            callbacks=[Stop()],
        )
        return clf

    whole = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("parts", 1)
    parts = run("parts")
    for a, b in zip(whole.model.weights, parts.model.weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_bad_weight(weight, toy):
    with pytest.raises(ConfigError, match="r_drop"):
        tiny().fit(*toy, r_drop=weight)


def test_a_head_without_labels_is_refused():
    clf = tiny("regression")
    with pytest.raises(ConfigError, match="one label"):
        clf.fit(["a", "b", "c", "d"], [0.1, 0.2, 0.3, 0.4], r_drop=1.0)
