"""Checkpoints of a training run, from which it goes on bit for bit.

run_dir/
  run.json                 what the run was started with
  checkpoint-00000500/     the two newest
    state.safetensors      every variable of model and optimizer
    state.json             the step, where the data is, what was logged
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kbert.errors import CheckpointError
from kbert.errors import ConfigError
from kbert.errors import short
from kbert.formats.safetensors_form import read_tensors
from kbert.formats.safetensors_form import write_tensors
from kbert.utils.atomic import file_digest
from kbert.utils.atomic import new_folder
from kbert.utils.atomic import write_file
from kbert.utils.json_text import dumps
from kbert.utils.paths import real_path
from kbert.utils.scratch import check_room
from kbert.utils.scratch import make_folders

RUN = "run.json"

# Settings that only say whether something is the same.
DIGESTS = ("data", "validation", "corpus")

# Settings that runs of earlier releases do not say.
LATER = ("rate set by",)

TENSORS, FACTS = "state.safetensors", "state.json"

# One more than needed: a disk may lose what it said was written.
KEEP = 2


@dataclass(frozen=True)
class State:
    """What decides how a run goes on.

    Attributes:
        step: batches that are done.
        tensors: arrays by name.
        facts: the rest, as JSON can hold it.
    """

    step: int
    tensors: dict[str, np.ndarray]
    facts: dict[str, Any]


class RunFolder:
    """The folder of a run: what it was started with, and its checkpoints.

    A checkpoint is written beside its place, flushed to the disk and renamed:
    killed at any moment, the folder holds whole checkpoints only.

    Args:
        path: the folder; it is made if there is none.
        settings: what decides the run, as JSON can hold it.

    Raises:
        ConfigError: the folder holds a run with other settings; the message
            names those that differ.
        CheckpointError: the folder cannot be written.

    Example:

    >>> run = RunFolder("runs/mini", {"steps": 1000, "seed": 0})
    >>> run.save(State(500, tensors, {"logs": []}))
    >>> run.latest().step
    500
    """

    def __init__(self, path: str | os.PathLike, settings: dict[str, Any]):
        self.path = real_path(path)
        try:
            check_room(self.path)
            make_folders(self.path)
            # What a kill left half written.
            for rest in self.path.glob(".checkpoint-*"):
                shutil.rmtree(rest, ignore_errors=True)
            settings = json.loads(dumps(settings))
            if self._steps():
                self._compare(settings)
            else:
                text = dumps(settings, indent=2)
                write_file(self.path / RUN, text + "\n")
        except OSError as error:
            raise CheckpointError(
                f"Expected a folder for the run. Received: {self.path}: "
                f"{error}. Choose another run_dir."
            ) from error

    def _compare(self, settings: dict) -> None:
        old = _read_json(self.path / RUN)
        changed = [
            f"{key} (texts, labels or weights)"
            if key in DIGESTS and old.get(key) and settings.get(key)
            else f"{key} was {short(old.get(key))} and is now "
            f"{short(settings.get(key))}"
            for key in sorted(old.keys() | settings.keys())
            if old.get(key) != settings.get(key)
            and not (key in LATER and key not in old)
        ]
        if changed:
            raise ConfigError(
                f"Expected the settings that the run in {self.path} was "
                f"started with. Received others: {'; '.join(changed)}. Restore "
                f"them to go on, or choose another run_dir for a new run."
            )

    def _steps(self) -> list[int]:
        """Steps of the whole checkpoints, in order."""
        found = (
            re.fullmatch(r"checkpoint-(\d+)", folder.name)
            for folder in self.path.iterdir()
        )
        return sorted(int(match[1]) for match in found if match)

    def _folder(self, step: int) -> Path:
        return self.path / f"checkpoint-{step:08}"

    def save(self, state: State) -> None:
        """Write a checkpoint, then drop all but the newest `KEEP`.

        Raises:
            CheckpointError: it cannot be written, as on a full disk. Those
                that were there stay.
        """
        target = self._folder(state.step)
        with new_folder(target, replace=True, ours=(TENSORS, FACTS)) as folder:
            write_tensors(state.tensors, folder / TENSORS)
            facts = {
                "step": state.step,
                "sha256": file_digest(folder / TENSORS),
                "facts": state.facts,
            }
            (folder / FACTS).write_text(dumps(facts) + "\n")
        for step in self._steps()[:-KEEP]:
            # Away from its name first, so that none is ever seen in part.
            old = self.path / f".{self._folder(step).name}"
            self._folder(step).rename(old)
            shutil.rmtree(old, ignore_errors=True)

    def latest(self) -> State | None:
        """The newest checkpoint; None for a new run.

        Raises:
            CheckpointError: it is corrupt.
        """
        if not (steps := self._steps()):
            return None
        folder = self._folder(steps[-1])
        advice = f"Remove {folder} to go on from the one before it."
        facts = _read_json(folder / FACTS, advice)
        try:
            digest = file_digest(folder / TENSORS)
        except OSError as error:
            raise CheckpointError(
                f"Expected a checkpoint in {folder}. Received: {error}. "
                f"{advice}"
            ) from error
        if digest != facts.get("sha256"):
            raise CheckpointError(
                f"Expected the SHA-256 {facts.get('sha256')} of "
                f"{folder / TENSORS}. Received: {digest}. The disk or someone "
                f"changed it. {advice}"
            )
        if not isinstance(facts.get("facts", {}).get("logs"), list):
            raise CheckpointError(
                f"Expected what was logged in {folder / FACTS}. Received: "
                f"none. {advice}"
            )
        return State(
            facts["step"], read_tensors(folder / TENSORS), facts["facts"]
        )


class SaveState(keras.callbacks.Callback):
    """Writes a checkpoint at the end of every Keras epoch.

    Args:
        run: `RunFolder`.
        state: what came back from it; None for a new run.
        best: the best weights so far; None where they are not kept.
        facts: gives what to write beside the variables, the logs and the
            random states, after so many batches, as JSON can hold it.

    Attributes:
        step: batches that are done.
        logs: the logs of every epoch of the whole run.
    """

    def __init__(
        self,
        run: RunFolder,
        state: State | None = None,
        best: BestWeights | None = None,
        facts: Callable[[int], dict] = lambda step: {},
    ):
        super().__init__()
        self.run = run
        self.best = best
        self.facts = facts
        self.step = 0 if state is None else state.step
        # JSON has null for a metric that was NaN.
        self.logs = [
            {k: math.nan if v is None else v for k, v in logs.items()}
            for logs in ([] if state is None else state.facts["logs"])
        ]

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1

    def on_epoch_end(self, epoch, logs=None):
        self.logs.append({k: _plain_log(v) for k, v in (logs or {}).items()})
        facts = {"logs": self.logs, "random": random_states()}
        tensors = tensors_of(self.model)
        if self.best is not None:
            facts |= self.best.facts()
            tensors |= self.best.tensors()
        facts |= self.facts(self.step)
        self.run.save(State(self.step, tensors, facts))

    def history(self, model: keras.Model) -> keras.callbacks.History:
        """The `History` of the whole run."""
        history = keras.callbacks.History()
        history.set_model(model)
        history.on_train_begin()
        for epoch, logs in enumerate(self.logs):
            history.on_epoch_end(epoch, logs)
        return history


class BestWeights(keras.callbacks.EarlyStopping):
    """Early stopping that keeps the best weights, and goes on after a stop.

    Of epochs that are as good, the last is kept: accuracy on a few hundred
    rows cannot tell them apart, and the learning rate has fallen further.

    Args:
        monitor: name of a metric.
        mode: `"max"` or `"min"`.
        patience: epochs without a better one after which to stop.
        state: what came back from a `RunFolder`; None for a new run.
    """

    FACTS = ("best", "wait", "best_epoch", "stopped_epoch")

    def __init__(
        self, monitor: str, mode: str, patience: int, state: State | None = None
    ):
        super().__init__(
            monitor, mode=mode, patience=patience, restore_best_weights=True
        )
        self.state = state

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        if self.state is None:
            return
        for name, value in self.state.facts["best_weights"].items():
            setattr(self, name, value)
        names = [n for n in self.state.tensors if n.startswith("best.")]
        self.best_weights = [
            self.state.tensors[f"best.{i}"] for i in range(len(names))
        ] or None

    def on_epoch_end(self, epoch, logs=None):
        best = self.best
        super().on_epoch_end(epoch, logs)
        if best is not None and self.get_monitor_value(logs) == best:
            self.best_epoch = epoch
            self.best_weights = self.model.get_weights()

    def facts(self) -> dict[str, Any]:
        """What is to be written of it, as JSON can hold it."""
        values = {name: getattr(self, name) for name in self.FACTS}
        values["best"] = None if self.best is None else float(self.best)
        # A run that another callback has paused goes on when called again.
        return {"best_weights": values, "stopped": bool(self.stopped_epoch)}

    def tensors(self) -> dict[str, np.ndarray]:
        """The same, of arrays."""
        weights = enumerate(self.best_weights or [])
        return {f"best.{i}": np.asarray(weight) for i, weight in weights}


def tensors_of(model: keras.Model) -> dict[str, np.ndarray]:
    """Every variable of a compiled model and its optimizer, by name.

    Those of dropout's random states are among them.
    """
    return {name: np.asarray(v) for name, v in _variables(model)}


def restore(model: keras.Model, state: State) -> None:
    """Set a compiled model, its optimizer and the random states.

    Raises:
        CheckpointError: names every variable that is missing or of another
            shape; nothing is changed then.
    """
    if not model.optimizer.built:  # Keras's LossScaleOptimizer asks nobody.
        model.optimizer.build(model.trainable_variables)
    variables = _variables(model)
    tensors = dict(state.tensors)
    if hasattr(model.optimizer, "narrowed"):
        # Earlier releases had all rows of the moments in a run's folder.
        for name, variable in variables:
            if name in tensors:
                tensors[name] = model.optimizer.narrowed(
                    variable, tensors[name]
                )
    wrong = [
        name
        for name, variable in variables
        if name not in tensors or tensors[name].shape != tuple(variable.shape)
    ]
    if wrong:
        raise CheckpointError(
            f"Expected a checkpoint of this model. Received one in which "
            f"these are missing or of another shape: {', '.join(wrong)}. "
            f"Another release of Keras or kbert wrote it, or other layers "
            f"were frozen."
        )
    for name, variable in variables:
        variable.assign(tensors[name])
    set_random_states(state.facts["random"])


def _variables(model: keras.Model) -> list[tuple[str, keras.Variable]]:
    # By place, since Keras numbers names anew for every model of a process;
    # what is left of the name tells people what it is.
    return [
        (f"{kind}.{i}.{_plain(variable.path)}", variable)
        for kind, owner in (("model", model), ("optimizer", model.optimizer))
        for i, variable in enumerate(owner.variables)
    ]


def _plain(path: str) -> str:
    return re.sub(r"_\d+", "", path).replace("/", ".")


def random_states() -> dict[str, Any]:
    """The states of Python's and NumPy's global generators."""
    version, numbers, gauss = random.getstate()
    state: Any = np.random.get_state()
    kind, keys, *rest = state
    return {
        "python": [version, list(numbers), gauss],
        "numpy": [kind, keys.tolist(), *rest],
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Undo `random_states`."""
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    np.random.set_state(tuple(states["numpy"]))


# === Files ===


def _read_json(
    path: Path, advice: str = "Choose another run_dir to begin anew."
) -> dict:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError(f"a {type(found).__name__}")
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"Expected what kbert wrote of a run in {path}. Received: "
            f"{error}. {advice}"
        ) from error
    return found


def _plain_log(value: Any) -> Any:
    """A value of Keras's logs as JSON can hold it; callbacks add any."""
    if value is None or isinstance(value, str):
        return value
    return np.asarray(value).tolist()
