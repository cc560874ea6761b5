"""Cutting files of texts into parts that are answered one by one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from kbert.data.files import Span
from kbert.data.lines import check_end
from kbert.data.lines import line_ends
from kbert.errors import InputError
from kbert.utils.checks import check_integer
from kbert.utils.extras import need

# Endings of files that can be cut, and what they are.
FORMATS = {
    ".parquet": "parquet",
    ".txt": "text",
    ".jsonl": "jsonl",
    ".json": "jsonl",
}

# Rows of a part: half a minute's work of one core or so, which is what a
# killed run loses, and few enough files.
PART_ROWS = 10_000


@dataclass(frozen=True)
class Partition:
    """Rows of a file that are answered, written and kept together.

    Attributes:
        number: its place among all parts, from 0.
        path: the file.
        format: `"parquet"`, `"text"` or `"jsonl"`.
        start: number of its first row in the file, from 0.
        rows: how many it has.
        span: where its lines are; None for Parquet.
        encoding: see `kbert.data.files.read_rows`; None for Parquet.
    """

    number: int
    path: str
    format: str
    start: int
    rows: int
    span: Span | None = None
    encoding: str | None = None

    @property
    def name(self) -> str:
        """Name of the file that its answers go to."""
        return f"part-{self.number:05d}.parquet"


def cut(
    files: list[Path],
    format: str | None = None,
    part_rows: int = PART_ROWS,
    encoding: str | None = None,
) -> list[Partition]:
    """Parts of files, in order, with at least one row each.

    Args:
        files: Parquet, text (a text a line) or JSON Lines.
        format: what the files are; by default as their names end.
        part_rows: rows of a part at most. A part is of one file.
        encoding: of the lines; see `kbert.data.files.read_rows`.

    Raises:
        InputError: a file cannot be read or cut, or is in another encoding,
            or there are no rows.
        UnknownNameError: there is no such encoding.
        ConfigError: `part_rows` is not positive.
    """
    part_rows = check_integer("part_rows", part_rows)
    parts: list[Partition] = []
    for path in files:
        form = format or FORMATS.get(path.suffix.lower(), "")
        if form not in FORMATS.values():
            raise InputError(
                f"Expected Parquet, a text a line (.txt) or JSON Lines "
                f"(.jsonl), which can be cut into parts. Received: {path}. "
                f"Name the format, or convert it, as by "
                f"pandas.read_csv(...).to_parquet(...)."
            )
        try:
            if form == "parquet":
                ranges = _rows(path, part_rows)
            else:
                ranges = _lines(path, part_rows, form, encoding)
            for start, rows, span in ranges:
                place = (start, rows, span, span and encoding)
                parts.append(Partition(len(parts), str(path), form, *place))
        except OSError as error:
            raise InputError(
                f"Expected a readable file. Received: {path}: {error.strerror}."
            ) from error
    if not parts:
        raise InputError(
            f"Expected rows in {', '.join(map(str, files))}. Received: none."
        )
    return parts


def _rows(path: Path, size: int) -> Iterator[tuple[int, int, None]]:
    parquet = open_parquet(path)
    rows = parquet.metadata.num_rows
    parquet.close()
    for start in range(0, rows, size):
        yield start, min(size, rows - start), None


def _lines(
    path: Path, size: int, form: str, encoding: str | None
) -> Iterator[tuple]:
    begin = end = first = rows = 0
    for number, (end, line) in enumerate(line_ends(path, encoding), start=1):
        if form == "text" and number == 1:
            check_end(line, path)
        # A blank line is an empty text, but no object of JSON.
        if form == "text" or line.strip():
            rows += 1
        if rows == size:
            yield first, rows, Span(begin, end, first + 1)
            begin, first, rows = end, number, 0
    if rows:
        yield first, rows, Span(begin, end, first + 1)


def open_parquet(path: str | os.PathLike):
    """A `pyarrow.parquet.ParquetFile`.

    Raises:
        ConfigError: pyarrow is not installed.
        InputError: the file is missing or no Parquet.
    """
    parquet = import_parquet()
    import pyarrow

    try:
        return parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(
            f"Expected a Parquet file. Received: {path}: {error}."
        ) from error


def import_parquet() -> ModuleType:
    """The module `pyarrow.parquet`, which comes with an extra."""
    return need("parquet", "pyarrow.parquet", purpose="Parquet")
