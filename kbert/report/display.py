"""The live display of a training run; plain lines without a terminal."""

from __future__ import annotations

import atexit
import time
from typing import Any

import keras
import numpy as np
from rich.console import Console
from rich.progress import BarColumn
from rich.progress import Progress
from rich.progress import TextColumn
from rich.text import Text

from kbert.errors import short
from kbert.utils.notes import notes

# Seconds between plain lines within an epoch.
LINE_SECONDS = 30

# Seconds between redraws of the bar.
DRAW_SECONDS = 0.1


class TrainingDisplay(keras.callbacks.Callback):
    """Shows epoch, step, loss, metrics, tokens/s and the time left.

    In a terminal a live bar with a line for each finished epoch, elsewhere
    lines only. Written to standard error, so that standard output stays free
    for results.

    Tokens are real ones: padding is not counted. Batches differ in length,
    so the rate settles in the course of an epoch. The first step, which may
    compile the model, is left out of it. The time left counts validation in
    once one has been timed.

    Args:
        tokens: real tokens in an epoch.
        console: a `rich.console.Console`; standard error by default.
    """

    def __init__(self, tokens: int = 0, console: Console | None = None):
        super().__init__()
        self.tokens = tokens
        self.console = console or notes()
        self.progress = None

    # === Keras's calls ===

    def on_train_begin(self, logs=None):
        self.steps = self.params["steps"]
        self.epochs = self.params["epochs"]
        self.validation_seconds = 0.0
        if not self.console.is_interactive:
            return
        self.progress = _Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[speed]}"),
            console=self.console,
            transient=True,
            expand=True,
            # Drawn by steps: a thread would outlive an interrupted `fit`.
            auto_refresh=False,
        )
        self.row = self.progress.add_task(
            "starting", total=self.steps * self.epochs, speed="", metrics=""
        )
        # Keras has no call for an interrupt, and the cursor is hidden.
        atexit.register(self.close)
        self.progress.start()

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        self.timer = _Timer(self.steps)
        self.shown = self.timer.started

    def on_train_batch_end(self, batch, logs=None):
        self.timer.step()
        done = batch + 1
        wait = LINE_SECONDS if self.progress is None else DRAW_SECONDS
        if time.perf_counter() - self.shown < wait and done < self.steps:
            return
        title = (
            f"epoch {self.epoch + 1}/{self.epochs}  step {done}/{self.steps}"
        )
        speed = list(self._rate())
        if self.timer.rate:
            speed.append(f"{_duration(self._left(done))} left")
        self._show(title, "  ".join(speed), _metrics(logs), done)

    def on_test_begin(self, logs=None):
        self.validating = time.perf_counter()
        if self.progress is not None:
            self.progress.update(
                self.row,
                description=f"epoch {self.epoch + 1}/{self.epochs}  validating",
                refresh=True,
            )

    def on_test_end(self, logs=None):
        self.validation_seconds = time.perf_counter() - self.validating

    def on_epoch_end(self, epoch, logs=None):
        seconds = time.perf_counter() - self.timer.started
        facts = [_metrics(logs), *self._rate(), _duration(seconds)]
        self._print(f"epoch {epoch + 1}/{self.epochs}  {'  '.join(facts)}")

    def on_train_end(self, logs=None):
        self.close()

    # === Drawing ===

    def close(self):
        """Give the terminal back."""
        atexit.unregister(self.close)
        if self.progress is not None:
            self.progress.stop()
            self.progress = None

    def _rate(self):
        if self.timer.rate:
            yield f"{self.tokens * self.timer.rate:,.0f} tokens/s"

    def _left(self, done):
        """Seconds until the end, after `done` steps of this epoch."""
        epochs = self.epochs - self.epoch - done / self.steps
        validations = self.epochs - self.epoch
        return epochs / self.timer.rate + validations * self.validation_seconds

    def _show(self, title, speed, metrics, done):
        self.shown = time.perf_counter()
        if self.progress is not None:
            self.progress.update(
                self.row,
                completed=self.epoch * self.steps + done,
                description=title,
                speed=speed,
                metrics=metrics,
                refresh=True,
            )
        elif done < self.steps:  # The line of the whole epoch comes next.
            self._print(f"{title}  {metrics}  {speed}".rstrip())

    def _print(self, text):
        # Lines of a log stay whole; a terminal breaks them between words.
        whole = not self.console.is_interactive
        self.console.print(text, soft_wrap=whole, markup=False)


class _Progress(Progress):
    """A bar, and the metrics in a line of their own."""

    def get_renderables(self):
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            yield Text(task.fields["metrics"])


class _Timer:
    """Epochs a second, the first step and validation left out."""

    def __init__(self, steps: int):
        self.started = self.first = self.last = time.perf_counter()
        self.steps = steps
        self.done = 0

    def step(self) -> None:
        self.last = time.perf_counter()
        if self.done == 0:
            self.first = self.last
        self.done += 1

    @property
    def rate(self) -> float:
        """Zero as long as it is not known."""
        if self.done < 2:
            return 0.0
        return (self.done - 1) / self.steps / (self.last - self.first)


def _metrics(logs: dict | None) -> str:
    return "  ".join(
        f"{name} {_metric(value)}" for name, value in (logs or {}).items()
    )


def _metric(value: Any) -> str:
    """Numbers, of any library, in four places; callbacks add others."""
    array = np.asarray(value)
    number = array.ndim == 0 and array.dtype.kind in "fiub"
    return f"{float(array):.4f}" if number else short(value)


def _duration(seconds: float) -> str:
    """Such as 4.2 s, 3:05 min or 1:02 h."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds) // 60
    if minutes < 60:
        return f"{minutes}:{round(seconds) % 60:02} min"
    return f"{minutes // 60}:{minutes % 60:02} h"
