"""What people keep rows in, as lists and dicts of Python.

Lists, tuples, deques, generators and other iterables; NumPy's arrays, tensors
of TensorFlow, Torch and JAX; columns and tables of pandas, Arrow, Polars and
`datasets`; rows as dicts; and `tf.data.Dataset`s. None of their libraries is
imported: they are told by what they can do.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Set
from typing import Any

import numpy as np

from kbert.data.dataset_rows import dataset_texts
from kbert.data.dataset_rows import is_dataset
from kbert.data.row_names import row_name
from kbert.errors import InputError
from kbert.errors import listed
from kbert.errors import short


def as_table(x: Any) -> dict[Any, Any] | None:
    """The columns of a table by their names; None of what is no table.

    A dict, a frame of pandas or Polars, a table or a batch of Arrow, a
    dataset of `datasets`, or a structured array. The columns are as the
    table has them, and can be read again and again.
    """
    if isinstance(x, Mapping):
        return {name: _settled(column) for name, column in x.items()}
    if names := getattr(getattr(x, "dtype", None), "names", None):
        return {name: x[name] for name in names}
    if hasattr(x, "collect_schema") and hasattr(x, "collect"):
        x = x.collect()  # A lazy frame of Polars.
    # Arrow's `columns` are arrays; a column of `datasets` has no names.
    names = getattr(x, "column_names", None)
    if names is None and not hasattr(x, "to_pylist"):
        names = getattr(x, "columns", None)
    if names is None or isinstance(x, type):
        return None
    names = list(names)
    # Of columns of one name `x[name]` is a table of those, and comes here.
    if len(names) > 1 and len(set(names)) == 1:
        raise InputError(
            f"Expected columns of different names. Received: {listed(names)}. "
            f"Rename one, or take it out."
        )
    return {name: x[name] for name in names}


def settle(x: Any, width: int = 1) -> Any:
    """Rows that can be read again, and tables as dicts; the rest as it is.

    An iterator ends when it is read once, and more than one place looks at
    what a user gives.

    Args:
        x: rows of any form.
        width: texts of a row, see `kbert.data.dataset_rows.dataset_texts`.
    """
    if is_dataset(x):
        return list(dataset_texts(x, width))
    table = as_table(x)
    return _settled(x) if table is None else _like(x, table)


def _like(x: Any, table: dict) -> dict:
    """A table, or `x` itself where it is as good and knows its lines."""
    same = isinstance(x, dict) and all(
        x[name] is column for name, column in table.items()
    )
    return x if same else table


def _settled(rows: Any) -> Any:
    return list(rows) if isinstance(rows, Iterator) else rows


def as_list(values: Any, what: str) -> list:
    """The rows of a column as a list of Python's own objects.

    Rows that have several values each, as those of an array `(rows, 2)`, are
    lists or arrays; a frame of one column is that column.

    Args:
        values: the column.
        what: what it has, for messages, such as `"texts"`.

    Raises:
        InputError: it is a string, a dict, a set, which has no order, or no
            column at all.

    Example:

    >>> as_list(pyarrow.array(["a", None]), "texts")
    ['a', None]
    """
    table = None if isinstance(values, Mapping) else as_table(values)
    if table is not None and len(table) == 1:
        (values,) = table.values()
    # A string is iterable too: its characters would pass for rows.
    elif table is not None or not _is_column(values):
        raise InputError(
            f"Expected a list of {what}. Received: {short(values)} "
            f"({type(values).__name__}){_advice(values, table)}."
        )
    return [_plain(value) for value in _listed(values)]


def _is_column(values: Any) -> bool:
    if isinstance(values, str | bytes | Mapping | type):
        return False
    if isinstance(values, Set):  # A dict's views are ordered.
        return not isinstance(values, set | frozenset)
    if hasattr(values, "to_list"):  # Ragged tensors are not iterable.
        return True
    return isinstance(values, Iterable) and getattr(values, "ndim", 1) != 0


def _advice(values: Any, table: dict | None) -> str:
    if isinstance(values, str | bytes):
        return ". Put one into a list: [...]"
    if isinstance(values, set | frozenset):
        return ", which has no order. Use a list"
    for name in table or (values if isinstance(values, Mapping) else ()):
        return f". Choose a column, such as [{short(name)}]"
    return ""


def _listed(values: Any) -> Iterable:
    if hasattr(values, "to_pylist"):  # Arrow.
        return values.to_pylist()
    if hasattr(values, "detach"):  # Torch.
        values = values.detach().cpu()
    # The elements of a tensor are tensors, those of its array are not.
    if hasattr(values, "numpy") and callable(values.numpy):
        values = values.numpy()
    if hasattr(values, "to_list"):  # Ragged tensors, pandas and Polars.
        return values.to_list()
    if hasattr(values, "toarray"):  # SciPy.
        values = values.toarray()
    if isinstance(values, np.ndarray) and values.dtype.kind not in "mM":
        return values.tolist() if values.ndim == 1 else values
    if type(values).__module__.partition(".")[0] == "datasets":
        return values[:]  # Row by row takes a hundred times as long.
    return values


def _plain(value: Any) -> Any:
    """A scalar of NumPy, Arrow or a tensor as Python's; others as they are."""
    if type(value) in (str, bytes, int, float, list, dict, tuple):
        return value
    if value is np.ma.masked:  # Its `item()` is 0.
        return None
    if hasattr(value, "as_py"):
        return value.as_py()
    if hasattr(value, "numpy") and callable(value.numpy):
        value = value.numpy()
    if isinstance(value, np.generic | np.ndarray) and value.shape == ():
        if value.dtype.kind not in "mM":  # They would become integers.
            return value.item()
    return value


def single(rows: list, what: str) -> list:
    """Rows of one value each, which may be in a list or an array of one.

    Raises:
        InputError: a row has several, as those of one-hot labels.
    """
    several = list | tuple | np.ndarray
    # Of both kinds, who asked finds the row that is wrong.
    if not all(isinstance(row, several) for row in rows):
        return rows
    values = []
    for number, row in enumerate(rows):
        if len(row) != 1 or isinstance(row[0], several):
            advice = " If they are one-hot, pass y.argmax(axis=1), and "
            advice += "the names in that order as labels=."
            raise InputError(
                f"Expected one of {what} in each row. Received: "
                f"{short(row)} in {row_name(number)}."
                f"{advice if _one_hot(row) else ''}"
            )
        values.append(_plain(row[0]))
    return values


def _one_hot(row: Any) -> bool:
    try:
        return len(row) > 1 and set(row) <= {0, 1} and sum(row) == 1
    except TypeError:
        return False


def iterate(x: Any, width: int = 1) -> Iterator:
    """Rows one by one, without reading the whole of it if it is lazy.

    Args:
        x: rows of any form.
        width: as for `settle`.

    Yields:
        A text, or a tuple or a dict of several, as rows of `x` are.

    Raises:
        InputError: it is one string, or no rows.
    """
    if is_dataset(x):
        yield from dataset_texts(x, width)
    elif type(x).__module__.partition(".")[0] == "datasets":
        yield from x  # Rows as dicts, or a column's values.
    elif (table := as_table(x)) is not None:
        columns = [as_list(column, "texts") for column in table.values()]
        for row in zip(*columns, strict=True):
            yield dict(zip(table, row, strict=True))
    elif isinstance(x, Iterator):
        yield from x
    else:
        yield from as_list(x, "texts")
