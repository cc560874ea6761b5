"""Every callback that Keras has, in every layout and way of training."""

import keras
import numpy as np
import pytest
import requests
from keras import callbacks as known

import kbert
from kbert.errors import ConfigError
from kbert.pretrainer import Pretrainer
from kbert.training.optimizer import AdamW
from kbert.training.optimizer import WarmupLinearDecay

# Base classes, and what `fit` adds by itself.
OTHERS = {"Callback", "CallbackList", "History"}


class See(keras.callbacks.Callback):
    """Remembers its model and the weights of each epoch."""

    def on_train_begin(self, logs=None):
        self.weights = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen = self.model
        # Copies: on a CPU they may be the variables' own memory.
        self.weights.append([np.array(w) for w in self.model.get_weights()])


def all_of(folder, called):
    """A callback of each kind by its name, in an order that suits them."""
    every = {
        "SwapEMAWeights": known.SwapEMAWeights(swap_on_epoch=True),
        "BackupAndRestore": known.BackupAndRestore(folder / "backup"),
        "CSVLogger": known.CSVLogger(folder / "log.csv"),
        "EarlyStopping": known.EarlyStopping(
            "loss", patience=9, restore_best_weights=True
        ),
        "LambdaCallback": known.LambdaCallback(
            on_epoch_end=lambda epoch, logs: called.append("lambda")
        ),
        "LearningRateScheduler": known.LearningRateScheduler(
            lambda epoch, rate: rate if epoch < 1 else rate / 2
        ),
        "ModelCheckpoint": known.ModelCheckpoint(folder / "{epoch}.keras"),
        "ProgbarLogger": known.ProgbarLogger(),
        # Never better, so each epoch but the first makes it a tenth.
        "ReduceLROnPlateau": known.ReduceLROnPlateau(
            "loss", factor=0.1, patience=1, min_delta=99
        ),
        "RemoteMonitor": known.RemoteMonitor(),
        "TensorBoard": known.TensorBoard(
            folder / "board", histogram_freq=1, update_freq=1
        ),
        "TerminateOnNaN": known.TerminateOnNaN(),
    }
    try:
        every["OrbaxCheckpoint"] = known.OrbaxCheckpoint(folder / "orbax")
    except ImportError:  # Of a package that is not installed.
        every["OrbaxCheckpoint"] = None
    return every


def test_every_callback_of_keras_is_tried(tmp_path):
    names = {name for name in dir(known) if name[0].isupper()}
    assert names == set(all_of(tmp_path, [])) | OTHERS


OPTIONS = {"epochs": 2, "learning_rate": 1e-3, "verbose": 0}


def classifier(toy, callbacks, **options):
    clf = kbert.Classifier("random:1x64", seed=0)
    options = OPTIONS | {"batch_size": 8, "callbacks": callbacks} | options
    if "method" not in options:
        options["validation_split"] = 0.25
    return clf, clf.fit(*toy, **options)


def embedder(toy, callbacks):
    pairs = list(zip(*(toy[0][i::2] for i in range(2)), strict=True))
    model = kbert.Embedder("random:1x64", seed=0)
    data = {"validation_data": (pairs[:4], None), "batch_size": 6}
    return model, model.fit(pairs, callbacks=callbacks, **data, **OPTIONS)


def several(toy, callbacks):
    heads = {"x": "classification", "y": "ner"}
    model = kbert.MultiTask("random:1x64", heads, seed=0)
    words = (["aa bb"] * 8, [["B-X", "O"]] * 8)
    data = {"callbacks": callbacks, "batch_size": 8, "validation_split": 0.25}
    return model, model.fit({"x": toy, "y": words}, **data, **OPTIONS)


WAYS = {
    "padded": lambda *given: classifier(*given, layout="padded"),
    "flat": lambda *given: classifier(*given, layout="flat"),
    "packed": lambda *given: classifier(*given, layout="packed"),
    "r_drop": lambda *given: classifier(*given, r_drop=1.0),
    # So many steps that it is a graph.
    "graph": lambda *given: classifier(*given, batch_size=3),
    "few_shot": lambda *given: classifier(*given, method="few_shot"),
    "embedder": embedder,
    "several": several,
}


# A graph is flat by itself; packed rows are trained in another form, too.
LARGE = {"padded", "flat", "r_drop"}


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(way, marks=pytest.mark.large) if way in LARGE else way
        for way in WAYS
    ],
)
def test_all_together(way, toy, tmp_path, monkeypatch):
    sent, called, see = [], [], See()
    monkeypatch.setattr(requests, "post", lambda *_, **data: sent.append(data))
    every = all_of(tmp_path, called)
    listed = known.CallbackList(
        [
            known.LambdaCallback(
                on_train_end=lambda logs: called.append("listed")
            )
        ]
    )
    callbacks = [c for c in every.values() if c is not None]
    front, history = WAYS[way](toy, [*callbacks, listed, see])
    if way != "few_shot":
        assert see.seen is front.model
        assert front.model.history is history
    assert front.model.compiled
    assert called == ["lambda", "lambda", "listed"]
    assert len(sent) == 2
    assert (tmp_path / "log.csv").read_text().count("\n") == 3
    assert any((tmp_path / "board" / "train").iterdir())
    assert not (tmp_path / "backup").exists()  # As Keras has it at the end.
    np.testing.assert_allclose(history.history["learning_rate"], [1e-3, 5e-4])
    rate = float(see.seen.optimizer.learning_rate)
    assert rate == pytest.approx(5e-5)
    # What was saved in an epoch is what the model was then, and trains on.
    for epoch, weights in enumerate(see.weights, 1):
        model = keras.models.load_model(tmp_path / f"{epoch}.keras")
        for one, other in zip(weights, model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
    assert model.optimizer.iterations == see.seen.optimizer.iterations
    assert len(model.optimizer.variables) == len(see.seen.optimizer.variables)
    see.seen.load_weights(tmp_path / "1.keras")
    np.testing.assert_array_equal(see.seen.get_weights()[0], see.weights[0][0])


def test_pretraining(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(requests, "post", lambda *_, **data: None)
    every, see = all_of(tmp_path, []), See()
    pretrainer = Pretrainer(corpus, "random:1x32", sequence_length=16)
    options = {"steps": 2, "save_every": 1, "batch_size": 4, "verbose": 0}
    run_dir = tmp_path / "run"
    for name in ("SwapEMAWeights", "BackupAndRestore"):
        callback = every.pop(name)
        with pytest.raises(ConfigError, match=f"run_dir.*{name}"):
            pretrainer.fit(run_dir, callbacks=[callback], **options)
    callbacks = [*(c for c in every.values() if c is not None), see]
    history = pretrainer.fit(
        run_dir, callbacks=callbacks, optimizer="lamb", **options
    )
    assert see.seen is pretrainer.model
    np.testing.assert_allclose(history.history["learning_rate"], [1e-4, 5e-5])
    model = keras.models.load_model(tmp_path / "2.keras")
    for one, other in zip(see.weights[1], model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not model.optimizer._use_weight_decay(model.get_layer("nsp").bias)


def test_a_stop_is_one(toy):
    stop = known.EarlyStopping("loss", min_delta=99, patience=1)
    _, history = classifier(toy, [stop], epochs=5, layout="flat")
    assert len(history.epoch) == 2


def test_a_rate_that_is_reduced_begins_at_its_highest(toy):
    reduce = known.ReduceLROnPlateau("loss", min_delta=99, patience=1)
    _, history = classifier(toy, [reduce], epochs=3)
    rates = history.history["learning_rate"]
    np.testing.assert_allclose(rates, [1e-3, 1e-3, 1e-4])


class Halve(keras.callbacks.Callback):
    """Sets the rate by hand, where there is a schedule."""

    def on_epoch_end(self, epoch, logs=None):
        rate = 1e-3 if epoch == 0 else float(self.model.optimizer.learning_rate)
        self.model.optimizer.learning_rate = rate / 2

    def on_epoch_begin(self, epoch, logs=None):
        rates.append(float(self.model.optimizer.learning_rate))


rates = []


@pytest.mark.parametrize(
    "batch_size",
    # A graph, and without one.
    [3, pytest.param(8, marks=pytest.mark.large)],
)
def test_a_rate_that_is_set_by_hand_holds(batch_size, toy, tmp_path):
    rates.clear()
    save = known.ModelCheckpoint(tmp_path / "m.keras")
    clf, _ = classifier(
        toy, [Halve(), save], epochs=3, batch_size=batch_size, warmup=0.5
    )
    assert rates[0] < 1e-3
    np.testing.assert_allclose(rates[1:], [5e-4, 2.5e-4])
    # One that is set moves weights by it: Adam's steps are of its size.
    model = keras.models.load_model(tmp_path / "m.keras")
    assert float(model.optimizer.learning_rate) == pytest.approx(1.25e-4)
    optimizer = AdamW(WarmupLinearDecay(1e-3, 10))
    weight = keras.Variable([1.0, 2.0])
    optimizer.learning_rate = 0.5
    optimizer.apply([np.array([1.0, 1.0])], [weight])
    np.testing.assert_allclose(weight, [0.5 - 0.005, 1.5 - 0.01], rtol=1e-4)
    # Any rate holds, also one of 0, by which nothing moves.
    optimizer.learning_rate = 0.0
    before = np.array(weight)
    optimizer.apply([np.array([1.0, 1.0])], [weight])
    np.testing.assert_array_equal(weight, before)


def test_a_backup_goes_on_once(toy, tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    backup = tmp_path / "backup"
    with pytest.raises(KeyboardInterrupt):
        classifier(toy, [known.BackupAndRestore(backup), Stop()])
    clf, history = classifier(toy, [known.BackupAndRestore(backup)])
    assert history.epoch == [1]
    # Keras would have the next `fit` begin there, too.
    assert len(clf.fit(*toy, **OPTIONS).epoch) == 2


def test_keras_own_calls_after_and_before(toy):
    clf = kbert.Classifier("random:1x64", labels=["a", "z"], seed=0)
    rows = clf.tokenize([toy[0]]).take(np.arange(8))
    y = np.array([0, 1] * 4)

    def by_keras():
        clf.model.compile(
            "sgd",
            clf.head.loss(),
            metrics=clf.head.metrics(),
            run_eagerly=True,
        )
        assert clf.model.predict(rows, verbose=0).shape == (8, 2)
        clf.model.fit(rows, y, verbose=0)
        return clf.model.evaluate(rows, y, verbose=0, return_dict=True)

    assert by_keras()["loss"] > 0
    for layout in ("flat", "packed"):
        clf.fit(*toy, batch_size=8, layout=layout, **OPTIONS)
        assert "call" not in vars(clf.model)
        # Compiled as `fit` left it, on padded rows.
        found = clf.model.evaluate(rows, y, verbose=0, return_dict=True)
        right = np.argmax(clf.model.predict(rows, verbose=0), axis=-1) == y
        assert found["accuracy"] == pytest.approx(right.mean())
    assert by_keras()["loss"] > 0


@pytest.mark.parametrize(
    ("callback", "match"),
    [
        (known.SwapEMAWeights(), "swap_on_epoch=True"),
        (known.ModelCheckpoint("best.h5"), r"best.h5.*\.keras"),
    ],
)
def test_refused_before_texts_are_read(callback, match):
    with pytest.raises(ConfigError, match=match):
        classifier((["a"], ["a", "z"]), [callback])


def test_a_folder_of_a_run_and_a_backup(tmp_path):
    backup = known.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(ConfigError, match="run_dir.*BackupAndRestore"):
        classifier((["a"], ["a"]), [backup], run_dir=tmp_path / "run")


def test_on_jax(on_jax, tmp_path):
    program = """
import sys, keras, kbert
import numpy as np

texts, labels = ["aa bb", "zz yy"] * 8, ["a", "z"] * 8
clf = kbert.Classifier("random:1x64", seed=0)
seen = []

class Halve(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        seen.append([np.array(w) for w in self.model.get_weights()])
        self.model.optimizer.learning_rate = 0.5 ** (epoch + 1)

save = keras.callbacks.ModelCheckpoint(sys.argv[1] + "/{epoch}.keras")
options = {"epochs": 2, "batch_size": 8, "verbose": 0}
clf.fit(texts, labels, callbacks=[Halve(), save], **options)
assert save.model is clf.model
for epoch, weights in enumerate(seen, 1):
    model = keras.models.load_model(f"{sys.argv[1]}/{epoch}.keras")
    for one, other in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert float(model.optimizer.learning_rate) == 0.5**epoch
assert max(abs(a - b).max() for a, b in zip(*seen)) > 0.1  # At that rate.
"""
    on_jax(program, str(tmp_path))
