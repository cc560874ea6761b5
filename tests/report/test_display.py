"""The display of a training run, in a terminal and in a pipe."""

import io

import pytest
from rich.console import Console

from kbert.report import display
from kbert.report.display import TrainingDisplay

LOGS = {"loss": 0.5, "accuracy": 0.75}


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self):
        self.now = 100.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(display, "time", clock)
    return clock


def make(terminal):
    console = Console(
        file=io.StringIO(),
        force_terminal=terminal,
        width=100,
        _environ={"TERM": "xterm"},
    )
    shown = TrainingDisplay(1000, console)
    shown.set_params({"steps": 10, "epochs": 2})
    return shown, console.file


def epoch(shown, clock, number, seconds=1.0, validation=5.0):
    shown.on_epoch_begin(number)
    for step in range(10):
        # The first step compiles.
        clock.now += 60 if number == step == 0 else seconds
        shown.on_train_batch_end(step, LOGS)
    shown.on_test_begin()
    clock.now += validation
    shown.on_test_end()
    shown.on_epoch_end(number, LOGS | {"val_loss": 0.25})


def test_lines(clock):
    shown, file = make(terminal=False)
    shown.on_train_begin()
    epoch(shown, clock, 0)
    epoch(shown, clock, 1, seconds=10)
    shown.on_train_end()
    lines = file.getvalue().splitlines()
    # Nothing but lines with something in them.
    assert all(lines)
    assert lines[0] == "epoch 1/2  step 1/10  loss 0.5000  accuracy 0.7500"
    assert lines[1] == (
        "epoch 1/2  loss 0.5000  accuracy 0.7500  val_loss 0.2500  "
        "100 tokens/s  1:14 min"
    )
    # A line every 30 seconds, at 10 a step; then 7 steps are left, and one
    # validation of 5 seconds.
    assert lines[2] == (
        "epoch 2/2  step 3/10  loss 0.5000  accuracy 0.7500  "
        "10 tokens/s  1:15 min left"
    )
    assert lines[-1].endswith("10 tokens/s  1:45 min")


def test_time_left_counts_validations(clock):
    shown, file = make(terminal=False)
    shown.set_params({"steps": 10, "epochs": 3})
    shown.on_train_begin()
    epoch(shown, clock, 0, validation=20)
    shown.on_epoch_begin(1)
    for step in range(5):
        clock.now += 1
        shown.on_train_batch_end(step, LOGS)
    # 5 + 10 steps of a second, two validations.
    assert shown._left(5) == pytest.approx(15 + 40)


def test_terminal(clock):
    shown, file = make(terminal=True)
    shown.on_train_begin()
    epoch(shown, clock, 0)
    epoch(shown, clock, 1)
    shown.on_train_end()
    text = file.getvalue()
    for part in ("epoch 1/2  step 10/10", "100 tokens/s", "left", "validating"):
        assert part in text
    hide, show = "\x1b[?25l", "\x1b[?25h"
    assert text.count(hide) == text.count(show) == 1


def test_close_gives_the_terminal_back_once(clock):
    shown, file = make(terminal=True)
    shown.on_train_begin()
    shown.close()
    shown.close()
    assert file.getvalue().count("\x1b[?25h") == 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (42.4, "42 s"),
        (60, "1:00 min"),
        (3599, "59:59 min"),
        (3725, "1:02 h"),
    ],
)
def test_duration(seconds, text):
    assert display._duration(seconds) == text
