"""How far answers have come: when it is shown, and what."""

import io

import pytest
from rich.console import Console

from kbert.utils import progress


@pytest.mark.parametrize(
    "total, verbose, shown",
    [(10, "auto", False), (11, "auto", True), (1, 1, True), (99, 0, False)],
)
def test_shown_for_many_texts_or_if_asked(total, verbose, shown):
    console = Console(file=io.StringIO())
    with progress.counting(total, 10, verbose, console) as done:
        assert (done is not None) == shown


def test_lines_without_a_terminal(monkeypatch):
    console = Console(file=io.StringIO())
    monkeypatch.setattr(progress, "LINE_SECONDS", 0)
    with progress.counting(1500, 10, "auto", console) as done:
        done(1000)
        done(500)
    first, last = console.file.getvalue().splitlines()
    assert first.startswith("1,000 of 1,500 texts")
    assert last.startswith("1,500 of 1,500 texts") and "texts/s" in last


def test_a_bar_in_a_terminal_leaves_nothing_behind():
    console = Console(file=io.StringIO(), force_terminal=True, width=60)
    with progress.counting(100, 10, "auto", console) as done:
        done(100)
    assert "100/100" in console.file.getvalue()
