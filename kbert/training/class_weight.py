"""Weights by label: what `fit(class_weight=)` takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kbert.data.labels import LabelFinder
from kbert.data.labels import plain
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.errors import did_you_mean
from kbert.errors import listed
from kbert.errors import short
from kbert.heads.base import Head
from kbert.utils.finite import is_number


def label_weights(head: Head, y: list, class_weight: Any) -> dict:
    """A weight for each label of a head.

    Args:
        head: a head that answers one label a row.
        y: what its `read` gave.
        class_weight: a dict of labels to weights, where other labels weigh 1;
            `"balanced"`, by which every label that is in `y` has the same
            total and a row weighs 1 in the mean; or None for what the head
            has by default.

    Returns:
        A dict that has every label, in the head's order; an empty one if
        there is nothing to weigh by.

    Raises:
        ConfigError: it is neither, has something that is no label of the
            head or a weight that is no number of 0 or more, or the rows of
            the head have no one label.
    """
    if class_weight is None:
        class_weight = head.class_weight
    if class_weight is None:
        return {}
    if not all(isinstance(label, str | int) for label in y):
        raise ConfigError(
            f"`class_weight` weighs rows by their one label. Received: "
            f"class_weight={short(class_weight)} for the head "
            f"{head.name!r}. Use `sample_weight`."
        )
    labels = head.labels or list(dict.fromkeys(y))
    if isinstance(class_weight, Mapping):
        return _of_labels(labels, class_weight)
    if isinstance(class_weight, str) and class_weight == "balanced":
        return _balanced(labels, y)
    close = ""
    if isinstance(class_weight, str):
        close = did_you_mean(class_weight, ["balanced"])
    raise ConfigError(
        f"`class_weight` must be 'balanced', or a dict of label to weight. "
        f"Received: class_weight={short(class_weight)}.{close}"
    )


def _of_labels(labels: list, class_weight: Mapping) -> dict:
    weights = dict.fromkeys(labels, 1.0)
    find = LabelFinder(labels)
    for key, weight in class_weight.items():
        try:
            label = find(plain(key))
        except InputError as error:
            raise ConfigError(f"`class_weight`: {error}") from error
        if label is None:
            raise ConfigError(
                f"`class_weight` must have labels for keys: {listed(labels)}. "
                f"Received: {short(key)}."
                f"{did_you_mean(key, map(str, labels))}"
            )
        if not is_number(weight, least=0):
            raise ConfigError(
                f"`class_weight` must have numbers of 0 or more. Received: "
                f"{short(weight)} for {short(key)}"
            )
        weights[label] = float(weight)
    if not any(weights.values()):
        raise ConfigError(
            "`class_weight` must have a weight above 0, or there is nothing "
            "to learn. Received: 0 for every label"
        )
    return weights


def _balanced(labels: list, y: list) -> dict:
    from sklearn.utils.class_weight import compute_class_weight

    find = LabelFinder(labels)
    place = {label: i for i, label in enumerate(labels)}
    rows = np.array([place[find(label)] for label in y])
    present = np.unique(rows)
    found = compute_class_weight("balanced", classes=present, y=rows)
    weights = dict.fromkeys(labels, 1.0)
    return weights | {
        labels[i]: float(w) for i, w in zip(present, found, strict=True)
    }
