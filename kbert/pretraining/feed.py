"""From batches to `model.fit`, remembering where in the data a step was."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import asdict
from dataclasses import dataclass
from typing import Any

import keras

from kbert.data.batching import tf_dataset
from kbert.pretraining.batches import Position
from kbert.pretraining.batches import PretrainingBatches


@dataclass(frozen=True)
class Mark:
    """What is known after a batch.

    Attributes:
        position: the `Position` after it.
        real: tokens up to it, since the feed began.
        computed: the same with padding.
    """

    position: Position
    real: int = 0
    computed: int = 0


class Feed:
    """Batches for one `model.fit`, with a `Mark` for each.

    Keras fetches batches ahead of the step that it computes, so where the
    data is must be looked up by step.

    Args:
        batches: `PretrainingBatches`.
        position: `Position` of the first batch.
        step: batches that were done before it.
    """

    def __init__(
        self,
        batches: PretrainingBatches,
        position: Position,
        step: int = 0,
    ):
        self.batches = batches
        self.start = Mark(position)
        self.first = step
        self._marks = {step: self.start}

    def mark(self, step: int) -> Mark:
        """What is known after `step` batches; earlier ones are forgotten."""
        for old in [s for s in self._marks if s < step]:
            del self._marks[old]
        return self._marks[step]

    def facts(self, step: int) -> dict[str, Any]:
        """Where the data is after `step` batches, as JSON can hold it."""
        return {"position": asdict(self.mark(step).position)}

    def __iter__(self) -> Iterator[tuple]:
        step, last = self.first, self.start
        for position, batch in self.batches.after(last.position):
            mask = batch[0]["padding_mask"]
            step += 1
            last = Mark(
                position, last.real + int(mask.sum()), last.computed + mask.size
            )
            self._marks[step] = last
            yield batch

    def for_fit(self) -> Any:
        """What to give to `model.fit` on this backend."""
        if keras.backend.backend() != "tensorflow":
            return iter(self)
        _, example = next(self.batches.after(self.start.position))
        return tf_dataset(self.__iter__, example)


class Meter(keras.callbacks.Callback):
    """Measures a training: tokens a second, and padding.

    Adds to the logs of each epoch `tokens_per_second`, of real tokens, and
    `real_tokens`, their part of what was computed. The first step, which may
    compile the model, and the writing of checkpoints are left out.

    Args:
        feed: `Feed`.
    """

    LOGS = ("tokens_per_second", "real_tokens")

    def __init__(self, feed: Feed):
        super().__init__()
        self.feed = feed
        self.step = feed.first
        self.rate = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self._begin = self.feed.mark(self.step)
        # Within a run only the very first step compiles.
        self._timed = None if self.step == self.feed.first else self._begin
        self._clock = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        mark = self.feed.mark(self.step)
        if self._timed is None:
            self._timed, self._clock = mark, time.perf_counter()
        else:
            seconds = time.perf_counter() - self._clock
            self.rate = (mark.real - self._timed.real) / seconds

    def on_epoch_end(self, epoch, logs: Any = None):
        mark = self.feed.mark(self.step)
        computed = mark.computed - self._begin.computed
        real = (mark.real - self._begin.real) / computed
        logs |= dict(zip(self.LOGS, (self.rate, real), strict=True))


def repeatable(batches: PretrainingBatches, count: int) -> Any:
    """The first `count` batches, the same whenever they are asked for.

    What to give to `model.evaluate` on this backend.
    """
    pairs = itertools.islice(batches.after(Position()), count)
    held = [batch for _, batch in pairs]
    if keras.backend.backend() != "tensorflow":
        return _Held(held)
    return tf_dataset(lambda: iter(held), held[0], len(held))


class _Held(keras.utils.PyDataset):
    def __init__(self, batches: list):
        super().__init__()
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int):
        return self.batches[index]
