"""CoNLL files: a word a line with its columns, an empty line after each text.

Reference: Tjong Kim Sang & De Meulder 2003, Introduction to the CoNLL-2003
Shared Task.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kbert.errors import InputError

# What may stand between and around columns.
BLANKS = " \t\r\n"
SPACES = re.compile("[ \r\n]+")

# Of a file whose columns nobody named: the first and the last of a line.
WORD, TAG = "text", "label"


def read_conll(
    lines: Iterator[str], path: Path, columns: list[str] | None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Texts of a CoNLL file, with the numbers of the lines they begin in.

    Columns have tabs or spaces between. Lines that begin with `-DOCSTART-`
    are left out, and so are comments of CoNLL-U (`# key = value`).

    Args:
        lines: of the file.
        path: for messages.
        columns: names of the columns; by default the first is `text` and the
            last is `label`.

    Yields:
        The line's number, and the cells: words joined by spaces as a text
        in the first column, and lists of strings, one a word, in the others.

    Raises:
        InputError: a line has another number of columns than the one before.
    """
    words: list[list[str]] = []
    first = width = 0
    for number, line in enumerate(lines, start=1):
        # Other blanks, such as U+00A0 and U+0085, are of the words.
        cells = line.split("\t") if "\t" in line else SPACES.split(line)
        cells = [cell.strip(BLANKS) for cell in cells]
        if "\t" not in line:
            cells = [cell for cell in cells if cell]
        comment = line.startswith("# ") and " = " in line
        if cells and cells[0] == "-DOCSTART-" or comment:
            continue
        if not any(cells):
            if words:
                yield first, _text(words, columns)
            words = []
            continue
        width = width or (len(columns) if columns else max(len(cells), 2))
        if len(cells) != width:
            raise InputError(
                f"Expected {width} columns, a word and its tags, or an empty "
                f"line after each text. Received: {len(cells)} in line "
                f"{number} of {path}."
            )
        first = first if words else number
        words.append(cells)
    if words:
        yield first, _text(words, columns)


def _text(words: list[list[str]], columns: list[str] | None) -> dict:
    parts = list(zip(*words, strict=True))
    if columns is None:
        parts, columns = [parts[0], parts[-1]], [WORD, TAG]
    cells = {n: list(p) for n, p in zip(columns, parts, strict=True)}
    return cells | {columns[0]: " ".join(parts[0])}
