"""Texts and labels as users have them; for files see `kbert.files`."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np

from kbert.errors import InputError
from kbert.files import read_table as read_table

Column = list[str | bytes]


def as_texts(x: Any, names: tuple[str, ...]) -> list[Column]:
    """Texts of any usual form as one list a column.

    Args:
        x: texts as a list, NumPy array or pandas column; pairs of texts as a
            list of pairs or an array `(rows, 2)`; or a dict or data frame
            that has the columns `names`.
        names: names of the columns that are expected.

    Returns:
        One list of `str` or `bytes` a column, all of one length.

    Raises:
        InputError: there are no texts, or a row is no text, or the columns
            are not those expected.
    """
    if isinstance(x, str | bytes):
        raise InputError(
            "Expected a list of texts. Received: one string. Put it into a "
            "list: [text]."
        )
    if isinstance(x, dict) or hasattr(x, "columns"):
        if missing := [name for name in names if name not in x]:
            raise InputError(
                f"Expected the columns {', '.join(names)}. Received: "
                f"{', '.join(map(str, x))}, without {', '.join(missing)}."
            )
        columns = [_as_list(x[name], "texts") for name in names]
    else:
        rows = _as_list(x, "texts")
        columns = _unzip(rows) if rows and _is_pair(rows[0]) else [rows]
    if len({len(column) for column in columns}) > 1:
        lengths = ", ".join(str(len(column)) for column in columns)
        raise InputError(
            f"Expected columns of one length. Received: {lengths} rows."
        )
    if not columns[0]:
        raise InputError("Expected at least one text. Received: none.")
    for column in columns:
        _check_column(column)
    return columns


def _as_list(values: Any, what: str) -> list:
    # A string is iterable too: its characters would pass for rows.
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise InputError(
            f"Expected a list of {what}. Received: {reprlib.repr(values)} "
            f"({type(values).__name__})."
        )
    # The elements of a tensor are tensors, those of its array are not.
    return list(values.numpy() if hasattr(values, "numpy") else values)


def _is_pair(row: Any) -> bool:
    return isinstance(row, list | tuple | np.ndarray)


def _unzip(rows: list) -> list[list]:
    """The columns of rows of two texts."""
    for number, row in enumerate(rows):
        if not _is_pair(row) or len(row) != 2:
            raise InputError(
                "Expected a pair of texts in each row. Received: "
                f"{reprlib.repr(row)} in row {number}."
            )
    return [list(column) for column in zip(*rows, strict=True)]


def _check_column(column: list) -> None:
    for row, text in enumerate(column):
        if not isinstance(text, str | bytes):
            raise InputError(
                f"Expected texts (str or bytes). Received: "
                f"{reprlib.repr(text)} ({type(text).__name__}) in row {row}. "
                f"Remove the row or fill in an empty string."
            )


def encode_texts(column: Column) -> list[bytes]:
    """Texts as UTF-8; lone surrogates, which UTF-8 cannot hold, are left out.

    Example:

    >>> encode_texts(["caf\\u00e9", b"raw"])
    [b'caf\\xc3\\xa9', b'raw']
    """
    return [
        text.encode("utf-8", "ignore") if isinstance(text, str) else text
        for text in column
    ]


def encoded_parts(columns: list[Column], size: int) -> Iterator[list]:
    """Columns of up to `size` texts at a time, as `encode_texts` gives them."""
    for start in range(0, len(columns[0]), size):
        yield [encode_texts(column[start : start + size]) for column in columns]


def as_labels(y: Any, rows: int) -> list:
    """Labels of any usual form as a list of `str` or `int`.

    Raises:
        InputError: another number of labels than of texts, or a label that
            is missing (None, NaN) or neither string nor integer.
    """
    labels = [
        v.item() if isinstance(v, np.generic) else v
        for v in _as_list(y, "labels")
    ]
    if len(labels) != rows:
        raise InputError(
            f"Expected one label a text. Received: {rows} texts and "
            f"{len(labels)} labels."
        )
    # Before the kinds: one NaN makes floats of a column of integers.
    for row, label in enumerate(labels):
        if _is_missing(label):
            raise InputError(
                f"Expected a label in every row. Received: {label} in row "
                f"{row}. Remove the row or label it."
            )
    for row, label in enumerate(labels):
        if isinstance(label, bytes):
            labels[row] = label.decode("utf-8", "ignore")
        elif isinstance(label, bool):
            labels[row] = int(label)
        elif not isinstance(label, str | int):
            raise InputError(
                f"Expected strings or integers as labels. Received: "
                f"{reprlib.repr(label)} ({type(label).__name__}) in row "
                f"{row}. Convert them with `int` or `str`."
            )
    return labels


def _is_missing(label: Any) -> bool:
    # NaN is the one float that differs from itself. What pandas has for it
    # is told by its name, for pandas need not be there.
    return (
        label is None
        or isinstance(label, float)
        and label != label
        or type(label).__name__ in ("NAType", "NaTType")
    )


def as_numbers(y: Any, rows: int) -> list[float]:
    """Numbers of any usual form as floats; strings are read.

    Raises:
        InputError: another number of them than of texts, or one that is
            missing, infinite or no number.

    Example:

    >>> as_numbers(["3.8", 5], 2)
    [3.8, 5.0]
    """
    values = _as_list(y, "numbers")
    if len(values) != rows:
        raise InputError(
            f"Expected one number a text. Received: {rows} texts and "
            f"{len(values)} numbers."
        )
    numbers = []
    for row, value in enumerate(values):
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise InputError(
                f"Expected a number in every row. Received: "
                f"{reprlib.repr(value)} in row {row}. Remove the row or "
                f"correct it."
            )
        numbers.append(number)
    return numbers


def from_dataset(dataset: Any) -> tuple[Any, list]:
    """Texts and labels of a `tf.data.Dataset` of `(texts, labels)`.

    Single elements and batches are both taken; so are pairs and dicts of
    texts.

    Raises:
        InputError: the elements are not such, or the dataset has no end.
    """
    if dataset.cardinality() == -1:  # tf.data.INFINITE_CARDINALITY
        raise InputError(
            "Expected a dataset with an end. Received: one that repeats "
            "for ever. Leave out `repeat()`; `epochs` says how often."
        )
    texts, labels = [], []
    for element in dataset.as_numpy_iterator():
        if not isinstance(element, tuple) or len(element) != 2:
            raise InputError(
                "Expected a dataset of (texts, labels). Received: elements "
                f"like {reprlib.repr(element)}."
            )
        x, y = element
        labels += np.atleast_1d(y).tolist()
        if isinstance(x, dict):
            texts.append({k: np.atleast_1d(v).tolist() for k, v in x.items()})
        elif isinstance(x, tuple):
            columns = [np.atleast_1d(v).tolist() for v in x]
            texts += zip(*columns, strict=True)
        else:
            texts += np.atleast_1d(x).tolist()
    if texts and isinstance(texts[0], dict):
        return {k: [v for t in texts for v in t[k]] for k in texts[0]}, labels
    return texts, labels


def windows(rows: Iterable, size: int) -> Iterator[list]:
    """Lists of up to `size` rows, so that a stream needs bounded memory."""
    rows = iter(rows)
    while window := list(islice(rows, size)):
        yield window


def join_answers(parts: list[np.ndarray]) -> np.ndarray:
    """The rows of arrays `(rows, ...)`, one part after the other.

    Where parts differ in their other dimensions, as answers of batches do
    that are filled up to their longest row, `(rows,)` of arrays.
    """
    if len({part.shape[1:] for part in parts}) == 1:
        return np.concatenate(parts)
    rows = [row for part in parts for row in part]
    joined = np.empty(len(rows), object)
    for i, row in enumerate(rows):
        joined[i] = row
    return joined


def ahead(values: Iterable) -> Iterator:
    """The values in order, each made in a thread while the last one is used.

    One is made ahead and no more, so that memory is bounded. An error comes
    out where its value would have.

    Example:

    >>> for tokens in ahead(map(tokenize, parts)):
    ...     compute(tokens)
    """
    values, end = iter(values), object()
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, values, end)
        while (value := coming.result()) is not end:
            coming = pool.submit(next, values, end)
            yield value
