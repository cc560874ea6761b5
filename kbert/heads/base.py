"""What a task head is: the part of a model above the backbone.

A head is a plain object. It learns its labels from the training data, adds
layers to the backbone's features, brings its loss and metrics, and turns the
layers' outputs into answers. Nothing else in kbert knows the task.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.heads.forms import TransformersForm


class Head:
    """Base class of task heads.

    A subclass sets `name`, implements the methods below that raise
    `NotImplementedError`, and is registered by the hook `register_heads`.
    Whatever it learns (labels, a threshold) it keeps in attributes named as
    its constructor arguments and returns from `get_config`, so that
    `type(head)(**head.get_config())` is the same head.

    Attributes:
        name: what `Classifier(head=...)` takes.
        inputs: names of the texts of one row, one or two.
        truncation: `"head"` or `"head_tail"`, see `kbert.Tokenizer`.
        monitor: what early stopping and best weights watch, with its
            direction, `"max"` or `"min"`.
        class_weight: default of `fit(class_weight=)`.
        needs_validation: whether `calibrate` needs data that was not trained
            on; then `fit` sets a tenth aside if none is given.
        label_outputs: which outputs of `serve` are indices into `labels`;
            the caller turns them into label names.

    Args:
        labels: the class labels in order, strings or integers; learned from
            the training labels if None.

    Example:

    >>> class MyHead(kbert.Head):
    ...     name = "mine"
    ...     # build, loss, metrics, encode, serve, report
    >>> kbert.testing.check_head(MyHead)
    """

    name: str
    inputs: tuple[str, ...] = ("text",)
    truncation: str = "head"
    monitor: tuple[str, str] = ("val_loss", "min")
    class_weight: dict | str | None = None
    needs_validation: bool = False
    label_outputs: tuple[str, ...] = ("label",)

    def __init__(self, labels: list | None = None):
        self.labels = None if labels is None else check_labels(labels)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, as JSON can hold them."""
        return {"labels": self.labels}

    # === Data ===

    def adapt(self, y: list) -> None:
        """Learn from the training labels, before the model is built.

        Args:
            y: labels as the user gave them, strings or integers.

        Raises:
            InputError: the labels do not suit the head.
        """
        if self.labels is None:
            self.labels = check_labels(_sorted(set(y)))

    def encode(self, y: list) -> np.ndarray:
        """Training targets of labels; by default int32 indices `(rows,)`.

        Raises:
            InputError: a label was not among the training labels.
        """
        index = {label: i for i, label in enumerate(self.labels)}
        unseen = [(i, label) for i, label in enumerate(y) if label not in index]
        if unseen:
            row, label = unseen[0]
            raise InputError(
                f"Expected one of the labels {_short(self.labels)}. Received: "
                f"{label!r} in row {row}, and {len(unseen) - 1} more such "
                f"rows. Remove them, or train with them."
            )
        return np.array([index[label] for label in y], "int32")

    # === Model ===

    def build(self, features: dict[str, keras.KerasTensor]) -> Any:
        """Add layers to the backbone's features.

        Args:
            features: `sequence_output` float `(B, T, H)`, `pooled_output`
                float `(B, H)`, `padding_mask` bool `(B, T)`.

        Returns:
            The outputs that `loss` and `serve` take, such as logits.
        """
        raise NotImplementedError

    def loss(self) -> Any:
        """The Keras loss of `encode`'s targets and `build`'s outputs."""
        raise NotImplementedError

    def metrics(self) -> list:
        """Keras metrics to show while training."""
        return []

    # === Answers ===

    def serve(self, outputs: Any) -> dict[str, Any]:
        """Answers of a batch, in `keras.ops`.

        The same code runs in `predict` and inside the exported graph. Each
        output has the batch as its first dimension; those named in
        `label_outputs` are int indices into `labels`.
        """
        raise NotImplementedError

    def calibrate(
        self, answers: dict[str, np.ndarray], targets: np.ndarray
    ) -> None:
        """Learn from answers on validation data, after training.

        Args:
            answers: what `serve` gives for the validation data.
            targets: what `encode` gives for its labels.
        """

    def transformers_form(self) -> TransformersForm | None:
        """The class of transformers that computes the same outputs.

        Returns:
            None if there is none, as the base class says.
        """
        return None

    def report(
        self, answers: dict[str, np.ndarray], targets: np.ndarray
    ) -> dict[str, Any]:
        """Metrics of `Classifier.evaluate`, as JSON can hold them."""
        raise NotImplementedError


def mean_pool(features: dict[str, keras.KerasTensor]) -> keras.KerasTensor:
    """Mean of the real tokens' features, `(B, T, H)` to `(B, H)`.

    Reference: Reimers & Gurevych 2019, Sentence-BERT, section 3.
    """
    x = features["sequence_output"]
    mask = keras.ops.cast(features["padding_mask"], x.dtype)[:, :, None]
    return keras.ops.sum(x * mask, axis=1) / keras.ops.sum(mask, axis=1)


def check_labels(labels: list) -> list:
    """`labels` as a list, if they are two or more distinct names.

    Raises:
        ConfigError: labels repeat, or are not all strings or all integers.
        InputError: there are fewer than two.
    """
    labels = [x.item() if isinstance(x, np.generic) else x for x in labels]
    kinds = {type(label) for label in labels}
    if not (kinds <= {str} or kinds <= {int}):
        raise ConfigError(
            "Labels must be all strings or all integers. Received: "
            f"{_short(labels)}"
        )
    if len(set(labels)) < len(labels):
        raise ConfigError(f"Labels must differ. Received: {_short(labels)}")
    if len(labels) < 2:
        raise InputError(
            "Expected at least two different labels. Received: "
            f"{_short(labels)}. A classifier needs examples of each class."
        )
    return labels


def _sorted(labels: set) -> list:
    # Mixed kinds cannot be compared; `check_labels` says so properly.
    return sorted(labels, key=lambda x: (type(x).__name__, x))


def _short(labels: list, limit: int = 10) -> str:
    text = ", ".join(repr(label) for label in labels[:limit])
    return f"[{text}, ...]" if len(labels) > limit else f"[{text}]"
