"""Labels as columns of 0 and 1, one column a label.

A column of a table is known by its name, in any order. An array, a sparse
matrix or a tensor has no names, and a list such as `[0, 1]` may be of labels
that are called so, or of columns; what cannot be told is refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kbert.data.containers import as_list
from kbert.data.containers import as_table
from kbert.data.labels import LabelFinder
from kbert.data.labels import check_labels
from kbert.data.labels import plain
from kbert.data.row_names import row_name
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.errors import listed
from kbert.errors import short


class NamedRows(list):
    """The labels of each row, and all that there are, in any row or in none.

    Args:
        flags: `(rows, labels)` of what is true or not.
        labels: the names of its columns.
    """

    def __init__(self, flags: np.ndarray, labels: list):
        super().__init__(
            [labels[i] for i in np.flatnonzero(row)] for row in flags
        )
        self.labels = labels


def of_columns(y: Any, labels: list | None) -> NamedRows | None:
    """The labels of each row of a table or an array.

    Args:
        y: a data frame or a dict of columns; or an array `(rows, labels)`,
            dense or sparse, or a tensor.
        labels: the head's; None to take them from a table.

    Returns:
        None if `y` is something else, such as a list or a column.

    Raises:
        InputError: something is not 0 or 1, or nobody says which label a
            column is of.
    """
    table = as_table(y)
    if table is not None:
        table = {name: as_list(v, "0 and 1") for name, v in table.items()}
        # One column that has no numbers is of lists.
        if len(table) != 1 or any(map(_is_number, *table.values())):
            return _of_table(table, labels)
        return None
    array = _array(y)
    return None if array is None else _of_array(array, labels)


def of_lists(rows: list[list], labels: list | None) -> list[list]:
    """The labels of each row, where lists may be of 0 and 1 for each label.

    Raises:
        InputError: they may be names as well.
    """
    width = len(rows[0]) if rows else 0
    if width < 2 or not all(
        len(row) == width and all(map(_is_bit, row)) for row in rows
    ):
        return rows
    if labels is None:
        raise _nameless(f"lists of {width} of them")
    named = any(LabelFinder(labels)(bit) is not None for bit in (0, 1))
    if named and width == len(labels) == 2:
        raise InputError(
            f"Expected labels, or 0 or 1 for each of {listed(labels)}. "
            f"Received: lists such as {short(rows[0])} in every row, which may "
            f"be either. Pass np.array(y) if they are columns."
        )
    if named or width != len(labels):
        return rows
    return _of_array(np.array(rows).astype("int8"), labels)


def _array(y: Any) -> np.ndarray | None:
    """Numbers in columns without names; None of anything else."""
    if hasattr(y, "toarray"):  # SciPy.
        y = y.toarray()
    if hasattr(y, "detach"):  # Torch.
        y = y.detach().cpu()
        y = y.to_dense() if y.is_sparse else y
    if getattr(y, "ndim", 1) < 2:
        return None
    if isinstance(y, np.ma.MaskedArray):  # What is masked is not 0 or 1.
        y = np.ma.filled(y.astype("float64"), np.nan)
    array = np.asarray(y)
    if array.dtype.kind == "O" and all(map(_is_number, array.flat)):
        array = array.astype("float64")
    return array if array.dtype.kind in "biuf" else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number | np.bool)


def _is_bit(value: Any) -> bool:
    if isinstance(value, str):
        return value in ("0", "1")
    return _is_number(value) and (value == 0 or value == 1)


def _of_table(table: dict, labels: list | None) -> NamedRows:
    names = [plain(name) for name in table]
    numbered = names == list(range(len(names))) != []
    if labels is None:
        if numbered:
            raise _nameless(f"the columns {listed(names)}")
        try:
            labels = check_labels(names)
        except ConfigError as error:
            raise InputError(f"Columns of 0 and 1: {error}") from error
        order = list(table)
    else:
        find = LabelFinder(labels)
        columns = {find(plain(name)): name for name in table}
        unknown = [name for name in table if find(plain(name)) is None]
        missing = [label for label in labels if label not in columns]
        if numbered and len(missing) == len(labels) == len(names):
            order = list(table)  # A frame that was made of an array.
        elif unknown or missing:
            raise InputError(
                f"Expected a column for each of the labels {listed(labels)}. "
                f"Received: {listed(table)}"
                + (f", without {listed(missing)}" if missing else "")
                + (f", with {listed(unknown)}" if unknown else "")
                + ". Choose the columns of the labels: y[[...]]."
            )
        else:
            order = [columns[label] for label in labels]
    flags = [_flags(table[name], f"column {short(name)}") for name in order]
    if len({len(column) for column in flags}) > 1:
        raise InputError(
            f"Expected columns of one length. Received: "
            f"{', '.join(str(len(column)) for column in flags)} rows."
        )
    return NamedRows(np.stack(flags, axis=1), labels)


def _flags(column: list, where: str) -> np.ndarray:
    """bool `(rows,)`, true where a column has a 1."""
    for row, value in enumerate(column):
        if isinstance(value, str) or not _is_bit(value):
            raise InputError(
                f"Expected 0 or 1 in each row. Received: {short(value)} in "
                f"{row_name(row)}, {where}. Choose the columns of the labels, "
                f"and remove rows that nobody has labelled."
            )
    return np.array(column, bool)


def _of_array(array: np.ndarray, labels: list | None) -> NamedRows:
    good = array.ndim == 2 and np.isin(array, (0, 1)).all()
    if labels is None:
        if good:
            raise _nameless(f"an array of shape {array.shape}")
        raise InputError(
            f"Expected labels in lists, or columns of 0 and 1. Received: an "
            f"array of numbers of shape {array.shape}. Pass y.tolist() if the "
            f"numbers are labels."
        )
    if not good or array.shape[1] != len(labels):
        span = f", from {array.min()} to {array.max()}" if array.size else ""
        raise InputError(
            f"Expected 0 or 1 for each of {len(labels)} labels. Received: an "
            f"array of shape {array.shape}{span}."
        )
    return NamedRows(array == 1, labels)


def _nameless(what: str) -> InputError:
    return InputError(
        f"Expected labels by name. Received: 0 and 1 as {what}, which does "
        f"not say which label a column is of. Pass labels=, the names in the "
        f"order of the columns, or a data frame that has them."
    )
