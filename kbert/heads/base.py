"""What a task head is: the part of a model above the backbone.

A head is a plain object. It reads what it is taught from the training data,
adds layers to the backbone's features, brings its loss and metrics, and turns
the layers' outputs into answers. Nothing else in kbert knows the task.

    texts, read, adapt, encode, align     data to targets
    build, loss, metrics                  the model
    serve, finish, rows                   outputs to answers
    decide, evidence                      outputs to what explains them
    calibrate, report                     answers beside targets
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kbert.data.answers import name_labels
from kbert.data.answers import rows_of
from kbert.data.labels import LabelFinder
from kbert.data.labels import check_labels
from kbert.data.labels import distinct
from kbert.data.row_names import row_name
from kbert.data.texts import as_labels
from kbert.data.texts import as_texts
from kbert.errors import InputError
from kbert.errors import PluginError
from kbert.errors import short
from kbert.heads.transformers_form import TransformersForm


class Head:
    """Base class of task heads.

    A subclass sets `name`, implements the methods below that raise
    `NotImplementedError`, and is registered by the hook `register_heads`.
    Whatever it learns (labels, a threshold) it keeps in attributes named as
    its constructor arguments and returns from `get_config`, so that
    `type(head)(**head.get_config())` is the same head.

    Attributes:
        name: what `Classifier(head=...)` takes.
        model_class: name of the `kbert` class that makes and loads its models.
        inputs: names of the texts of one row, one or two.
        truncation: `"head"` or `"head_tail"`, see `kbert.Tokenizer`.
        monitor: what early stopping and best weights watch, with its
            direction, `"max"` or `"min"`.
        class_weight: default of `fit(class_weight=)`.
        needs_validation: whether `calibrate` needs data that was not trained
            on; then `fit` sets a tenth aside if none is given.
        label_outputs: which answers are indices into `labels`; the caller
            turns them into label names, and -1 into an empty string.
        answer_output: which of a row's answers `Classifier.predict` gives:
            the first of `kbert.data.answers.OUTPUTS` that there is.
        exclusive: whether a row has one label, so that `probabilities` sum
            to 1 over the labels.
        least_labels: how few labels there may be.
        overlap: None for heads that answer a text as a whole; it is cut to
            `max_length` tokens. A number for heads that answer tokens: a
            long text is read in windows that share so many tokens, `serve`
            answers tokens and `finish` texts.
        ngrams: characters of the longest n-grams of a linear model, see
            `kbert.models.ngrams.NgramModel`, whose logits `build` takes; 0 for
            none.
        file_format: the format, of `kbert.data.files.FORMATS`, that the head's
            training files have; None for any table.

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
    model_class: str = "Classifier"
    inputs: tuple[str, ...] = ("text",)
    truncation: str = "head"
    monitor: tuple[str, str] = ("val_loss", "min")
    class_weight: dict | str | None = None
    needs_validation: bool = False
    label_outputs: tuple[str, ...] = ("label",)
    answer_output: str = "label"
    exclusive: bool = True
    least_labels: int = 2
    by_token: bool = False
    ngrams: int = 0
    file_format: str | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "front" in vars(cls):
            raise PluginError(
                f"Expected `model_class`, as `front` is called now. Received: "
                f"{cls.__name__} with `front`. Rename it."
            )
        if hasattr(cls, "overlap") and not cls.by_token:
            raise PluginError(
                f"Expected a head that answers tokens to derive from "
                f"kbert.heads.tokens.TokenHead. Received: {cls.__name__} with "
                f"`overlap`, which derives from kbert.Head."
            )

    def __init__(self, labels: list | None = None):
        # A list of strings or integers; None until they are known.
        self.labels: Any = (
            None if labels is None else check_labels(labels, self.least_labels)
        )

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, as JSON can hold them.

        Example:

        >>> kbert.Head(["no", "yes"]).get_config()
        {'labels': ['no', 'yes']}
        """
        return {"labels": self.labels}

    def __reduce__(self) -> tuple:
        # Without the layers of a model: a copy builds its own.
        return _made, (type(self), self.get_config())

    @property
    def ready(self) -> bool:
        """Whether enough is known to `build`; by default the labels."""
        return self.labels is not None

    # === Data ===

    def texts(self, x: Any, names: tuple[str, ...]) -> list[list]:
        """Texts as users have them, as one list of texts a column.

        Args:
            x: what was given to `fit` or `predict`.
            names: names of the texts of a row.

        Raises:
            InputError: `x` has no texts of a form that the head takes.

        Example:

        >>> kbert.Head().texts([("a", "b"), ("c", "d")], ("one", "other"))
        [['a', 'c'], ['b', 'd']]
        """
        return as_texts(x, names)

    def read(self, y: Any, columns: list[list]) -> list:
        """Labels as users have them, as a checked list with one a row.

        Args:
            y: what was given to `fit`, by default a label a row, strings or
                integers in any usual form; or cells of a file.
            columns: what `texts` gave.

        Raises:
            InputError: a row has no label, or one that does not suit its
                text. The message gives the row number, from 0.

        Example:

        >>> kbert.Head().read(np.array([0, 1]), [["a", "b"]])
        [0, 1]
        """
        return as_labels(y, len(columns[0]))

    def adapt(self, y: list) -> None:
        """Learn from the training labels, before the model is built.

        Args:
            y: what `read` gave.

        Raises:
            InputError: the labels do not suit the head.

        Example:

        >>> head = kbert.Head()
        >>> head.adapt(["yes", "no", "yes"])
        >>> head.labels
        ['no', 'yes']
        """
        if self.labels is None:
            self.labels = check_labels(distinct(y), self.least_labels)

    def encode(self, y: list) -> Any:
        """Targets of labels; by default int32 indices `(rows,)`.

        Args:
            y: what `read` gave.

        Returns:
            One target a row, an array `(rows, ...)` or a list. `calibrate`
            and `report` take them, and the loss what `align` makes of them.

        Raises:
            InputError: a label was not among the training labels.

        Example:

        >>> kbert.Head(["no", "yes"]).encode(["yes", "no"])
        array([1, 0], dtype=int32)
        """
        find = LabelFinder(self.labels)
        found = [find(label, row) for row, label in enumerate(y)]
        unseen = [(i, y[i]) for i, label in enumerate(found) if label is None]
        if unseen:
            row, label = unseen[0]
            others = len(unseen) - 1
            more = f", and {others:,} more such row(s)" if others else ""
            raise InputError(
                f"Expected one of the labels {short(self.labels)}. Received: "
                f"{short(label)} in {row_name(row)}{more}. Remove such rows, "
                f"or train with that label."
            )
        index = {label: i for i, label in enumerate(self.labels)}
        return np.array([index[label] for label in found], "int32")

    def strata(self, y: list) -> list | None:
        """The labels of each row, which rows set aside are in proportion of.

        Args:
            y: what `read` gave.

        Returns:
            A collection a row; None if there is nothing to keep proportions
            of.

        Example:

        >>> kbert.Head().strata(["yes", "no"])
        [('yes',), ('no',)]
        """
        if all(isinstance(label, str | int) for label in y):
            return [(label,) for label in y]
        return None

    # === Model ===

    def build(self, features: dict[str, keras.KerasTensor]) -> Any:
        """Add layers to the backbone's features.

        Args:
            features: `sequence_output` float `(B, T, H)`, `pooled_output`
                float `(B, H)`, `padding_mask` bool `(B, T)`; and with
                `ngrams` `ngram_logits` float `(B, labels)`.

        Returns:
            The outputs that `loss` and `serve` take, such as logits.

        Example:

        >>> ClassificationHead(["no", "yes"]).build(features).shape
        (None, 2)
        """
        raise NotImplementedError

    def loss(self) -> Any:
        """The Keras loss of the targets and `build`'s outputs.

        Example:

        >>> ClassificationHead(["no", "yes"]).loss().name
        'sparse_categorical_crossentropy'
        """
        raise NotImplementedError

    def metrics(self) -> list:
        """Keras metrics to show while training.

        Example:

        >>> head = ClassificationHead(["no", "yes"])
        >>> [metric.name for metric in head.metrics()]
        ['accuracy']
        """
        return []

    # === Answers ===

    def serve(self, outputs: Any) -> dict[str, Any]:
        """Answers of a batch, in `keras.ops`.

        The same code runs in `predict` and inside the exported graph. Each
        output has the batch as its first dimension, and for heads that answer
        tokens those as its second; those named in `label_outputs` are int
        indices into `labels`.

        Example:

        >>> head = ClassificationHead(["no", "yes"])
        >>> head.serve(np.array([[0.0, 2.0]], "float32"))["label"]
        <tf.Tensor: shape=(1,), dtype=int32, numpy=array([1], dtype=int32)>
        """
        raise NotImplementedError

    def name_labels(self, answers: dict[str, np.ndarray]) -> dict:
        """Label names in place of the indices that `label_outputs` says.

        Example:

        >>> head = ClassificationHead(["no", "yes"])
        >>> head.name_labels({"label": np.array([1])})
        {'label': array(['yes'], dtype=object)}
        """
        return name_labels(answers, self.labels, self.label_outputs)

    def rows(self, answers: dict[str, np.ndarray]) -> list[dict[str, Any]]:
        """The answers of each row for people, with names for labels.

        `Classifier.stream` and the command give these rows, and
        `Classifier.predict` what they have under `answer_output`; see
        `kbert.data.answers`, where every other way to ask has them from.

        Args:
            answers: what `serve`, or `finish`, gave; strings are bytes.

        Example:

        >>> head = ClassificationHead(["no", "yes"])
        >>> head.rows({"label": np.array([1, 0])})
        [{'label': 'yes'}, {'label': 'no'}]
        """
        return rows_of(self.name_labels(answers))

    def calibrate(self, answers: dict[str, np.ndarray], targets: Any) -> None:
        """Learn from answers on validation data, after training.

        Args:
            answers: what `serve`, or `finish`, gives for the validation data.
            targets: what `encode` gives for its labels.

        Example:

        >>> ClassificationHead(["no", "yes"]).calibrate({}, None)  # Has none.
        """

    def transformers_form(self) -> TransformersForm | None:
        """The class of transformers that computes the same outputs.

        Returns:
            None if there is none, as the base class says.

        Example:

        >>> head = ClassificationHead(["no", "yes"], pooling="pooler")
        >>> head.transformers_form().architecture
        'BertForSequenceClassification'
        """
        return None

    def report(
        self, answers: dict[str, np.ndarray], targets: Any
    ) -> dict[str, Any]:
        """Metrics of `Classifier.evaluate`, as JSON can hold them.

        Example:

        >>> head = ClassificationHead(["no", "yes"])
        >>> answers = {
        ...     "label": np.array([0, 1]),
        ...     "probabilities": np.array([[0.9, 0.1], [0.2, 0.8]]),
        ... }
        >>> head.report(answers, np.array([0, 0]))["accuracy"]
        0.5
        """
        raise NotImplementedError


def _made(cls: type[Head], config: dict[str, Any]) -> Head:
    return cls(**config)


def mean_pool(features: dict[str, keras.KerasTensor]) -> keras.KerasTensor:
    """Mean of the real tokens' features, `(B, T, H)` to `(B, H)`.

    Reference: Reimers & Gurevych 2019, Sentence-BERT, section 3.
    """
    # Sums of many tokens leave half precision behind.
    x = keras.ops.cast(features["sequence_output"], "float32")
    mask = keras.ops.cast(features["padding_mask"], "float32")[:, :, None]
    return keras.ops.sum(x * mask, axis=1) / keras.ops.sum(mask, axis=1)
