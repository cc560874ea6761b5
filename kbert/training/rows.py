"""Rows to train and to validate on, of what people pass to `fit`."""

from __future__ import annotations

from typing import Any

import numpy as np

from kbert.data.labels import LabelFinder
from kbert.data.row_names import rows_of
from kbert.errors import InputError
from kbert.pipeline.names import refuse_answers
from kbert.pipeline.text_model import TextModel
from kbert.training.class_weight import label_weights
from kbert.training.examples import Rows
from kbert.training.reading import either
from kbert.training.reading import no_weights
from kbert.training.reading import read_examples
from kbert.training.reading import unpack
from kbert.training.sample_weight import read_sample_weight
from kbert.training.split import split
from kbert.utils.finite import LARGEST

# Set aside for a head that needs validation data when none is given.
HELD_OUT = 0.1


def labelled_rows(
    task: TextModel,
    data: tuple,
    validation_data: Any,
    validation_split: float,
    class_weight: dict | str | None,
    sample_weight: Any,
    seed: int,
) -> tuple[Rows, Rows | None]:
    """Rows to train and to validate on; the task's model is built by then.

    Args:
        task: the task; what its head does not know yet, it learns.
        data: `(x, y)`, of any usual form.
        validation_data: the same, or None.
        validation_split: part of the rows to set aside otherwise; a tenth
            for a head that needs some.
        class_weight: see `kbert.Classifier.fit`.
        sample_weight: see `kbert.Classifier.fit`.
        seed: which rows are set aside.
    """
    columns, labels, weight = read_examples(task, *data)
    with rows_of(data[0]):
        learn(task, labels)
        targets = task.head.encode(labels)
        weight = _weights(
            task, labels, class_weight, either(sample_weight, weight)
        )
    rows = Rows(columns, targets, weight)
    if validation_data is not None:
        return rows, read_held_out(task, validation_data)
    if not validation_split and task.head.needs_validation:
        validation_split = HELD_OUT
    return split(rows, task.head.strata(labels), validation_split, seed)


def learn(task: TextModel, labels: list) -> None:
    """Have the head learn from the labels, and build the model if there is
    none."""
    if task.model is None:
        task.head.adapt(labels)
        task.build()
        refuse_answers(task.inputs, task.serving_model.output, task.head)


def read_held_out(task: TextModel, data: Any) -> Rows:
    """Rows of `validation_data`, of a task that is built.

    Raises:
        InputError: it is no `(texts, labels)` and no dataset, or its labels
            are not those of the training data.
    """
    x, y, weight = unpack(data, "`validation_data`")
    if weight is not None:
        raise no_weights("validation")
    with rows_of(x, "validation_data"):
        columns, labels, weight = read_examples(task, x, y)
        if weight is not None:
            raise no_weights("validation")
        return Rows(columns, task.head.encode(labels))


def _weights(task, labels, class_weight, sample_weight):
    """One weight a row, the product of both kinds, or None."""
    by_label = label_weights(task.head, labels, class_weight)
    weight = np.ones(len(labels), "float32")
    if not by_label and sample_weight is None:
        return None
    if by_label:
        find = LabelFinder(by_label)
        weight = np.array([by_label[find(label)] for label in labels])
    if sample_weight is not None:
        sample_weight = read_sample_weight(sample_weight, len(labels))
        weight = weight * sample_weight.astype("float64")
    if weight.max() > LARGEST or not weight.astype("float32").any():
        raise InputError(
            f"Expected rows to weigh more than 0, and no more than float32 "
            f"holds. Received: weights that are {weight.max():g} at most, by "
            f"row and by label together. Correct one of them."
        )
    return weight.astype("float32")
