"""Batches of several tasks, and how an epoch's steps are shared out."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from kbert.data.batching import Batches
from kbert.data.batching import fill_targets
from kbert.data.batching import length_batches
from kbert.data.batching import shuffled_batches
from kbert.data.batching import spread_weights
from kbert.data.batching import static_shapes
from kbert.data.batching import take_targets
from kbert.errors import ConfigError
from kbert.errors import UnknownNameError
from kbert.training.examples import Examples
from kbert.training.task_data import by_task
from kbert.utils.finite import is_number

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
            if not is_number(weight) or weight <= 0:
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
