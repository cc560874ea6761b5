"""Sentiment in ordered levels: the kbert head `sentiment`."""

from __future__ import annotations

import math
import re
from typing import Any

import keras
import numpy as np
from keras import ops

import kbert
from kbert.errors import InputError
from kbert.errors import short
from kbert.heads.classification import ClassificationHead

# What recognised words say; "very" doubles it and "slightly" halves it.
POLARITY = {
    "negative": -1, "neg": -1, "bad": -1, "poor": -1,
    "neutral": 0, "neu": 0, "mixed": 0, "ok": 0, "okay": 0, "average": 0,
    "positive": 1, "pos": 1, "good": 1,
    "terrible": -2, "awful": -2, "great": 2, "excellent": 2,
}  # fmt: skip
DEGREE = {
    "very": 2, "strongly": 2, "extremely": 2, "highly": 2,
    "slightly": 0.5, "somewhat": 0.5, "weakly": 0.5, "mildly": 0.5,
}  # fmt: skip


class SentimentHead(ClassificationHead):
    """Two, three or five levels from most negative to most positive.

    The text gets one score `s`, and ordered cut points `c` lie on the same
    line: `P(level > k) = sigmoid(s - c[k])`. The loss is the likelihood of
    that model, so mistaking the neighbouring level costs less than the far
    end.

    References:
        McCullagh 1980, Regression models for ordinal data (proportional
        odds)
        Cao, Mirjalili & Raschka 2020, Rank consistent ordinal regression for
        neural networks (CORAL), https://arxiv.org/abs/1901.07884

    Args:
        labels: the levels in order, from most negative to most positive. If
            None they are ordered by `fit`: numbers by size; names if they
            are well known, such as negative, neutral, positive.
        **options: those of
            `kbert.heads.classification.ClassificationHead`.

    Answers (`serve`): `label` `(B,)`, the likeliest level; `score` float
    `(B,)`, the expected level, from -1 for the first label to 1 for the last;
    `probabilities` float `(B, levels)` in the order of `labels`.

    Departures: CORAL sums binary losses and leaves the order of its cut
    points to the training. Here each cut point is the one before plus a
    softplus, so no probability is ever negative, and the loss is the exact
    likelihood.

    Example:

    >>> clf = kbert.Classifier(head="sentiment", labels=["1", "2", "3"])
    >>> clf.fit(texts, labels)
    >>> next(clf.stream(["What a day"]))["score"]
    0.87
    """

    name = "sentiment"

    def __init__(self, labels: list | None = None, **options: Any):
        super().__init__(labels, **options)
        if self.labels is not None:
            _check_levels(self.labels)

    def adapt(self, y: list) -> None:
        if self.labels is None:
            super().adapt(y)
            _check_levels(self.labels)
            self.labels = order(self.labels)

    def build(self, features: dict) -> keras.KerasTensor:
        return OrderedLevels(
            len(self.labels), dtype="float32", name="ordered_levels"
        )(self.pool(features))  # (B, levels)

    def serve(self, outputs: keras.KerasTensor) -> dict:
        answers = super().serve(outputs)
        # Of NumPy: exporters take a backend's tensors for inputs.
        values = np.linspace(-1, 1, len(self.labels), dtype="float32")
        score = ops.sum(answers["probabilities"] * values, axis=-1)  # (B,)
        return answers | {"score": score}

    def report(self, answers: dict, targets: np.ndarray) -> dict[str, Any]:
        """Adds `mean_absolute_error`, in levels, and
        `quadratic_weighted_kappa`, None where it is undefined."""
        report = super().report(answers, targets)
        table = np.array(report["confusion_matrix"])  # (levels, levels)
        levels = np.arange(len(table))
        distance = (levels[:, None] - levels) ** 2
        chance = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
        # Cohen 1968: the disagreement over that of independent answers.
        kappa = None
        if (distance * chance).any():
            kappa = 1 - (distance * table).sum() / (distance * chance).sum()
        error = np.abs(answers["label"] - targets)
        return report | {
            "mean_absolute_error": float(error.mean()),
            "quadratic_weighted_kappa": None if kappa is None else float(kappa),
        }


@keras.saving.register_keras_serializable("kbert_sentiment")
class OrderedLevels(keras.layers.Layer):
    """Log-probabilities of ordered levels, `(B, H)` to `(B, levels)`.

    They are the logits of their own softmax, so that a categorical
    cross-entropy takes them.

    Args:
        levels: how many there are, at least 2.
    """

    # Fine-tuning moves a weight by some 1e-5 a step, far too little for a
    # cut point: its value is this many times the weight.
    SCALE = 200.0

    # Two units between cut points at first, so that a middle level can win.
    GAP = math.log(math.expm1(2.0))

    def __init__(self, levels: int, **kwargs):
        super().__init__(**kwargs)
        self.levels = levels

    def build(self, input_shape):
        self.kernel = self.add_weight(
            shape=(input_shape[-1], 1),
            initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            name="kernel",
        )
        self.bias = self.add_weight(
            shape=(self.levels - 1,), initializer="zeros", name="bias"
        )

    def call(self, inputs):
        # The gradient is that of the weight, or clipping would see 200-fold.
        bias = self.bias + ops.stop_gradient((self.SCALE - 1) * self.bias)
        gaps = bias[1:] + self.GAP  # (levels - 2,), before softplus
        first = bias[:1] - (self.levels - 2)  # In the middle, as a whole.
        cuts = ops.cumsum(ops.concatenate([first, ops.softplus(gaps)]))
        # Scaled, since one kernel must move the score past all the cuts in
        # the steps that a softmax has for a kernel a level.
        score = self.levels * ops.matmul(inputs, self.kernel)  # (B, 1)
        x = score - cuts  # (B, levels - 1)
        above = ops.pad(ops.log_sigmoid(x), [[0, 0], [1, 0]])  # (B, levels)
        below = ops.pad(ops.log_sigmoid(-x), [[0, 0], [0, 1]])
        # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)),
        # and the last factor is sigmoid(gap) where a - b is softplus(gap).
        return above + below + ops.pad(ops.log_sigmoid(gaps), [[1, 1]])

    def get_config(self):
        return super().get_config() | {"levels": self.levels}


def order(labels: list) -> list:
    """Labels from most negative to most positive.

    Raises:
        InputError: they are neither numbers nor well-known names.

    Example:

    >>> order(["neutral", "positive", "negative"])
    ['negative', 'neutral', 'positive']
    """
    for value in (_number, _polarity):
        values = [value(label) for label in labels]
        if None not in values and len(set(values)) == len(values):
            return [labels[i] for i in np.argsort(values)]
    raise InputError(
        "Expected numbers or well-known names such as 'negative', 'neutral' "
        f"and 'positive'. Received: {short(labels)}. Pass labels=, in order "
        f"from most negative to most positive."
    )


def _number(label: str | int) -> float | None:
    # Labels from a file are strings.
    found = re.fullmatch(r"[+-]?\d+(\.\d+)?", str(label).strip())
    return float(found[0]) if found else None


def _polarity(label: str | int) -> float | None:
    *degrees, word = re.split(r"[\s_-]+", str(label).strip().casefold())
    if word not in POLARITY or not DEGREE.keys() >= set(degrees):
        return None
    return math.prod([POLARITY[word], *(DEGREE[d] for d in degrees)])


def _check_levels(labels: list) -> None:
    if len(labels) not in (2, 3, 5):
        raise InputError(
            "Expected 2, 3 or 5 levels of sentiment. Received: "
            f"{len(labels)}, {short(labels)}. Merge levels, or use "
            f"head='classification'."
        )


@kbert.hookimpl
def register_heads(register):
    register(SentimentHead)
