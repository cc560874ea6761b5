"""What a row of data is called in messages: its number, or a file's line.

Data are read by windows, in parts and by tasks, and what finds a row that is
wrong knows its number among those it sees. Who gave it those says by
`naming_rows` or `rows_from` what the row is to people.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_name: ContextVar[Callable[[int], str]] = ContextVar(
    "row_name", default="row {}".format
)


def row_name(row: int) -> str:
    """What to call a row in a message.

    Args:
        row: its number among those at hand, from 0.

    Example:

    >>> row_name(3)
    'row 3'
    """
    return _name.get()(row)


@contextmanager
def naming_rows(name: Callable[[int], str] | None) -> Iterator[None]:
    """Have `row_name` answer with `name` in a `with` block; as is for None.

    Example:

    >>> with naming_rows("line {} of new.tsv".format):
    ...     clf.predict(texts)
    """
    if name is None:
        yield
        return
    before = _name.set(name)
    try:
        yield
    finally:
        _name.reset(before)


@contextmanager
def rows_from(first: int) -> Iterator[None]:
    """Have rows counted from `first`, as those of a window are."""
    outer = _name.get()
    with naming_rows(lambda row: outer(first + row)):
        yield


@contextmanager
def rows_of(data: object, what: str = "") -> Iterator[None]:
    """Have rows called as `data` call them, which may know their lines.

    Args:
        data: what has rows; if it has a method `row_name`, such as what
            `kbert.data.files.read_table` gives, that is asked.
        what: else the name of the data, for `"row 3 of NAME"`.
    """
    name = getattr(data, "row_name", None)
    if name is None and what:
        name = _within(what)
    with naming_rows(name):
        yield


def _within(what: str) -> Callable[[int], str]:
    outer = _name.get()
    return lambda row: f"{outer(row)} of {what}"


class RowLines:
    """Where rows of a file are in it.

    Args:
        path: the file.
        unit: what is counted, such as `"line"`.
    """

    def __init__(self, path: object, unit: str = "line"):
        self.path = path
        self.unit = unit
        self.numbers: list[int] = []

    def row_name(self, row: int) -> str:
        return f"{self.unit} {self.numbers[row]} of {self.path}"


class FileTable(dict):
    """Columns of a file by their names, whose rows know their lines."""

    def __init__(self, columns: dict, lines: RowLines):
        super().__init__(columns)
        self.lines = lines
        self.row_name = lines.row_name

    def renamed(self, names: Iterable[str]) -> FileTable:
        """The same columns under other names, in their order."""
        named = dict(zip(names, self.values(), strict=True))
        return FileTable(named, self.lines)


class FileRows(list):
    """Rows of a file, which know their lines."""

    def __init__(self, rows: Iterable, lines: RowLines):
        super().__init__(rows)
        self.row_name = lines.row_name
