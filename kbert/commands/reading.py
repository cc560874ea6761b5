"""Options and progress of the commands that read raw text."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn
from rich.progress import Progress
from rich.progress import TextColumn
from rich.progress import TimeRemainingColumn
from rich.text import Text

from kbert.data import documents
from kbert.data.documents import expand

# === Options ===

Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILES...",
        help="Text files, folders, .tar archives or quoted patterns such as "
        "'wiki/**/*.txt'; also .gz, .xz and .bz2.",
        show_default=False,
    ),
]
Format = Annotated[
    documents.Format | None,
    typer.Option(
        "--format",
        metavar="|".join(documents.FORMATS),
        help="What the files are; by default as their name ends (.jsonl) or "
        "their first line shows.",
    ),
]
TextKey = Annotated[
    str,
    typer.Option(metavar="KEY", help="Where an object of JSON Lines has text."),
]
Cased = Annotated[
    bool,
    typer.Option("--cased", help="Keep capitals and accents."),
]

# === Progress ===

# Seconds between plain lines, and between redraws of the bar.
LINE_SECONDS = 10
DRAW_SECONDS = 0.1


class ReadingProgress:
    """Shows how much of some files has been read.

    In a terminal a live bar with the time left, elsewhere a line now and
    then.

    Args:
        files: what is read, as `kbert.data.documents.expand` takes it.
        console: a `rich.console.Console`.

    Example:

    >>> with ReadingProgress(["wiki.txt"], common.notes()) as progress:
    ...     progress.update(4096, "12 documents")
    """

    def __init__(self, files: list[str], console: Console):
        self.total = sum(path.stat().st_size for path in expand(files))
        self.console = console
        self.shown = time.perf_counter()
        self.bar = None

    def __enter__(self) -> ReadingProgress:
        if self.console.is_interactive:
            self.bar = _Bar(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
                expand=True,
                auto_refresh=False,
            )
            self.row = self.bar.add_task("reading", total=self.total, facts="")
            self.bar.start()
        return self

    def __exit__(self, *_) -> None:
        if self.bar is not None:
            self.bar.stop()

    def update(self, read: int, facts: str = "") -> None:
        """Show that `read` bytes have been read; `facts` say what came out."""
        now = time.perf_counter()
        if now - self.shown < (
            LINE_SECONDS if self.bar is None else DRAW_SECONDS
        ):
            return
        self.shown = now
        part = f"{decimal(read)} of {decimal(self.total)}"
        if self.bar is None:
            line = f"{part}  {facts}".rstrip()
            self.console.print(line, soft_wrap=True, markup=False)
        else:
            self.bar.update(
                self.row,
                completed=read,
                description=part,
                facts=facts,
                refresh=True,
            )


class _Bar(Progress):
    """A bar, and what came out in a line of its own."""

    def get_renderables(self):
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            yield Text(task.fields["facts"])
