"""Precision, recall and F1 of labels, the same for every head.

scikit-learn's `classification_report` has labels and averages in one dict,
where a label called `accuracy` or `macro avg` overwrites a figure or is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def of_decisions(
    targets: np.ndarray, predicted: np.ndarray, names: Sequence
) -> dict[str, Any]:
    """What `of_counts` gives, of labels that texts were given.

    Args:
        targets: int `(rows,)`, places in `names`; or, of several labels a
            row, 0 or 1 `(rows, labels)`.
        predicted: the same.
        names: the labels.
    """
    # Imported here: scikit-learn costs a second, which `--help` and
    # `predict` need not pay.
    from sklearn.metrics import multilabel_confusion_matrix

    places = None if np.ndim(targets) == 2 else range(len(names))
    table = multilabel_confusion_matrix(targets, predicted, labels=places)
    (_, wrong), (missed, right) = table.transpose(1, 2, 0)
    return of_counts(right, right + wrong, right + missed, names)


def of_counts(
    right: np.ndarray, predicted: np.ndarray, true: np.ndarray, names: Sequence
) -> dict[str, Any]:
    """F1 as a mean over labels, and the figures of each.

    The mean is over the labels that are in the truth or in the answers, as
    that of scikit-learn and seqeval is. A figure without a denominator is 0.

    Args:
        right: int `(labels,)`, how often a label was given and true.
        predicted: int `(labels,)`, how often it was given.
        true: int `(labels,)`, how often it was true.
        names: the labels.

    Returns:
        `macro_f1`; `absent`, the labels that are in neither truth nor
        answers; and `per_class` with `precision`, `recall`, `f1-score` and
        `support` of each label.

    Example:

    >>> of_counts([1, 0], [1, 0], [2, 0], ["a", "b"])["macro_f1"]
    0.666...
    """
    right, predicted, true = map(np.asarray, (right, predicted, true))
    names = [str(name) for name in names]
    columns = {
        "precision": ratio(right, predicted),
        "recall": ratio(right, true),
        "f1-score": ratio(2 * right, predicted + true),
    }
    present = predicted + true > 0
    f1 = columns["f1-score"][present]
    return {
        "macro_f1": float(f1.mean()) if len(f1) else 0.0,
        "absent": [names[i] for i in np.flatnonzero(~present)],
        "per_class": {
            name: {key: float(column[i]) for key, column in columns.items()}
            | {"support": int(true[i])}
            for i, name in enumerate(names)
        },
    }


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part / whole`, and 0 where that has no denominator."""
    part, whole = np.asarray(part, "float64"), np.asarray(whole, "float64")
    return np.divide(part, whole, out=np.zeros(whole.shape), where=whole > 0)
