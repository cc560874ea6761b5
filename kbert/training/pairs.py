"""Rows of several texts, each text encoded by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kbert.data.batching import TokenTable
from kbert.data.containers import as_list
from kbert.data.containers import settle
from kbert.data.containers import single
from kbert.data.dataset_rows import dataset_texts
from kbert.data.dataset_rows import is_dataset
from kbert.data.row_names import row_name
from kbert.data.texts import Column
from kbert.data.texts import as_texts
from kbert.data.texts import check_utf8
from kbert.errors import InputError
from kbert.errors import short
from kbert.utils.finite import is_number

# Names of the columns in a dict or data frame.
NAMES = ("text", "text_pair", "negative")


def read_columns(x: Any, most: int = 3) -> list[Column]:
    """Checked texts of rows of two texts, or of up to `most`.

    Args:
        x: rows as a list of tuples, an array `(rows, 2)`, or a dict or data
            frame with the columns `text`, `text_pair` and `negative`.
        most: texts a row may have, 2 or 3.

    Returns:
        One list of texts a column.

    Raises:
        InputError: the rows are not such.
    """
    if is_dataset(x):
        x = list(dataset_texts(x, most, others=False))
    x = settle(x)
    if isinstance(x, str | bytes):
        raise InputError(
            f"Expected a list of pairs of texts. Received: {short(x)}."
        )
    if isinstance(x, list) and x and isinstance(x[0], Mapping):
        names = NAMES[: 3 if most > 2 and "negative" in x[0] else 2]
        return _checked(x, names)
    if isinstance(x, dict):
        names = NAMES[: 3 if most > 2 and "negative" in x else 2]
        return _checked(x, names)
    rows = as_list(x, "pairs of texts")
    if not rows:
        raise InputError("Expected at least one pair of texts. Received: none.")
    count = 1 if isinstance(rows[0], str | bytes) else np.size(rows[0])
    if not 2 <= count <= most:
        raise InputError(
            f"Expected {' or '.join(map(str, range(2, most + 1)))} texts a "
            f"row, each encoded by itself. Received: {count} in {row_name(0)}."
        )
    for number, row in enumerate(rows):
        if not isinstance(row, list | tuple | np.ndarray) or len(row) != count:
            raise InputError(
                f"Expected {count} texts in each row, as in the first. "
                f"Received: {short(row)} in {row_name(number)}."
            )
    columns = dict(zip(NAMES, map(list, zip(*rows, strict=True)), strict=False))
    return _checked(columns, tuple(columns))


def _checked(x: Any, names: tuple[str, ...]) -> list[Column]:
    columns = as_texts(x, names)
    check_utf8(columns)
    return columns


def read_scores(y: Any, rows: int, between: tuple[float, float]) -> np.ndarray:
    """Numbers as float32 `(rows,)`.

    Args:
        y: a list, NumPy array or pandas column of numbers.
        rows: how many are expected.
        between: the least and the greatest that is allowed.

    Raises:
        InputError: another number of them, or one that is no number or out
            of the range; the message names its row.
    """
    values = as_list(y, "numbers, one a pair")
    if len(values) != rows:
        raise InputError(
            f"Expected one similarity a pair. Received: {rows} pairs and "
            f"{len(values)} similarities."
        )
    values = single(values, "the numbers")
    low, high = between
    scores = np.empty(rows, "float32")
    for row, value in enumerate(values):
        # A string such as "0.5" is most likely a column that was not parsed.
        if not (is_number(value) and low <= value <= high):
            span = (
                f"a similarity from {low:g} to {high:g}"
                if np.isfinite(low)
                else "a number"
            )
            raise InputError(
                f"Expected {span} for each pair. Received: {short(value)} in "
                f"{row_name(row)}. Scores of another range, such as 0 to 5, "
                f"have to be divided first."
                if np.isfinite(low) and is_number(value)
                else f"Expected {span} for each pair. Received: "
                f"{short(value)} in {row_name(row)}. Remove the row or correct "
                f"it."
            )
        scores[row] = value
    return scores


@dataclass(frozen=True)
class RowTable:
    """Rows of several texts, as `kbert.data.batching.LengthBatches` takes them.

    A batch of B rows is one of `columns * B` texts, all first ones, then all
    second ones: the model sees single texts, the loss pairs.

    Attributes:
        table: a row a text, column after column.
        columns: texts in a row.
    """

    table: TokenTable
    columns: int

    def __len__(self) -> int:
        return len(self.table) // self.columns

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row's longest text, int64 `(rows,)`."""
        return self.table.lengths.reshape(self.columns, -1).max(axis=0)

    def take(self, rows: np.ndarray, static: bool = False) -> dict:
        """Some rows `(B,)`, padded, as `TokenTable.take` gives them."""
        starts = len(self) * np.arange(self.columns)[:, None]
        return self.table.take((starts + rows).ravel(), static)
