"""Options of `kbert predict --output`, and what it does."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated
from typing import Literal

import typer
from rich.progress import BarColumn
from rich.progress import Progress
from rich.progress import TextColumn
from rich.progress import TimeRemainingColumn

from kbert.commands import common
from kbert.data.files import Format

Engine = Literal["local", "ray"]

Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="DIR",
        help="Write Parquet files into this folder, or go on with it.",
    ),
]
EngineName = Annotated[
    Engine,
    typer.Option(
        metavar="local|ray", help="What computes the parts of --output."
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Processes of --engine ray; by default one a CPU.",
    ),
]
Keep = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN",
        help="Column to take over to --output; twice (or A,B) for more.",
    ),
]
PartRows = Annotated[
    int,
    typer.Option(min=1, metavar="N", help="Rows of a part of --output."),
]

# Seconds between plain lines.
LINE_SECONDS = 10


def run(
    model: Path,
    file: str | None,
    output: Path | None,
    text: list[str] | None,
    keep: list[str] | None,
    format: Format | None,
    encoding: str | None,
    engine: Engine,
    workers: int | None,
    part_rows: int,
    batch_size: int,
) -> None:
    """Answer a file or folder by parts."""
    if output is None:
        raise typer.BadParameter(f"--engine {engine} needs --output.")
    if file is None or file == "-":
        raise typer.BadParameter("--output needs a FILE or folder.")
    from kbert.scoring.score import score

    with _Shown() as shown:
        done = score(
            model,
            [file],
            output,
            text=tuple(common.split(text)) or None,
            keep=tuple(common.split(keep)),
            format=format,
            encoding=encoding,
            engine=engine,
            workers=workers,
            part_rows=part_rows,
            batch_size=batch_size,
            on_part=shown.update,
        )
    print(output)
    kept = f", {done['kept']:,} of them were there" if done["kept"] else ""
    common.notes().print(
        f"{done['rows']:,} rows in {done['parts']:,} parts{kept}.",
        markup=False,
        soft_wrap=True,
    )


class _Shown:
    """A bar in a terminal, elsewhere a line now and then."""

    def __init__(self):
        self.console = common.notes()
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_interactive,
        )
        self.row = self.bar.add_task("parts", total=None)
        self.begun = self.line = time.perf_counter()
        self.rows = 0

    def __enter__(self) -> _Shown:
        self.bar.start()
        return self

    def __exit__(self, *_) -> None:
        self.bar.stop()

    def update(self, part, done: int, total: int) -> None:
        """Show one more part."""
        now = time.perf_counter()
        self.rows += part.rows
        speed = self.rows / (now - self.begun)
        line = f"{done} of {total} parts, {speed:,.0f} rows/s"
        if self.console.is_interactive:
            self.bar.update(
                self.row, completed=done, total=total, description=line
            )
        elif now - self.line >= LINE_SECONDS:
            self.line = now
            self.console.print(line, markup=False, soft_wrap=True)
