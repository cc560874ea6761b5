"""One label out of several: the head `classification`."""

from __future__ import annotations

from collections import Counter
from typing import Any

import keras
import numpy as np
from keras import ops

from kbert.data.labels import LabelFinder
from kbert.errors import ConfigError
from kbert.heads.adaptive_softmax import AdaptiveSoftmax
from kbert.heads.adaptive_softmax import AdaptiveSoftmaxLoss
from kbert.heads.adaptive_softmax import check_cutoffs
from kbert.heads.adaptive_softmax import choose_cutoffs
from kbert.heads.base import Head
from kbert.heads.base import mean_pool
from kbert.heads.figures import of_decisions
from kbert.heads.transformers_form import TransformersForm
from kbert.utils.checks import check_choice
from kbert.utils.checks import check_flag
from kbert.utils.checks import check_integer
from kbert.utils.checks import check_number

# With more labels, reports leave out the table of all by all.
MOST_CONFUSED = 500

# The vectors of a text.
POOLINGS = ("mean", "cls", "pooler")

# Longer n-grams are hardly seen twice.
LONGEST_NGRAMS = 8


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
        ngrams: characters of the longest n-grams, 1 to 8, of a linear model
            beside the backbone, see `kbert.models.ngrams.NgramModel`; `fit`
            trains both. 0 for none; 4 suits alphabets, 2 Chinese. For few
            labels: each takes 1 MB. Such a model is exported as a SavedModel
            only.
        adaptive_softmax: for many thousands of labels, most of them rare:
            less work and memory in training, see
            `kbert.heads.adaptive_softmax.AdaptiveSoftmax`.
        cutoffs: with it, how many of the most frequent labels are in the
            first cluster, in the first two, and so on; by default a 25th
            and a fifth of the labels.
        label_counts: with it, rows of each label, in the order of `labels`;
            `fit` counts them if None.

    Answers (`serve`): `label` `(B,)`; `score` float `(B,)`, the probability
    of that label; `probabilities` float `(B, labels)` in the order of
    `labels`.

    Departures: the paper pools by `"pooler"`. The default is `"mean"`, which
    every checkpoint has trained weights for. With `adaptive_softmax`,
    training watches the loss in place of the accuracy, which would take the
    probabilities of all labels.

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
        ngrams: int = 0,
        adaptive_softmax: bool = False,
        cutoffs: list[int] | None = None,
        label_counts: list[int] | None = None,
    ):
        super().__init__(labels)
        self.pooling = check_choice("pooling", pooling, POOLINGS)
        self.dropout = check_number("dropout", dropout, 0, 1)
        self.normalize = check_flag("normalize", normalize)
        self.ngrams = check_integer(
            "ngrams",
            ngrams,
            *(0, LONGEST_NGRAMS),
            why=", characters of the longest n-grams",
        )
        self.adaptive_softmax = check_flag("adaptive_softmax", adaptive_softmax)
        self.cutoffs: Any = cutoffs  # None until `adapt`.
        self.label_counts = label_counts
        self._softmax: Any = None  # An AdaptiveSoftmax, when it is built.
        if adaptive_softmax:
            self.monitor = ("val_loss", "min")
        if ngrams:
            self._check_softmax("ngrams")
        self._check_adaptive()

    def _check_softmax(self, option: str) -> None:
        own = type(self).build is not ClassificationHead.build
        if own or not self.exclusive:
            raise ConfigError(
                f"`{option}` is for heads that end in a softmax over the "
                f"labels. Received: the head {self.name!r}, which ends in "
                f"something else."
            )

    def _check_adaptive(self) -> None:
        if not self.adaptive_softmax:
            for name in ("cutoffs", "label_counts"):
                if getattr(self, name) is not None:
                    raise ConfigError(
                        f"`{name}` is for adaptive_softmax=True. Received: "
                        f"adaptive_softmax={self.adaptive_softmax!r}"
                    )
            return
        self._check_softmax("adaptive_softmax")
        if self.ngrams:
            raise ConfigError(
                "`adaptive_softmax` is for many labels and `ngrams` for few. "
                "Received: both. Leave one out."
            )
        if self.cutoffs is not None:
            known = None if self.labels is None else len(self.labels)
            self.cutoffs = check_cutoffs(self.cutoffs, known)
        elif self.labels is not None:
            self.cutoffs = choose_cutoffs(len(self.labels))
        counts = self.label_counts
        if counts is not None and (
            self.labels is None
            or len(counts) != len(self.labels)
            or any(type(count) is not int or count < 0 for count in counts)
        ):
            raise ConfigError(
                f"`label_counts` must have an integer of 0 or more for each "
                f"of `labels`. Received: {len(counts)} of them for "
                f"{len(self.labels or ())} labels."
            )

    @property
    def ready(self) -> bool:
        known = not self.adaptive_softmax or self.label_counts is not None
        return super().ready and known

    def adapt(self, y: list) -> None:
        super().adapt(y)
        if self.adaptive_softmax and self.label_counts is None:
            find = LabelFinder(self.labels)
            counts = Counter(find(label) for label in y)
            self.label_counts = [counts[label] for label in self.labels]
            self._check_adaptive()

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "pooling": self.pooling,
            "dropout": self.dropout,
            "normalize": self.normalize,
            "ngrams": self.ngrams,
            "adaptive_softmax": self.adaptive_softmax,
            "cutoffs": self.cutoffs,
            "label_counts": self.label_counts,
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
        if self.adaptive_softmax:
            order = np.argsort(-np.array(self.label_counts), kind="stable")
            self._softmax = AdaptiveSoftmax(
                order.tolist(),
                self.cutoffs,
                dtype="float32",
                name="adaptive_softmax",
            )
            return self._softmax(self.pool(features))  # (B, H)
        logits = keras.layers.Dense(
            len(self.labels),
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            dtype="float32",  # The loss is taken in float32 at any precision.
            name="logits",
        )(self.pool(features))  # (B, labels)
        return logits + features["ngram_logits"] if self.ngrams else logits

    def loss(self) -> keras.losses.Loss:
        if self.adaptive_softmax:
            return AdaptiveSoftmaxLoss(self._softmax)
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def metrics(self) -> list:
        if self.adaptive_softmax:
            return []
        return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]

    def serve(self, outputs: keras.KerasTensor) -> dict:
        if self.adaptive_softmax:
            probabilities = ops.exp(self._softmax(outputs, answer=True))
        else:
            probabilities = ops.softmax(outputs)  # (B, labels)
        return {
            "label": ops.argmax(probabilities, axis=-1),  # (B,)
            "score": ops.max(probabilities, axis=-1),  # (B,)
            "probabilities": probabilities,
        }

    def transformers_form(self) -> TransformersForm | None:
        # No class of transformers for BERT pools so, or has clusters.
        if self.pooling == "mean" or self.adaptive_softmax:
            return None
        return TransformersForm(
            "BertForSequenceClassification",
            {"logits": "classifier"},
            pooler="linear" if self.pooling == "cls" else "trained",
        )

    def report(self, answers: dict, targets: np.ndarray) -> dict[str, Any]:
        """`accuracy`, what `kbert.heads.figures.of_counts` gives, and for up
        to 500 labels `confusion_matrix`."""
        # Imported here: scikit-learn costs a second, which `--help` and
        # `predict` need not pay.
        from sklearn.metrics import confusion_matrix

        predicted = answers["label"]
        report = {
            "accuracy": float(np.mean(targets == predicted)),
            **of_decisions(targets, predicted, self.labels),
        }
        if len(self.labels) <= MOST_CONFUSED:
            report["confusion_matrix"] = confusion_matrix(
                targets, predicted, labels=range(len(self.labels))
            ).tolist()
        return report
