"""Texts and labels as they are given to be learned from or compared with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from typing import Any

from kbert.data.containers import as_table
from kbert.data.dataset_rows import FORMS
from kbert.data.dataset_rows import is_dataset
from kbert.data.dataset_rows import read_dataset
from kbert.data.row_names import rows_of
from kbert.data.texts import check_utf8
from kbert.errors import InputError
from kbert.errors import short

if TYPE_CHECKING:
    from kbert.pipeline.text_model import TextModel


def read_examples(
    task: TextModel, x: Any, y: Any = None
) -> tuple[list, list, list | None]:
    """Checked texts, a list a column, labels, and weights if `x` has any.

    Args:
        task: the task.
        x: texts of any usual form, or a `tf.data.Dataset` of (texts, labels)
            or (texts, labels, weights).
        y: labels of any usual form; None for such a dataset.
    """
    weight = None
    if is_dataset(x):
        x, labels, weight = read_dataset(x)
        if (y is None) == (labels is None):
            raise InputError(
                f"Expected labels, in y or in the dataset, which is then of "
                f"{FORMS}. Received: {'none' if y is None else 'both'}."
            )
        y = labels if y is None else y
    elif y is None:
        advice = "Pass them as y."
        if (table := as_table(x)) is not None and table:
            advice = f"Pass a column, such as y=x[{short([*table][-1])}]."
        elif type(x).__name__ == "zip":
            advice = "Pass texts and labels by themselves, not by zip()."
        raise InputError(
            f"Expected labels. Received: y=None, and x is no "
            f"`tf.data.Dataset` of (texts, labels). {advice}"
        )
    with rows_of(x):
        columns = task.columns(x)
        check_utf8(columns)
        y = list(y) if isinstance(y, Iterator) else y  # To be read again.
        return columns, task.head.read(y, columns), weight


def unpack(data: Any, what: str) -> tuple[Any, Any, Any]:
    """Data as texts, labels (None of a dataset) and weights (None or some).

    Raises:
        InputError: they are no tuple of two or three, and no dataset.
    """
    if is_dataset(data):
        data = (data,)
    if not isinstance(data, tuple | list) or not 1 <= len(data) <= 3:
        raise InputError(
            f"Expected {what} as a tuple of two parts, (texts, labels), or "
            f"a `tf.data.Dataset`. Received: {short(data)} "
            f"({type(data).__name__})."
        )
    x, y, weight, *_ = (*data, None, None)
    return x, y, weight


def no_weights(what: str) -> InputError:
    """The error for weights where rows count the same."""
    return InputError(
        f"Expected {what} data of two parts, (texts, labels), whose rows "
        f"count the same. Received: weights besides. Leave them out."
    )


def either(sample_weight: Any, weight: list | None) -> Any:
    """The weights that were given, in either place."""
    if sample_weight is not None and weight is not None:
        raise InputError(
            "Expected weights in the dataset or in `sample_weight`. "
            "Received: both. Leave one out."
        )
    return weight if sample_weight is None else sample_weight
