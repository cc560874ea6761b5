"""`fit(run_dir=...)`: a fine-tuning run that is killed and goes on."""

import keras
import numpy as np
import pytest

import kbert
from kbert.errors import ConfigError


class Stop(keras.callbacks.Callback):
    """Ends a run as a kill would, after so many epochs."""

    def __init__(self, epochs):
        super().__init__()
        self.epochs = epochs

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epochs:
            raise KeyboardInterrupt


def train(toy, run_dir=None, stop=None, **options):
    x, y = toy
    clf = kbert.Classifier("random:1x64", seed=3)
    options = {"epochs": 3, "batch_size": 4, "learning_rate": 1e-3} | options
    history = clf.fit(
        x,
        y,
        validation_split=0.25,
        verbose=0,
        run_dir=run_dir,
        callbacks=[] if stop is None else [Stop(stop)],
        **options,
    )
    return clf, history.history


def assert_equal(one, other):
    for a, b in zip(one.model.weights, other.model.weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "batch_size",
    # Without a graph, and so many steps that it is one.
    [9, pytest.param(4, marks=pytest.mark.large)],
)
def test_an_interrupted_run_goes_on(toy, tmp_path, batch_size):
    options = {"batch_size": batch_size}
    whole, expected = train(toy, **options)
    for stop in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            train(toy, tmp_path / "run", stop, **options)
    clf, history = train(toy, tmp_path / "run", **options)
    assert history == expected
    assert_equal(clf, whole)
    # Over already: nothing is trained, and the best weights come back.
    again, history = train(toy, tmp_path / "run", stop=0, **options)
    assert history == expected
    assert_equal(again, whole)


def test_other_data_or_settings_are_refused(toy, tmp_path):
    train(toy, tmp_path, epochs=1)
    with pytest.raises(ConfigError, match="learning_rate was 0.001"):
        train(toy, tmp_path, epochs=1, learning_rate=2e-3)
    x, y = toy
    with pytest.raises(ConfigError, match=r"data \(texts, labels or weights\)"):
        train((x[::-1], y[::-1]), tmp_path, epochs=1)


def test_early_stopping_stays_stopped(toy, tmp_path, monkeypatch):
    options = {"epochs": 6, "early_stopping": 1, "learning_rate": 1e-30}
    options["batch_size"] = 18  # So few steps that no graph is made.
    _, history = train(toy, tmp_path, **options)
    assert len(history["loss"]) == 2
    _, again = train(toy, tmp_path, stop=2, **options)
    assert again == history
