"""Every way of training goes on with a run that was killed, bit for bit."""

import keras
import numpy as np
import pytest

import kbert
from kbert.errors import ConfigError
from kbert.training.examples import Examples

TEXTS = ["good", "very good", "bad", "very bad", "fine", "not so fine"] * 3
LABELS = ["yes", "yes", "no", "no"] * 4 + ["yes", "no"]
PAIRS = list(zip(TEXTS[::2], TEXTS[1::2], strict=True))
OPTIONS = {"epochs": 3, "batch_size": 6, "learning_rate": 1e-3, "verbose": 0}


class Stop(keras.callbacks.Callback):
    """A kill in the middle of the last epoch."""

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations) > 2 * (self.params["steps"]):
            raise KeyboardInterrupt


def classifier(**options):
    clf = kbert.Classifier("random:1x64", seed=1)
    return clf, clf.fit(
        TEXTS, LABELS, validation_data=(TEXTS, LABELS), **OPTIONS, **options
    )


def few_shot(**options):
    clf = kbert.Classifier("random:1x64", seed=1)
    options = OPTIONS | {"method": "few_shot"} | options
    return clf, clf.fit(TEXTS, LABELS, **options)


def embedder(**options):
    model = kbert.Embedder("random:1x64", seed=1)
    data = {"validation_data": (PAIRS, None)}
    return model, model.fit(PAIRS, **data, **OPTIONS, **options)


def several(**options):
    model = kbert.MultiTask(
        "random:1x64", {"a": "classification", "b": "classification"}, seed=1
    )
    rows = (TEXTS, LABELS)
    data = {"validation_split": 0.3, "early_stopping": 3, "sampling": "equal"}
    few = (TEXTS[:8], LABELS[:8])
    return model, model.fit({"a": rows, "b": few}, **data, **OPTIONS, **options)


WAYS = {f.__name__: f for f in (classifier, few_shot, embedder, several)}


@pytest.mark.parametrize(
    "way",
    [
        *("few_shot", "several", "embedder"),
        # Other tests stop it in more places.
        pytest.param("classifier", marks=pytest.mark.large),
    ],
)
def test_a_killed_run_goes_on(way, tmp_path):
    train, run_dir = WAYS[way], tmp_path / "run"
    whole, history = train()
    with pytest.raises(KeyboardInterrupt):
        train(run_dir=run_dir, callbacks=[Stop()])
    kept = sorted(path.name for path in run_dir.glob("checkpoint-*"))
    assert len(kept) == 2
    gone_on, over = train(run_dir=run_dir), train(run_dir=run_dir)
    for model, told in (gone_on, over):
        for a, b in zip(whole.model.weights, model.model.weights, strict=True):
            if "seed_generator" not in a.path:
                np.testing.assert_array_equal(a, b, a.path)
        assert told.epoch == history.epoch
        assert told.history["loss"] == pytest.approx(history.history["loss"])
    with pytest.raises(ConfigError, match="warmup was 0.1 and is now 0.5"):
        train(run_dir=run_dir, warmup=0.5)


@pytest.mark.parametrize("way", ["classifier", "few_shot"])
def test_a_run_that_a_callback_pauses_goes_on(way, tmp_path):
    class Pause(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs |= {"note": "hello", "lengths": np.arange(2), "none": None}
            self.model.stop_training = True

    run_dir = tmp_path / "run"
    _, history = WAYS[way](run_dir=run_dir, callbacks=[Pause()])
    assert history.epoch == [0]
    assert history.history["note"] == ["hello"]
    _, history = WAYS[way](run_dir=run_dir)
    assert history.epoch == [0, 1, 2]


def test_nothing_is_hashed_without_a_folder(monkeypatch):
    def digest(self):
        raise AssertionError

    monkeypatch.setattr(Examples, "digest", digest)
    clf = kbert.Classifier("random:1x64", seed=1)
    clf.fit(TEXTS, LABELS, **(OPTIONS | {"epochs": 1}))


def test_what_was_changed_is_named(tmp_path):
    def train(**options):
        clf = kbert.Classifier("random:1x64", seed=1)
        small = OPTIONS | {"epochs": 1, "run_dir": tmp_path}
        clf.fit(TEXTS, LABELS, **small, **options)

    rate = keras.callbacks.ReduceLROnPlateau(monitor="loss")
    train(class_weight="balanced", callbacks=[rate])
    with pytest.raises(ConfigError) as raised:
        train()
    message = str(raised.value)
    assert "data (texts, labels or weights)" in message
    assert "rate set by was 'a callback' and is now None" in message


@pytest.mark.parametrize("way", ["embedder", "several"])
def test_the_best_epoch_stays_and_training_stops(way):
    class Worse(keras.callbacks.Callback):
        """Every epoch after the first is worse."""

        seen = None

        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.seen = self.model.get_weights()

        def on_epoch_end(self, epoch, logs=None):
            logs["val_loss"] = float(epoch)

    worse = Worse()
    options = {"early_stopping": 1, "callbacks": [worse]}
    if way == "several":
        model = kbert.MultiTask("random:1x64", {"a": "classification"}, seed=1)
        data = ({"a": (TEXTS, LABELS)},)
        options |= {"validation_data": {"a": (TEXTS, LABELS)}}
    else:
        model, data = kbert.Embedder("random:1x64", seed=1), (PAIRS,)
        options |= {"validation_data": (PAIRS, None)}
    history = model.fit(*data, **OPTIONS, **options)
    assert history.epoch == [0, 1]
    weights = zip(worse.seen, model.model.get_weights(), strict=True)
    assert all(np.array_equal(a, b) for a, b in weights)


@pytest.mark.parametrize("way", ["embedder", "several"])
def test_early_stopping_needs_validation(way):
    model = kbert.Embedder("random:1x64")
    data = (PAIRS,)
    if way == "several":
        model = kbert.MultiTask("random:1x64", {"a": "classification"})
        data = ({"a": (TEXTS, LABELS)},)
    with pytest.raises(ConfigError, match="watches validation data"):
        model.fit(*data, early_stopping=1)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"layer_decay": 0.9}, "few_shot.*layer_decay=0.9"),
        ({"layout": "packed"}, "few_shot.*layout='packed'"),
        ({"early_stopping": 2}, "few_shot.*early_stopping=2"),
        ({"pooling": "cl"}, "pooling"),
    ],
)
def test_few_shot_says_what_it_does_without(options, message):
    with pytest.raises(ConfigError, match=message):
        few_shot(**options)


def test_fine_tuning_has_no_pooling_of_pairs():
    with pytest.raises(ConfigError, match="few_shot.*pooling='cls'"):
        classifier(pooling="cls")
