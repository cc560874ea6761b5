"""Checkpoints: whole or not at all, and a run that goes on bit for bit."""

import json
import os
import random
import sys

import keras
import numpy as np
import pytest

from kbert.errors import CheckpointError
from kbert.errors import ConfigError
from kbert.training.resume import KEEP
from kbert.training.resume import BestWeights
from kbert.training.resume import RunFolder
from kbert.training.resume import State
from kbert.training.resume import random_states
from kbert.training.resume import restore
from kbert.training.resume import set_random_states
from kbert.training.resume import tensors_of
from kbert.utils import atomic as folders

SETTINGS = {"steps": 10, "rate": 0.1}


def state(step):
    return State(
        step, {"w": np.full((2, 3), step, "float32")}, {"logs": [step]}
    )


def saved(folder):
    return sorted(p.name for p in folder.glob("checkpoint-*"))


def test_the_newest_is_read_and_two_are_kept(tmp_path):
    run = RunFolder(tmp_path, SETTINGS)
    assert run.latest() is None
    for step in (5, 50, 500, 1000):
        run.save(state(step))
    assert saved(tmp_path) == ["checkpoint-00000500", "checkpoint-00001000"]
    assert KEEP == 2
    newest = RunFolder(tmp_path, SETTINGS).latest()
    assert newest.step == 1000
    assert newest.facts == {"logs": [1000]}
    np.testing.assert_array_equal(newest.tensors["w"], np.full((2, 3), 1000))


def test_scalars_keep_their_shape(tmp_path):
    run = RunFolder(tmp_path, SETTINGS)
    run.save(State(1, {"n": np.array(7, "int32")}, {"logs": []}))
    assert run.latest().tensors["n"].shape == ()


def test_other_settings_are_refused(tmp_path):
    RunFolder(tmp_path, SETTINGS).save(state(5))
    with pytest.raises(ConfigError, match="rate was 0.1 and is now 0.2"):
        RunFolder(tmp_path, {"steps": 10, "rate": 0.2})
    with pytest.raises(ConfigError, match="seed was None and is now 1"):
        RunFolder(tmp_path, SETTINGS | {"seed": 1})
    # Without a checkpoint there is nothing to lose.
    other = tmp_path / "other"
    RunFolder(other, SETTINGS)
    assert RunFolder(other, {"steps": 3}).latest() is None


@pytest.mark.parametrize("name", ["state.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["truncate", "remove", "flip"])
def test_damage_is_found(tmp_path, name, damage):
    run = RunFolder(tmp_path, SETTINGS)
    run.save(state(5))
    path = tmp_path / "checkpoint-00000005" / name
    content = path.read_bytes()
    if damage == "remove":
        path.unlink()
    elif damage == "truncate":
        path.write_bytes(content[:-9])
    elif name == "state.safetensors":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    else:
        path.write_bytes(b"[" + content)
    with pytest.raises(CheckpointError, match="checkpoint-00000005"):
        run.latest()


@pytest.mark.parametrize("text", ["[]", "{}", '{"step": 5, "facts": {}}'])
def test_what_is_no_state_is_found(tmp_path, text):
    run = RunFolder(tmp_path, SETTINGS)
    run.save(state(4))
    run.save(state(5))
    (tmp_path / "checkpoint-00000005" / "state.json").write_text(text)
    with pytest.raises(CheckpointError, match="Remove .*00000005 to go on"):
        run.latest()
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(CheckpointError, match="run.json.*Choose another"):
        RunFolder(tmp_path, SETTINGS)


@pytest.mark.parametrize("when", ["write_tensors", "flush", "rename"])
def test_a_failed_write_leaves_the_last_good_one(tmp_path, monkeypatch, when):
    run = RunFolder(tmp_path, SETTINGS)
    run.save(state(5))

    def full(*_):
        raise OSError(28, "No space left on device")

    place = {
        "write_tensors": "kbert.training.resume.write_tensors",
        "flush": "kbert.utils.atomic.flush",
        "rename": "kbert.utils.atomic._move",
    }[when]
    with monkeypatch.context() as patch:
        patch.setattr(place, full)
        with pytest.raises(CheckpointError, match="No space left"):
            run.save(state(6))
    assert saved(tmp_path) == ["checkpoint-00000005"]
    assert list(tmp_path.glob(".checkpoint-*")) == []
    assert run.latest().step == 5


def test_what_a_kill_left_is_swept(tmp_path):
    run = RunFolder(tmp_path, SETTINGS)
    run.save(state(5))
    rest = tmp_path / ".checkpoint-00000006-abc"
    rest.mkdir()
    (rest / "state.safetensors").write_bytes(b"half")
    assert RunFolder(tmp_path, SETTINGS).latest().step == 5
    assert not rest.exists()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="choose another place"):
        RunFolder(tmp_path / "file", SETTINGS)


def test_random_states():
    states = json.loads(json.dumps(random_states()))
    drawn = random.random(), np.random.rand(3)
    set_random_states(states)
    assert random.random() == drawn[0]
    np.testing.assert_array_equal(np.random.rand(3), drawn[1])


def model():
    inputs = keras.Input((4,))
    x = keras.layers.Dropout(0.5)(keras.layers.Dense(8)(inputs))
    made = keras.Model(inputs, keras.layers.Dense(1)(x))
    made.compile("adam", "mse")
    return made


def test_a_model_goes_on_bit_for_bit():
    x, y = np.random.default_rng(0).random((2, 64, 4), "float32")
    whole = model()
    whole.fit(x, y[:, :1], epochs=1, shuffle=False, verbose=0)
    kept = State(1, tensors_of(whole), {"random": random_states()})
    whole.fit(x, y[:, :1], epochs=1, shuffle=False, verbose=0)

    again = model()
    restore(again, kept)
    again.fit(x, y[:, :1], epochs=1, shuffle=False, verbose=0)
    for a, b in zip(whole.variables, again.variables, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_checkpoint_of_another_model():
    one = model()
    one.fit(np.ones((2, 4)), np.ones((2, 1)), verbose=0)
    tensors = tensors_of(one)
    tensors.pop(next(name for name in tensors if "dense" in name))
    other = model()
    before = [np.array(v) for v in other.variables]
    with pytest.raises(CheckpointError, match="missing or of another shape"):
        restore(other, State(1, tensors, {"random": random_states()}))
    for a, b in zip(before, other.variables, strict=True):
        np.testing.assert_array_equal(a, b)


def test_flushed_before_it_is_renamed(tmp_path, monkeypatch):
    calls = []
    for name in ("flush", "_move"):
        real = getattr(folders, name)

        def call(*args, real=real, name=name):
            calls.append((name, os.path.basename(args[0])))
            return real(*args)

        monkeypatch.setattr(folders, name, call)
    RunFolder(tmp_path, SETTINGS).save(state(1))
    names = [name for name, _ in calls]
    flushed = {file for name, file in calls[: names.index("_move")]}
    assert {"state.safetensors", "state.json"} <= flushed


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow" or sys.platform != "linux",
    reason="the toy run is made for TensorFlow on Linux",
)
@pytest.mark.parametrize(
    ("kills", "least"),
    [(3, 1), pytest.param(20, 6, marks=pytest.mark.large)],
)
def test_kills(kill, kills, least):
    result = kill.kill_runs(kills, seed=1)
    assert result["kills"] == kills
    # They fell in the middle of runs, at different steps.
    assert len(set(result["checkpoints"])) >= least


@pytest.mark.parametrize(
    ("accuracies", "kept", "epochs"),
    [
        ([0.5, 0.9, 0.9, 0.8], 2, 4),  # Of equals the last.
        ([0.5, 0.9, 0.8, 0.9], 3, 4),
        ([0.9, 0.9, 0.9, 0.9], 2, 3),  # But they are no reason to go on.
    ],
)
def test_the_best_epoch_is_kept(accuracies, kept, epochs):
    best = BestWeights("accuracy", "max", patience=2)
    made = model()
    best.set_model(made)
    best.on_train_begin()
    for epoch, accuracy in enumerate(accuracies):
        made.set_weights([np.full(w.shape, epoch) for w in made.get_weights()])
        best.on_epoch_end(epoch, {"accuracy": accuracy})
        if made.stop_training:
            break
    best.on_train_end()
    assert epoch + 1 == epochs
    assert made.get_weights()[0].flat[0] == kept
