"""One label out of several: the head `classification`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kbert.errors import ConfigError
from kbert.heads.base import Head
from kbert.heads.base import mean_pool
from kbert.heads.forms import TransformersForm


class ClassificationHead(Head):
    """Softmax over the labels, on one vector of the text.

    Reference: Devlin et al. 2018, section 4.1.

    Args:
        labels: see `kbert.Head`.
        pooling: the vector: `"mean"` of the tokens, `"cls"` for the first
            token, `"pooler"` for the first token through the pretrained
            tanh layer.
        dropout: rate on that vector, 0 to 1.
        normalize: whether that vector is scaled to length 1; training from
            few examples sets it.

    Answers (`serve`): `label` `(B,)`; `score` float `(B,)`, the probability
    of that label; `probabilities` float `(B, labels)` in the order of
    `labels`.

    Departures: the paper pools by `"pooler"`. The default is `"mean"`, which
    every checkpoint has trained weights for.

    Example:

    >>> clf = kbert.Classifier(head="classification", pooling="cls")
    """

    name = "classification"
    monitor = ("val_accuracy", "max")

    def __init__(
        self,
        labels: list | None = None,
        pooling: str = "mean",
        dropout: float = 0.1,
        normalize: bool = False,
    ):
        super().__init__(labels)
        if pooling not in ("mean", "cls", "pooler"):
            raise ConfigError(
                "`pooling` must be 'mean', 'cls' or 'pooler'. Received: "
                f"pooling={pooling!r}"
            )
        self.pooling = pooling
        self.dropout = dropout
        self.normalize = normalize

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "pooling": self.pooling,
            "dropout": self.dropout,
            "normalize": self.normalize,
        }

    def pool(self, features: dict) -> keras.KerasTensor:
        """One vector of the text, `(B, H)`, after dropout."""
        if self.pooling == "mean":
            x = mean_pool(features)
        elif self.pooling == "cls":
            x = features["sequence_output"][:, 0]
        else:
            x = features["pooled_output"]
        if self.normalize:
            x = ops.normalize(ops.cast(x, "float32"), axis=-1)
        return keras.layers.Dropout(self.dropout, name="head_dropout")(x)

    def build(self, features: dict) -> keras.KerasTensor:
        return keras.layers.Dense(
            len(self.labels),
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            dtype="float32",  # The loss is taken in float32 at any precision.
            name="logits",
        )(self.pool(features))  # (B, labels)

    def loss(self) -> keras.losses.Loss:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def metrics(self) -> list:
        return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]

    def serve(self, outputs: keras.KerasTensor) -> dict:
        probabilities = ops.softmax(outputs)  # (B, labels)
        return {
            "label": ops.argmax(probabilities, axis=-1),  # (B,)
            "score": ops.max(probabilities, axis=-1),  # (B,)
            "probabilities": probabilities,
        }

    def transformers_form(self) -> TransformersForm | None:
        if self.pooling == "mean":
            return None  # No class of transformers for BERT pools so.
        return TransformersForm(
            "BertForSequenceClassification",
            {"logits": "classifier"},
            linear_pooler=self.pooling == "cls",
        )

    def report(self, answers: dict, targets: np.ndarray) -> dict[str, Any]:
        # Imported here: scikit-learn costs a second, which `--help` and
        # `predict` need not pay.
        from sklearn import metrics

        names = [str(label) for label in self.labels]
        ids = range(len(names))
        predicted = answers["label"]
        table = metrics.classification_report(
            targets,
            predicted,
            labels=ids,
            target_names=names,
            output_dict=True,
            zero_division=0,
        )
        return {
            "accuracy": float(metrics.accuracy_score(targets, predicted)),
            "macro_f1": float(table["macro avg"]["f1-score"]),
            "per_class": {name: table[name] for name in names},
            "confusion_matrix": metrics.confusion_matrix(
                targets, predicted, labels=ids
            ).tolist(),
        }
