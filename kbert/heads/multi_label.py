"""Any number of labels for a text: the head `multi_label`."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import ops

from kbert.data.containers import as_list
from kbert.data.labels import LabelFinder
from kbert.data.row_names import naming_rows
from kbert.data.row_names import row_name
from kbert.data.texts import as_labels
from kbert.data.texts import decode_row
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.errors import short
from kbert.heads.classification import ClassificationHead
from kbert.heads.figures import of_decisions
from kbert.heads.figures import ratio
from kbert.heads.indicators import NamedRows
from kbert.heads.indicators import of_columns
from kbert.heads.indicators import of_lists
from kbert.heads.transformers_form import TransformersForm
from kbert.utils.checks import check_flag
from kbert.utils.checks import check_number


class MultiLabelHead(ClassificationHead):
    """Several labels, one or none, each by its own sigmoid and threshold.

    After training, `calibrate` sets each label's threshold to the one with
    the best F1 on the validation data, halfway between two scores. A label
    that the validation data do not have keeps its threshold.

    References:
        Zhang & Zhou 2014, A Review on Multi-Label Learning Algorithms
        Yang 2001, A Study of Thresholding Strategies for Text Categorization
        (SCut, a threshold for each label)

    Args:
        labels: see `kbert.Head`.
        thresholds: probabilities from which the labels are given, in their
            order; None for `threshold`. `fit` replaces them.
        threshold: of labels that have no other.
        tune: whether `fit` looks for thresholds; a tenth of the rows is set
            aside for it if there are no validation data.
        **options: `pooling` and `dropout`, see
            `kbert.heads.classification.ClassificationHead`.

    Answers: `labels` `(B, labels)`, those of the text, likeliest first, then
    empty strings; `count` int `(B,)`; `probabilities` float `(B, labels)` in
    the order of the head's labels, each by itself.

    Departures: with few rows that have a label, its best threshold on them
    is mostly chance. Watch `per_class` on test data, or set `tune=False`.

    Example:

    >>> clf = kbert.Classifier(head="multi_label")
    >>> clf.fit(["a cheap flight to Rome"], [["price", "travel"]])
    >>> clf.predict(["hotels in Oslo"])
    [['travel']]
    """

    name = "multi_label"
    monitor = ("val_loss", "min")
    label_outputs = ("labels",)
    answer_output = "labels"
    exclusive = False

    def __init__(
        self,
        labels: list | None = None,
        thresholds: list[float] | None = None,
        threshold: float = 0.5,
        tune: bool = True,
        **options: Any,
    ):
        super().__init__(labels, **options)
        self._check_named()
        if thresholds is not None:
            thresholds = [
                check_number(f"thresholds[{i}]", x, 0, 1)
                for i, x in enumerate(as_list(thresholds, "thresholds"))
            ]
        if thresholds is not None and len(thresholds) != len(labels or ()):
            raise ConfigError(
                f"Expected a threshold for each label. Received: "
                f"{len(thresholds)} for {len(labels or ())} labels."
            )
        self.thresholds = thresholds
        self.threshold = check_number("threshold", threshold, 0, 1)
        self.tune = check_flag("tune", tune)
        self.needs_validation = self.tune

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "thresholds": self.thresholds,
            "threshold": self.threshold,
            "tune": self.tune,
        }

    # === Data ===

    def read(self, y: Any, columns: list[list]) -> list[list]:
        """The labels of each row.

        Takes lists; strings with commas between labels, or a JSON list, as
        files have them; and columns of 0 and 1, of a data frame or a dict by
        their names, or where `labels` is set of an array, a sparse matrix, a
        tensor or lists in their order.
        """
        count = len(columns[0])
        rows = of_columns(y, self.labels)
        if rows is None:
            rows = as_list(y, "lists of labels")
        if len(rows) != count:
            raise InputError(
                f"Expected a list of labels for each of {count} texts. "
                f"Received: {len(rows)}."
            )
        if isinstance(rows, NamedRows):
            return rows
        sets = any(isinstance(row, set | frozenset) for row in rows)
        rows = [_row(row, number) for number, row in enumerate(rows)]
        rows = rows if sets else of_lists(rows, self.labels)
        if isinstance(rows, NamedRows):
            return rows
        return [_names(row, number) for number, row in enumerate(rows)]

    def adapt(self, y: list) -> None:
        if self.labels is None and isinstance(y, NamedRows):
            self.labels = y.labels
        elif self.labels is None:
            super().adapt([label for row in y for label in row])
        self._check_named()
        self.thresholds = self._limits()

    def _limits(self) -> list[float]:
        # A head that is made with labels is not adapted.
        return self.thresholds or [self.threshold] * len(self.labels)

    def _check_named(self) -> None:
        if "" in (self.labels or ()):
            raise InputError(
                f"Expected labels that have a name: an empty one stands for "
                f"no label in answers. Received: {short(self.labels)}. Rename "
                f"it, or leave its column out."
            )

    def encode(self, y: list) -> np.ndarray:
        """float32 `(rows, labels)`, 1 for a row's labels."""
        targets = np.zeros((len(y), len(self.labels)), "float32")
        find = LabelFinder(self.labels)
        index = {label: i for i, label in enumerate(self.labels)}
        for row, labels in enumerate(y):
            for label in labels:
                if (found := find(label, row)) is None:
                    raise InputError(
                        f"Expected labels out of "
                        f"{short(self.labels)}. Received: {short(label)} in "
                        f"{row_name(row)}. Remove it, or train with it."
                    )
                targets[row, index[found]] = 1
        return targets

    def strata(self, y: list) -> list[list]:
        return y

    # === Model ===

    def loss(self) -> keras.losses.Loss:
        return keras.losses.BinaryCrossentropy(from_logits=True)

    def metrics(self) -> list:
        return [keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)]

    # === Answers ===

    def serve(self, outputs: keras.KerasTensor) -> dict:
        probabilities = ops.sigmoid(outputs)  # (B, labels)
        # Of NumPy: exporters take a backend's tensors for inputs.
        given = probabilities >= np.array(self._limits(), "float32")
        # Those that are given come first, the likeliest of them first.
        order = ops.argsort(-(probabilities + 2.0 * ops.cast(given, "float32")))
        count = ops.sum(ops.cast(given, "int32"), axis=-1)  # (B,)
        place = np.arange(len(self.labels), dtype="int32")
        labels = ops.where(
            ops.less(place[None, :], count[:, None]),
            ops.cast(order, "int32"),
            -1,
        )
        return {
            "labels": labels,  # (B, labels)
            "count": count,
            "probabilities": probabilities,
        }

    def transformers_form(self) -> TransformersForm | None:
        form = super().transformers_form()
        kind = "multi_label_classification"
        return form and replace(form, problem_type=kind)

    def calibrate(self, answers: dict, targets: np.ndarray) -> None:
        if self.tune:
            probabilities, limits = answers["probabilities"], self._limits()
            self.thresholds = [
                best_threshold(probabilities[:, i], targets[:, i] == 1)
                if targets[:, i].any()
                else limits[i]
                for i in range(len(self.labels))
            ]

    def report(self, answers: dict, targets: np.ndarray) -> dict[str, Any]:
        """F1 of all decisions together (`micro_f1`); `subset_accuracy`, the
        part of the rows whose labels are all right; and what
        `kbert.heads.figures.of_counts` gives."""
        limits = np.array(self._limits(), "float32")
        predicted = (answers["probabilities"] >= limits).astype(int)
        targets = targets.astype(int)
        report = of_decisions(targets, predicted, self.labels)
        rows = report["per_class"].values()
        for row, threshold in zip(rows, self._limits(), strict=True):
            row["threshold"] = threshold
        right = 2 * (targets & predicted).sum()
        return {
            "micro_f1": float(ratio(right, targets.sum() + predicted.sum())),
            "subset_accuracy": float((targets == predicted).all(1).mean()),
            **report,
        }


def best_threshold(scores: np.ndarray, true: np.ndarray) -> float:
    """The threshold with the best F1; of several, the highest.

    Args:
        scores: float32 `(rows,)`, 0 to 1.
        true: bool `(rows,)`, some of them true.

    Returns:
        A threshold halfway down to the next lower score.

    Example:

    >>> best_threshold(np.float32([0.1, 0.4, 0.9]), np.array([0, 1, 1]) == 1)
    0.25
    """
    order = np.argsort(-scores, kind="stable")
    scores, true = scores[order], true[order]
    right = np.cumsum(true)
    f1 = 2 * right / (np.arange(1, len(true) + 1) + true.sum())
    # Equal scores are given or not together.
    last = np.append(scores[1:] < scores[:-1], True)
    best = int(np.argmax(np.where(last, f1, -1)))
    upper = scores[best]
    lower = scores[best + 1] if best + 1 < len(scores) else np.float32(0)
    middle = np.float32((float(lower) + float(upper)) / 2)
    # Between neighbouring floats there is no middle.
    return float(middle if middle > lower else upper)


def _row(row: Any, number: int) -> list:
    if isinstance(row, bytes):
        row = decode_row(row, number, "labels")
    if isinstance(row, str):
        row = _split(row, number)
    if hasattr(row, "tolist"):
        row = row.tolist()
    if not isinstance(row, list | tuple | set | frozenset):
        raise InputError(
            f"Expected a list of labels in each row. Received: "
            f"{short(row)} in {row_name(number)}. Put a single label into a "
            f"list: [label]."
        )
    return list(row)


def _names(row: list, number: int) -> list:
    here = row_name(number)
    with naming_rows(lambda place: f"place {place} of {here}"):
        labels = as_labels(row, len(row))
    if "" in labels:  # In answers it stands for no label.
        raise InputError(
            f"Expected labels that have a name. Received: "
            f"{short(labels)} in {row_name(number)}. A row without labels "
            f"has an empty list."
        )
    if len(set(labels)) < len(labels):
        raise InputError(
            f"Expected different labels in a row. Received: "
            f"{short(labels)} in {row_name(number)}. Name each once; pass "
            f"columns of 0 and 1 as an array: np.array(y)."
        )
    return labels


def _split(text: str, number: int) -> list:
    if text.lstrip().startswith("["):
        try:
            return json.loads(text)
        except ValueError as error:
            raise InputError(
                f"Expected a JSON list of labels. Received: "
                f"{short(text)} in {row_name(number)}: {error}."
            ) from error
    return [part.strip() for part in text.split(",") if part.strip()]
