"""Fine-tuning of several tasks at once.

One `keras.Model` has the outputs of all heads. A batch has rows of one task;
what the other heads answer for them weighs 0, so plain `model.fit` does it on
every backend.
"""

from __future__ import annotations

import math
import reprlib
import time
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING
from typing import Any

import keras
import numpy as np

from kbert.batching import Batches
from kbert.batching import fill_targets
from kbert.batching import length_batches
from kbert.batching import shuffled_batches
from kbert.batching import spread_weights
from kbert.batching import static_shapes
from kbert.batching import take_targets
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.errors import UnknownNameError
from kbert.training.fit import Examples
from kbert.training.fit import calibrate
from kbert.training.fit import read_rows
from kbert.training.loop import check_settings
from kbert.training.loop import compile_for
from kbert.training.loop import run

if TYPE_CHECKING:
    from kbert.multitask import MultiTask

# A task's share grows with its number of batches to this power.
POWERS = {"proportional": 1.0, "sqrt": 0.5, "equal": 0.0}


class TaskBatches(Batches):
    """Batches of several tasks, each with the rows of one.

    Args:
        examples: dict of task names to `kbert.training.fit.Examples`.
        steps: how many batches of an epoch are each task's. One that has
            fewer begins again, one that has more goes on in the next epoch.
        batch_size: rows in a batch.
        seed: int.
        epoch: number of the first epoch.
    """

    def __init__(
        self,
        examples: Mapping[str, Examples],
        steps: Mapping[str, int],
        batch_size: int,
        seed: int = 0,
        epoch: int = 0,
    ):
        self.examples = examples
        self.steps = steps
        self.batch_size = batch_size
        super().__init__(seed, epoch)

    def _order(self) -> list[tuple[str, np.ndarray]]:
        rows = {name: iter(self._rows(name)) for name in self.steps}
        turns = [
            name for name, count in self.steps.items() for _ in range(count)
        ]
        random = np.random.default_rng((self.seed, self.epoch))
        turns = [turns[i] for i in random.permutation(len(turns))]
        return [(name, next(rows[name])) for name in turns]

    def _rows(self, name: str) -> list[np.ndarray]:
        """Row numbers of a task's batches in this epoch."""
        lengths = self.examples[name].table.lengths
        count = self.steps[name]
        first = self.epoch * count
        whole = math.ceil(len(lengths) / self.batch_size)
        batches = []
        for time_through in range(
            first // whole, (first + count - 1) // whole + 1
        ):
            random = np.random.default_rng((self.seed, time_through))
            batches += shuffled_batches(lengths, self.batch_size, random)
        return batches[first % whole :][:count]

    def batch(self, part: tuple[str, np.ndarray]) -> tuple:
        task, rows = part
        tokens = self.examples[task].table.take(rows, static_shapes())
        shape = tokens["token_ids"].shape
        targets, weights = {}, {}
        for name, examples in self.examples.items():
            if name == task:
                targets[name] = take_targets(examples.targets, rows)
                weight = np.ones(len(rows), "float32")
                if examples.sample_weight is not None:
                    weight = examples.sample_weight[rows]
            else:
                targets[name] = fill_targets(examples.targets, shape)
                weight = np.zeros(len(rows), "float32")
            weights[name] = spread_weights(examples.targets, weight, shape[1])
        return tokens, targets, weights


class AllBatches(TaskBatches):
    """Every row of every task once, the tasks one after the other."""

    def _order(self) -> list[tuple[str, np.ndarray]]:
        return [
            (name, rows)
            for name in self.steps
            for rows in length_batches(
                self.examples[name].table.lengths, self.batch_size
            )
        ]


def share_steps(
    sampling: str | Mapping[str, float], batches: Mapping[str, int]
) -> dict[str, int]:
    """How many batches of an epoch each task gets, one or more.

    Args:
        sampling: see `kbert.MultiTask.fit`.
        batches: how many batches each task has.

    Raises:
        ConfigError: a weight is no positive number, or one is missing.
        UnknownNameError: a weight is of no task, or a word is none of those
            known.

    Example:

    >>> share_steps({"spam": 1, "mood": 3}, {"spam": 30, "mood": 10})
    {'spam': 10, 'mood': 30}
    """
    if isinstance(sampling, str):
        if sampling not in POWERS:
            raise UnknownNameError(
                "sampling", sampling, POWERS, "A dict has weights by task."
            )
        power = POWERS[sampling]
        weights = {name: count**power for name, count in batches.items()}
    else:
        weights = by_task("sampling", sampling, batches, every=True)
        for name, weight in weights.items():
            if (
                isinstance(weight, bool)
                or not isinstance(weight, int | float | np.number)
                or not 0 < weight < math.inf
            ):
                raise ConfigError(
                    f"`sampling` must have numbers greater than 0. Received: "
                    f"{weight!r} for {name!r}"
                )
    names = list(batches)
    shares = np.array([float(weights[name]) for name in names])
    exact = sum(batches.values()) * shares / shares.sum()
    # Those that are cut the most get what is left; 2.9999999 is 3.
    counts = np.floor(exact + 1e-6).astype(int)
    left = sum(batches.values()) - counts.sum()
    counts[np.argsort(counts - exact, kind="stable")[:left]] += 1
    return {
        name: max(int(count), 1)
        for name, count in zip(names, counts, strict=True)
    }


def by_task(
    what: str, values: Any, tasks: Mapping | MultiTask, every: bool = False
) -> dict[str, Any]:
    """A dict of task names to anything, checked; an empty one for None."""
    if values is None and not every:
        return {}
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"`{what}` must be a dict with the names of tasks "
            f"({', '.join(tasks)}). Received: {reprlib.repr(values)}"
        )
    for name in values:
        if name not in tasks:
            raise UnknownNameError("task", str(name), tasks, f"See `{what}`.")
    if every and (missing := [name for name in tasks if name not in values]):
        raise ConfigError(
            f"`{what}` must have each of {', '.join(tasks)}. Received: one "
            f"without {', '.join(missing)}"
        )
    return dict(values)


@contextmanager
def naming(task: str) -> Iterator[None]:
    """Errors about a task's data begin with its name."""
    try:
        yield
    except (InputError, ConfigError) as error:
        raise type(error)(f"Task {task!r}: {error}") from error


def unpack(value: Any) -> tuple[Any, Any, Any]:
    """A task's data as texts, labels (None for a dataset) and weights.

    Raises:
        InputError: there are no labels.
    """
    if hasattr(value, "as_numpy_iterator"):
        value = (value, None)
    if not isinstance(value, tuple) or not 2 <= len(value) <= 3:
        raise InputError(
            f"Expected a tuple (texts, labels) or (texts, labels, "
            f"sample_weight), or a `tf.data.Dataset`. Received: "
            f"{reprlib.repr(value)} ({type(value).__name__})."
        )
    return value if len(value) == 3 else (*value, None)


def fit(
    multi: MultiTask,
    data: Mapping[str, Any],
    *,
    validation_data: Mapping[str, Any] | None = None,
    validation_split: float = 0.0,
    sampling: str | Mapping[str, float] = "proportional",
    epochs: int = 3,
    batch_size: int = 32,
    learning_rate: float = 5e-5,
    warmup: float = 0.1,
    weight_decay: float = 0.01,
    layer_decay: float = 1.0,
    class_weight: Mapping[str, Any] | None = None,
    callbacks: list | None = None,
    verbose: str | int = "auto",
    seed: int = 0,
) -> keras.callbacks.History:
    """Fine-tune; see `kbert.MultiTask.fit`, which documents it."""
    check_settings(
        epochs=epochs,
        batch_size=batch_size,
        validation_split=validation_split,
        warmup=warmup,
        layer_decay=layer_decay,
    )
    started = time.perf_counter()
    data = by_task("data", data, multi, every=True)
    validation_data = by_task("validation_data", validation_data, multi)
    class_weight = by_task("class_weight", class_weight, multi)
    share_steps(sampling, dict.fromkeys(multi, 1))  # Before texts are read.
    rows, held_out = {}, {}
    for name, task in multi.tasks.items():
        with naming(name):
            x, y, weight = unpack(data[name])
            validation = None
            if name in validation_data:
                validation = unpack(validation_data[name])[:2]
            rows[name], held_out[name] = read_rows(
                task,
                (x, y),
                validation,
                validation_split,
                class_weight.get(name),
                weight,
                seed,
            )
    examples = {n: Examples.of(multi[n], part) for n, part in rows.items()}
    sizes = {
        name: math.ceil(len(part.table) / batch_size)
        for name, part in examples.items()
    }
    batches = TaskBatches(
        examples, share_steps(sampling, sizes), batch_size, seed
    )
    validation = _validation(multi, held_out, examples, batch_size)
    multi.build()  # Anew: a task may have been given another head since.
    compile_for(
        multi.model,
        len(batches) * epochs,
        learning_rate,
        warmup,
        weight_decay,
        layer_decay,
        loss={name: task.head.loss() for name, task in multi.tasks.items()},
        weighted_metrics={
            name: task.head.metrics() for name, task in multi.tasks.items()
        },
    )
    tokens = sum(
        len(part.table.token_ids) * batches.steps[name] / sizes[name]
        for name, part in examples.items()
    )
    history = run(
        multi.model,
        batches,
        validation,
        tokens=tokens,
        epochs=epochs,
        callbacks=list(callbacks or []),
        verbose=verbose,
    )
    seconds = time.perf_counter() - started
    for name, task in multi.tasks.items():
        facts = {
            "epochs": len(history.epoch),
            "steps_per_epoch": batches.steps[name],
            "trained_with": [other for other in multi if other != name],
        }
        if held_out[name] is not None:
            facts |= calibrate(task, held_out[name])
        task.note_training(len(rows[name]), seconds, **facts)
    return history


def _validation(multi, held_out, examples, batch_size) -> AllBatches | None:
    """Batches of all rows that are set aside; None if there are none."""
    found = {
        name: Examples.of(multi[name], part)
        for name, part in held_out.items()
        if part is not None
    }
    if not found:
        return None
    # A task that has none is there for the form of its targets.
    return AllBatches(examples | found, dict.fromkeys(found, 0), batch_size)
