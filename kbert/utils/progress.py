"""How far answers have come."""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn
from rich.progress import MofNCompleteColumn
from rich.progress import Progress
from rich.progress import TextColumn
from rich.progress import TimeRemainingColumn

from kbert.utils.notes import notes

# Seconds between plain lines where there is no terminal.
LINE_SECONDS = 30


@contextmanager
def counting(
    total: int,
    many: int,
    verbose: str | int = "auto",
    console: Console | None = None,
) -> Iterator[Callable[[int], None] | None]:
    """Show how many of some texts are answered, on standard error.

    Args:
        total: texts in all.
        many: `"auto"` shows it for more texts than that.
        verbose: `"auto"`, or whether to show it at all.
        console: where else to.

    Yields:
        What is to be told how many more texts are answered; None where
        nothing is shown.

    Example:

    >>> with counting(len(texts), many=1000) as done:
    ...     for batch in batches:
    ...         done(len(batch))
    """
    if not verbose or (verbose == "auto" and total <= many):
        yield None
        return
    console = console or notes()
    if not console.is_interactive:
        yield _Lines(total, console)
        return
    columns = (
        TextColumn("texts"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        row = progress.add_task("texts", total=total)
        yield lambda rows: progress.advance(row, rows)


class _Lines:
    def __init__(self, total: int, console: Console):
        self.total, self.console = total, console
        self.done = 0
        self.started = self.shown = time.perf_counter()

    def __call__(self, rows: int) -> None:
        self.done += rows
        now = time.perf_counter()
        if now - self.shown < LINE_SECONDS and self.done < self.total:
            return
        self.shown = now
        rate = self.done / max(now - self.started, 1e-9)
        self.console.print(
            f"{self.done:,} of {self.total:,} texts  {rate:,.0f} texts/s",
            soft_wrap=True,
        )
