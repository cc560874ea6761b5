"""Files of texts and labels: TSV, CSV, JSON Lines, text, or CoNLL."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from typing import Literal
from typing import NamedTuple
from typing import get_args

from kbert.data.conll import read_conll
from kbert.data.encodings import clean
from kbert.data.lines import Lines
from kbert.data.row_names import FileRows
from kbert.data.row_names import FileTable
from kbert.data.row_names import RowLines
from kbert.data.squad import read_squad
from kbert.errors import InputError
from kbert.errors import UnknownNameError
from kbert.errors import listed
from kbert.errors import short
from kbert.utils.checks import check_strings
from kbert.utils.checks import suggests
from kbert.utils.paths import as_path

Format = Literal["tsv", "csv", "jsonl", "text", "conll", "squad"]
FORMATS: tuple[Format, ...] = get_args(Format)
ENDINGS = {
    ".csv": "csv",
    ".json": "jsonl",
    ".jsonl": "jsonl",
    ".conll": "conll",
    ".bio": "conll",
    ".iob": "conll",
}


ONE_A_LINE = (
    "JSON Lines has one in each line. A file that is one list can be "
    "converted by pandas.read_json(old).to_json(new, orient='records', "
    "lines=True)."
)

# Texts that are taken at once: tokenized together and sorted by length.
PART = 8192


class Span(NamedTuple):
    """Whole lines in the middle of a file.

    Attributes:
        start: byte that the first of them begins at.
        stop: byte behind the last of them.
        line: number of the first, counted from 1.
    """

    start: int
    stop: int
    line: int


class Row(NamedTuple):
    """A row of a file.

    Attributes:
        line: number of the line that it ends in.
        cells: column name to cell; None for an empty line.
        ready: whether more lines have arrived already.
    """

    line: int
    cells: dict[str, Any] | None
    ready: bool


def read_rows(
    path: str | Path,
    columns: list[str] | None = None,
    format: str | None = None,
    span: Span | None = None,
    encoding: str | None = None,
) -> Iterator[Row]:
    """Rows of a TSV, CSV, JSON Lines or text file, as they arrive.

    Args:
        path: the file, or `"-"` for standard input.
        columns: names of the columns, if the first line does not have them.
        format: one of `FORMATS`. `"tsv"` has tabs between its columns and
            knows no quotes; `"text"` has one text a line, in the column
            `text`; for `"conll"` and `"squad"` see `kbert.data.conll` and
            `kbert.data.squad`. By default as the file's name ends, see
            `ENDINGS`; anything else is TSV.
        span: lines to read instead of all; of JSON Lines or text only.
        encoding: of the file, such as `"cp1251"`; by default UTF-8, or what
            a byte order mark says.

    Raises:
        InputError: the file cannot be read or is in another encoding, or a
            row is not as expected.
        UnknownNameError: there is no such encoding.
    """
    path = as_path(path)
    if columns is not None:
        columns = [*check_strings("columns", columns, "['text', 'label']")]
    form = file_format(path, format)
    read = {
        "tsv": _read_tsv,
        "csv": _read_csv,
        "jsonl": _read_json,
        "text": _read_text,
        "conll": read_conll,
        "squad": read_squad,
    }[form]
    try:
        with ExitStack() as stack:
            if str(path) == "-":
                file = sys.stdin.buffer
            else:
                file = stack.enter_context(open(path, "rb"))
            lines = Lines(file, path, encoding, span)
            if span is None and form not in ("jsonl", "squad"):
                lines.check_ends()
            for line, cells in read(lines, path, columns):
                yield Row(line, cells, lines.ready)
    except OSError as error:
        raise InputError(
            f"Expected a readable file. Received: {path}: {error.strerror}."
        ) from error


def file_format(path: str | Path, format: str | None = None) -> str:
    """The format of a file: `format`, or as its name ends, or TSV.

    Raises:
        UnknownNameError: there is no such format.
    """
    if format is None:
        return ENDINGS.get(Path(path).suffix.lower(), "tsv")
    if format not in FORMATS:
        raise UnknownNameError("format", format, FORMATS)
    return format


def _lines_of(path: str | Path, format: str | None) -> RowLines:
    squad = file_format(path, format) == "squad"
    return RowLines(path, "question" if squad else "line")


def _read_tsv(lines, path, columns):
    texts = map(_strip, lines)
    return _name_cells(
        enumerate((text.split("\t") if text else [] for text in texts), 1),
        path,
        columns,
        "A text with tabs in it needs a CSV or JSON Lines file.",
    )


def _read_csv(lines, path, columns):
    csv.field_size_limit(2**31 - 1)  # The default refuses texts over 128 KB.
    # Not strict, an open quote would swallow the rest of the file.
    reader = csv.reader(lines, strict=True)
    try:
        yield from _name_cells(
            ((reader.line_num, cells) for cells in reader),
            path,
            columns,
            "A text with commas in it needs quotes around it.",
        )
    except csv.Error as error:
        raise InputError(
            f"Expected CSV. Received: {error}, in line {reader.line_num} of "
            f"{path}. A quote inside of quotes is written twice."
        ) from error


def _read_text(lines, path, columns):
    # An empty line is an empty text, so that answers stay line by line.
    name, *more = columns or ["text"]
    if more:
        raise InputError(
            f"Expected one column in a file of texts. Received: "
            f"{len(more) + 1} for {path}."
        )
    for number, line in enumerate(lines, start=lines.first):
        yield number, {name: _strip(line)}


def _strip(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")


def _name_cells(rows, path, columns, hint):
    names = columns
    if names is None:
        names = next((cells for _, cells in rows if cells), None)
        if names is None:
            raise InputError(f"Expected rows in {path}. Received: none.")
        names = [name.strip() for name in names]
    # Spreadsheets write columns that are empty, name and all.
    named = [name for name in names if name]
    if len(set(named)) < len(named):
        raise InputError(
            f"Expected columns of different names. Received: "
            f"{listed(names)} for {path}."
        )
    for number, cells in rows:
        if not cells:
            yield number, None
        elif len(cells) != len(names):
            raise InputError(
                f"Expected {len(names)} columns ({listed(names)}). Received: "
                f"{len(cells)} in line {number} of {path}. {hint}"
            )
        else:
            yield number, dict(zip(names, cells, strict=True))


def _read_json(lines, path, columns):
    for number, line in enumerate(lines, start=lines.first):
        if not line.strip():
            yield number, None
            continue
        try:
            row = json.loads(line)
        # Too many brackets end in a RecursionError.
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"Expected a JSON object in line {number} of {path}. "
                f"Received: {short(line.strip())}: {error}. {ONE_A_LINE}"
            ) from error
        if not isinstance(row, dict):
            raise InputError(
                f"Expected a JSON object in line {number} of {path}. "
                f"Received: {type(row).__name__}. {ONE_A_LINE}"
            )
        yield number, row


def _pick(row: Row, column: str, path: str | Path) -> Any:
    cells = row.cells or {}
    try:
        return cells[column]
    except KeyError:
        raise UnknownNameError(
            "column",
            column,
            cells,
            f"Those are in line {row.line} of {path}."
            if Path(path).suffix in (".json", ".jsonl")
            else f"The file is {path}.",
        ) from None


def _pick_text(row: Row, column: str, path: str | Path) -> str:
    text = _pick(row, column, path)
    if not isinstance(text, str):
        raise InputError(
            f"Expected a text in the column {column!r}. Received: "
            f"{short(text)} in line {row.line} of {path}."
        )
    return clean(text)


@suggests
def read_table(
    path: str | Path,
    texts: tuple[str, ...],
    label: str,
    columns: list[str] | None = None,
    format: str | None = None,
    empty: bool = False,
    encoding: str | None = None,
) -> tuple[FileTable, list]:
    """Texts and labels of a whole file.

    Args:
        path: the file, or `"-"` for standard input.
        texts: names of the text columns.
        label: name of the label column.
        columns: see `read_rows`.
        format: see `read_rows`.
        empty: whether a label may be empty, as where rows may have several.
        encoding: see `read_rows`.

    Raises:
        InputError: the file cannot be read, has no rows, or a row has no
            text or no label.
        UnknownNameError: the file has no such column.

    Example:

    >>> x, y = read_table("train.tsv", ("sentence",), "label")
    """
    texts = check_strings("texts", texts, "('text',)")
    x = {name: [] for name in texts}
    y = []
    lines = _lines_of(path, format)
    if label in x or len(x) < len(texts):
        raise InputError(
            f"Expected different columns for texts and label. Received: "
            f"{listed((*texts, label))}."
        )
    for row in read_rows(path, columns, format, encoding=encoding):
        if row.cells is None:
            continue
        lines.numbers.append(row.line)
        for name in texts:
            x[name].append(_pick_text(row, name, path))
        y.append(_pick(row, label, path))
        if y[-1] is None and empty:
            y[-1] = ""
        if (y[-1] is None or y[-1] == "") and not empty:
            raise InputError(
                f"Expected a label in every row. Received: none in line "
                f"{row.line} of {path}. Remove the row or label it."
            )
    if not y:
        raise InputError(f"Expected rows in {path}. Received: none.")
    return FileTable(x, lines), y


@suggests
def read_columns(
    path: str | Path,
    texts: tuple[str, ...],
    others: tuple[str, ...] = (),
    format: str | None = None,
    span: Span | None = None,
    encoding: str | None = None,
) -> dict[str, list]:
    """Some columns of a file, or of some lines of it.

    Args:
        path: the file.
        texts: names of columns that have to hold texts.
        others: names of columns that may hold anything.
        format: see `read_rows`.
        span: see `read_rows`.
        encoding: see `read_rows`.

    Raises:
        InputError: the file cannot be read, or a row has no text.
        UnknownNameError: the file has no such column.

    Example:

    >>> read_columns("mail.jsonl", ("body",), ("id",))
    {'body': ['Win a prize!'], 'id': [7]}
    """
    texts = check_strings("texts", texts, "('text',)")
    others = check_strings("others", others, "('id',)")
    columns = {name: [] for name in (*texts, *others)}
    for row in read_rows(path, None, format, span, encoding):
        if row.cells is not None:
            for name, values in columns.items():
                pick = _pick_text if name in texts else _pick
                value = pick(row, name, path)
                values.append(clean(value) if type(value) is str else value)
    return columns


@suggests
def read_texts(
    path: str | Path,
    texts: tuple[str, ...],
    size: int,
    columns: list[str] | None = None,
    format: str | None = None,
    encoding: str | None = None,
) -> Iterator[list[tuple[str, ...]]]:
    """The texts of a file in lists of up to `size` rows, as they arrive.

    A list ends early where the next row has not arrived yet, so that a slow
    pipe is answered at once.

    Args:
        path: the file, or `"-"` for standard input.
        texts: names of the text columns.
        size: rows in a list.
        columns: see `read_rows`.
        format: see `read_rows`.
        encoding: see `read_rows`.

    Example:

    >>> for window in read_texts("-", ("text",), 256, format="text"):
    ...     print(clf.predict([text for text, in window]))
    """
    texts = check_strings("texts", texts, "('text',)")
    window, lines = [], _lines_of(path, format)
    for row in read_rows(path, columns, format, encoding=encoding):
        if row.cells is not None:
            window.append(tuple(_pick_text(row, n, path) for n in texts))
            lines.numbers.append(row.line)
        if window and (len(window) == size or not row.ready):
            yield FileRows(window, lines)
            window, lines = [], _lines_of(path, format)
    if window:
        yield FileRows(window, lines)
