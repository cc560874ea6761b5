"""Rows of a `tf.data.Dataset`, batched or one by one."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

import numpy as np

from kbert.errors import InputError
from kbert.errors import short

FORMS = "(texts, labels) or (texts, labels, weights)"


class Rows(NamedTuple):
    """What a dataset's elements have.

    Attributes:
        texts: a text a row, or a tuple or a dict of several.
        labels: one a row, or None.
        weights: one a row, or None.
    """

    texts: list
    labels: list | None = None
    weights: list | None = None


def is_dataset(x: Any) -> bool:
    """Whether it is a `tf.data.Dataset`."""
    return hasattr(x, "as_numpy_iterator")


def read_dataset(dataset: Any) -> Rows:
    """All rows of a dataset of texts, with labels and weights or without.

    Raises:
        InputError: the elements are not such, or the dataset has no end.
    """
    _check_end(dataset)
    texts, labels, weights = [], [], []
    for element in dataset.as_numpy_iterator():
        x, y, weight = _parts(element)
        batched = _is_batch(x)
        texts += _rows(x, batched)
        if y is not None:
            labels += _rows(y, batched)
        if weight is not None:
            weights += _rows(weight, batched)
    return Rows(texts, labels or None, weights or None)


def dataset_texts(
    dataset: Any, width: int = 1, others: bool = True
) -> Iterator:
    """The texts of a dataset, which may have labels and weights besides.

    Args:
        dataset: of texts, or as `read_dataset` takes it.
        width: texts of a row at most. With two, elements that are two
            strings are a row's, as Keras's (x, y) would have its two in a
            tuple.
        others: whether there may be labels and weights, which are passed
            over.

    Yields:
        A text, or a tuple or a dict of several, for each row.

    Raises:
        InputError: the elements are not such, or the dataset has no end.
    """
    _check_end(dataset)
    for element in dataset.as_numpy_iterator():
        x = element
        if not (_is_flat(element) and 1 < len(element) <= width):
            x, *more = _parts(element)
            if not others and any(part is not None for part in more):
                raise InputError(
                    f"Expected a dataset of texts alone. Received: elements "
                    f"like {short(element)}. Pass the rest by itself."
                )
        yield from _rows(x, _is_batch(x))


def _check_end(dataset: Any) -> None:
    if dataset.cardinality() == -1:  # tf.data.INFINITE_CARDINALITY
        raise InputError(
            "Expected a dataset with an end. Received: one that repeats "
            "for ever. Leave out `repeat()`; `epochs` says how often."
        )


def _is_flat(element: Any) -> bool:
    return isinstance(element, tuple) and not any(
        isinstance(part, tuple | Mapping) for part in element
    )


def _parts(element: Any) -> tuple:
    parts = element if isinstance(element, tuple) else (element,)
    # Ragged and sparse values are tuples by name, too.
    if hasattr(element, "_fields") or hasattr(element, "to_list"):
        parts = (element,)
    if not 1 <= len(parts) <= 3:
        raise InputError(
            f"Expected a dataset of texts, {FORMS}; texts of a pair in a "
            f"tuple or a dict of their own. Received: elements like "
            f"{short(element)}."
        )
    return (*parts, None, None)[:3]


def _is_batch(x: Any) -> bool:
    if isinstance(x, tuple | Mapping) and not hasattr(x, "_fields"):
        parts = x.values() if isinstance(x, Mapping) else x
        return _is_batch(next(iter(parts)))
    return hasattr(x, "to_list") or np.asarray(x).ndim > 0


def _rows(value: Any, batched: bool) -> list:
    if hasattr(value, "dense_shape"):
        raise InputError(
            "Expected dense or ragged tensors in a dataset. Received: a "
            "sparse one. Map it by tf.sparse.to_dense."
        )
    if isinstance(value, Mapping):
        columns = [_rows(part, batched) for part in value.values()]
        return [
            dict(zip(value, row, strict=True))
            for row in zip(*columns, strict=True)
        ]
    if hasattr(value, "to_list"):
        rows = value.to_list()
    elif isinstance(value, tuple):
        return [*zip(*(_rows(part, batched) for part in value), strict=True)]
    else:
        rows = np.asarray(value, object if isinstance(value, bytes) else None)
        rows = rows.tolist()
    return rows if batched else [rows]
