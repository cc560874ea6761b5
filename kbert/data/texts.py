"""Texts and labels as users have them; for files see `kbert.data.files`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np

from kbert.data.containers import as_list
from kbert.data.containers import settle
from kbert.data.containers import single
from kbert.data.encodings import clean
from kbert.data.encodings import guess
from kbert.data.encodings import is_writable
from kbert.data.files import read_table as read_table
from kbert.data.labels import plain
from kbert.data.row_names import row_name
from kbert.data.row_names import rows_of
from kbert.errors import InputError
from kbert.errors import did_you_mean
from kbert.errors import listed
from kbert.errors import short
from kbert.utils.finite import LARGEST
from kbert.utils.finite import is_number

Column = list[str | bytes]


def as_texts(x: Any, names: tuple[str, ...]) -> list[Column]:
    """Texts of any usual form as one list a column.

    Args:
        x: texts as a list, or what else `kbert.data.containers` knows; pairs of
            texts as rows of two, as a list of pairs or an array `(rows, 2)`;
            or a table, such as a dict, a data frame or rows as dicts, that
            has the columns `names`.
        names: names of the columns that are expected.

    Returns:
        One list of `str` or `bytes` a column, all of one length. A lone
        surrogate, which UTF-8 cannot hold, becomes U+FFFD.

    Raises:
        InputError: there are no texts, or a row is no text, or the columns
            are not those expected.
    """
    with rows_of(x):
        columns = _columns(settle(x, len(names)), names)
        if len({len(column) for column in columns}) > 1:
            lengths = ", ".join(str(len(column)) for column in columns)
            raise InputError(
                f"Expected columns of one length. Received: {lengths} rows."
            )
        if not columns[0]:
            raise InputError("Expected at least one text. Received: none.")
        return [clean_texts(column) for column in columns]


def _columns(x: Any, names: tuple[str, ...]) -> list[list]:
    if isinstance(x, str | bytes):
        raise InputError(
            "Expected a list of texts. Received: one string. Put it into a "
            "list: [text]."
        )
    if isinstance(x, dict):
        check_columns(x, names)
        return [
            single(as_list(x[name], "texts"), "the texts") for name in names
        ]
    rows = as_list(x, "texts")
    if rows and isinstance(rows[0], Mapping):
        return _unname(rows, names)
    if rows and _is_row(rows[0]):
        return _unzip(rows, max(len(names), 2))
    return [rows]


def check_columns(x: Mapping, names: Iterable[str], where: str = "") -> None:
    """Raise `InputError` if a table lacks one of the columns `names`."""
    if missing := [name for name in names if name not in x]:
        close = "".join(did_you_mean(name, map(str, x)) for name in missing)
        raise InputError(
            f"Expected the columns {', '.join(names)}. Received: "
            f"{listed(x)}{where}, without {', '.join(missing)}.{close}"
        )


def _is_row(row: Any) -> bool:
    return isinstance(row, list | tuple | np.ndarray)


def _unname(rows: list, names: tuple[str, ...]) -> list[list]:
    """The columns of rows that are dicts."""
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise InputError(
                f"Expected a dict in each row, as in the first. Received: "
                f"{short(row)} in {row_name(number)}."
            )
        check_columns(row, names, f" in {row_name(number)}")
    return [[row[name] for row in rows] for name in names]


def _unzip(rows: list, most: int) -> list[list]:
    """The columns of rows of two texts, or of one, or of up to `most`."""
    width = len(rows[0]) if len(rows[0]) in (1, most) else 2
    for number, row in enumerate(rows):
        if not _is_row(row) or len(row) != width:
            expected = {1: "a text", 2: "a pair of texts"}.get(
                width, f"{width} texts"
            )
            raise InputError(
                f"Expected {expected} in each row. Received: {short(row)} in "
                f"{row_name(number)}."
            )
    return [list(column) for column in zip(*rows, strict=True)]


def clean_texts(column: list) -> Column:
    """The texts of a column, without what UTF-8 cannot hold.

    Raises:
        InputError: a row is no text.
    """
    for row, text in enumerate(column):
        if not isinstance(text, str | bytes):
            raise InputError(
                f"Expected texts (str or bytes). Received: {short(text)} "
                f"({type(text).__name__}) in {row_name(row)}. Remove the row "
                f"or fill in an empty string."
            )
    return [clean(t) if isinstance(t, str) else t for t in column]


def check_utf8(columns: list[Column]) -> None:
    """Refuse bytes that are not UTF-8, which a model would not see.

    Raises:
        InputError: with the row, and what the bytes look like.
    """
    for column in columns:
        for row, text in enumerate(column):
            if isinstance(text, bytes):
                decode_row(text, row, "texts")


def decode_row(text: bytes, row: int, what: str) -> str:
    """The text of bytes; for others an error that names the row."""
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        looks = "".join(f", which looks like {n}" for n in guess(text)[:1])
        raise InputError(
            f"Expected {what} in UTF-8. Received: {short(text)} in "
            f"{row_name(row)}{looks}. Decode them first: text.decode(...)."
        ) from error


def encode_texts(column: Column) -> list[bytes]:
    """Texts as UTF-8; of lone surrogates, which it cannot hold, U+FFFD.

    Example:

    >>> encode_texts(["caf\\u00e9", b"raw"])
    [b'caf\\xc3\\xa9', b'raw']
    """
    return [
        clean(text).encode() if isinstance(text, str) else text
        for text in column
    ]


def encoded_parts(columns: list[Column], size: int) -> Iterator[list]:
    """Columns of up to `size` texts at a time, as `encode_texts` gives them."""
    for start in range(0, len(columns[0]), size):
        yield [encode_texts(column[start : start + size]) for column in columns]


def as_labels(y: Any, rows: int) -> list:
    """Labels of any usual form as a list of `str`, `int` or `bool`.

    Raises:
        InputError: another number of labels than of texts, or a label that
            is missing (None, NaN) or neither string nor integer, or that
            UTF-8 cannot hold.
    """
    labels = as_list(y, "labels")
    if len(labels) != rows:
        raise InputError(
            f"Expected one label a text. Received: {rows} texts and "
            f"{len(labels)} labels."
        )
    labels = single(labels, "the labels")
    # Before the kinds: one NaN makes floats of a column of integers.
    for row, label in enumerate(labels):
        if _is_missing(label):
            raise InputError(
                f"Expected a label in every row. Received: {label} in "
                f"{row_name(row)}. Remove the row or label it."
            )
    for row, label in enumerate(labels):
        if isinstance(label, bytes):
            labels[row] = decode_row(label, row, "labels")
            continue
        labels[row] = plain(label)
        if not isinstance(labels[row], str | int):
            raise InputError(
                f"Expected strings or integers as labels. Received: "
                f"{short(label)} ({type(label).__name__}) in "
                f"{row_name(row)}. Convert them with `int` or `str`."
            )
        elif isinstance(label, str) and not is_writable(label):
            raise InputError(
                f"Expected labels that UTF-8 can hold. Received: "
                f"{short(label)} in {row_name(row)}, a half of a surrogate "
                f"pair. Rename the label."
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
            missing, infinite, beyond float32 or no number.

    Example:

    >>> as_numbers(["3.8", 5], 2)
    [3.8, 5.0]
    """
    values = as_list(y, "numbers")
    if len(values) != rows:
        raise InputError(
            f"Expected one number a text. Received: {rows} texts and "
            f"{len(values)} numbers."
        )
    values = single(values, "the numbers")
    numbers = []
    for row, value in enumerate(values):
        try:
            # Python reads "1_0" as 10, which no table means.
            odd = isinstance(value, str) and "_" in value
            number = math.nan if odd else float(value)
        except (OverflowError, TypeError, ValueError):
            number = math.nan
        if not is_number(number):
            raise InputError(
                f"Expected a number in every row, up to the {LARGEST:.1e} of "
                f"float32. Received: {short(value)} in {row_name(row)}. "
                f"Remove the row or correct it."
            )
        numbers.append(number)
    return numbers


def chunks(rows: Iterable, size: int) -> Iterator[list]:
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
