"""Spam or ham: the kbert head `spam`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

import kbert
from kbert.data.labels import LabelFinder
from kbert.data.labels import plain
from kbert.errors import InputError
from kbert.errors import short
from kbert.heads.classification import ClassificationHead
from kbert.utils.checks import check_number

# Log-odds between the threshold and the ham that sets it.
MARGIN = 1e-3

# The highest threshold, where a ham that must not be flagged scores 1.
ABOVE_ONE = float(np.nextafter(np.float32(1), np.float32(2)))


class SpamHead(ClassificationHead):
    """Two classes, and a threshold that few good texts may pass.

    After training, `calibrate` sets the threshold on the validation data,
    from the scores of its `n` ham alone. A new ham scores above number `r`
    of them from the top with probability `r / (n + 1)`. The threshold lies
    just above number `floor(max_false_positive_rate * (n + 1))`, the lowest
    that keeps the rate in the mean, so that within it as much spam is found
    as there is to find.

    Reference: Tong, Feng & Li 2018, Neyman-Pearson classification algorithms
    and NP receiver operating characteristics,
    https://arxiv.org/abs/1608.03109 (thresholds by held-out ranks).

    Args:
        labels: see `kbert.Head`; two of them.
        positive: the label of spam. By default the label that is "spam", in
            any case, or 1 or true.
        max_false_positive_rate: the part of ham that may be called spam, 0
            to 1; None keeps `threshold` as it is.
        threshold: probability from which a text is spam; `fit` replaces it.
        **options: those of
            `kbert.heads.classification.ClassificationHead`.

    Answers (`serve`): `label` `(B,)`, by the threshold; `score` float
    `(B,)`, the probability of spam; `probabilities` float `(B, 2)` in the
    order of `labels`.

    Departures: the paper bounds the rate with high probability; this bounds
    its mean, so that one validation set's threshold may exceed it.
    Below `1 / rate - 1` ham (199 for 0.005) no threshold can promise it;
    it is then above them all. Watch `false_positive_rate` on test data.

    Example:

    >>> clf = kbert.Classifier(head="spam", max_false_positive_rate=0.01)
    >>> clf.fit(texts, labels)  # Sets a tenth aside for the threshold.
    >>> clf.predict(["You have won! Call 0906 now"])
    ['spam']
    """

    name = "spam"
    class_weight = "balanced"
    needs_validation = True

    def __init__(
        self,
        labels: list | None = None,
        positive: str | int | None = None,
        max_false_positive_rate: float | None = 0.005,
        threshold: float = 0.5,
        **options: Any,
    ):
        super().__init__(labels, **options)
        rate = max_false_positive_rate
        if rate is not None:
            rate = check_number("max_false_positive_rate", rate, 0, 1)
        self.positive = positive
        self.max_false_positive_rate = rate
        self.threshold = check_number("threshold", threshold, 0, ABOVE_ONE)
        self.needs_validation = rate is not None
        if self.labels is not None:
            self._find_positive()

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "positive": self.positive,
            "max_false_positive_rate": self.max_false_positive_rate,
            "threshold": self.threshold,
        }

    def adapt(self, y: list) -> None:
        super().adapt(y)
        self._find_positive()

    def _find_positive(self) -> None:
        if len(self.labels) != 2:
            raise InputError(
                f"Expected two labels, spam and not. Received: "
                f"{short(self.labels)}. Use head='classification' for more."
            )
        find = LabelFinder(self.labels)
        if self.positive is None:
            found = [
                label
                for label in self.labels
                if str(label).casefold() == "spam" or label == find(1)
            ]
            if len(found) != 1:
                raise InputError(
                    f"Expected a label 'spam' or 1. Received: "
                    f"{short(self.labels)}. Pass positive=, the label of spam."
                )
            self.positive = found[0]
        elif (found := find(plain(self.positive))) is None:
            raise InputError(
                f"Expected `positive` to be one of {short(self.labels)}. "
                f"Received: positive={short(self.positive)}"
            )
        else:
            self.positive = found

    @property
    def spam_id(self) -> int:
        """Index of `positive` in `labels`."""
        return self.labels.index(self.positive)

    def serve(self, outputs: keras.KerasTensor) -> dict:
        answers = super().serve(outputs)
        score = answers["probabilities"][:, self.spam_id]  # (B,)
        spam = ops.cast(score >= self.threshold, "int32")
        # Index 1 or 0 for spam, and the other one for ham.
        label = spam if self.spam_id == 1 else 1 - spam
        return answers | {"label": label, "score": score}

    def calibrate(self, answers: dict, targets: np.ndarray) -> None:
        if self.max_false_positive_rate is None:
            return
        threshold = choose_threshold(
            answers["score"],
            targets == self.spam_id,
            self.max_false_positive_rate,
        )
        if threshold is not None:
            self.threshold = threshold

    def report(self, answers: dict, targets: np.ndarray) -> dict[str, Any]:
        """Adds `precision`, `recall` and `false_positive_rate` at `threshold`;
        `recall_at_fpr`, the most spam that any threshold finds on these data
        within `max_false_positive_rate`; and `pr_auc`, average precision.
        None stands for what the data leave open.
        """
        from sklearn import metrics

        report = super().report(answers, targets)
        scores, spam = answers["score"], targets == self.spam_id
        flagged = answers["label"] == self.spam_id
        both = 0 < spam.sum() < len(spam)
        reached = None
        if both and self.max_false_positive_rate is not None:
            # A point that is dropped may be the best within the rate.
            fpr, tpr, _ = metrics.roc_curve(
                spam, scores, drop_intermediate=False
            )
            reached = float(tpr[fpr <= self.max_false_positive_rate].max())
        return report | {
            "threshold": self.threshold,
            "precision": _mean(spam[flagged]),
            "recall": _mean(flagged[spam]),
            "false_positive_rate": _mean(flagged[~spam]),
            "max_false_positive_rate": self.max_false_positive_rate,
            "recall_at_fpr": reached,
            "pr_auc": float(metrics.average_precision_score(spam, scores))
            if both
            else None,
        }


def choose_threshold(
    scores: np.ndarray, spam: np.ndarray, rate: float
) -> float | None:
    """The threshold that `SpamHead` describes; `score >= threshold` is spam.

    Args:
        scores: float32 `(rows,)`.
        spam: bool `(rows,)`.
        rate: the part of ham that may be called spam.

    Returns:
        A threshold, above 1 if a ham that must not be flagged scores 1, 0 if
        all ham may be; None without ham or without spam.
    """
    from scipy.special import expit
    from scipy.special import logit

    ham = np.sort(scores[~spam])[::-1]
    if len(ham) == 0 or len(ham) == len(scores):
        return None
    # A hair more, or 0.01 * 299 + 0.01 would count as 2 whole ham.
    rank = int(rate * (len(ham) + 1) + 1e-9)
    if rank > len(ham):
        return 0.0  # All of it may be.
    highest = ham[max(rank - 1, 0)]
    # Above by more than rounding, so that it never depends on the batch.
    threshold = np.float32(expit(logit(highest.astype("float64")) + MARGIN))
    # Near 1 there is no room; above 1 nothing is flagged.
    return float(max(threshold, np.nextafter(highest, np.float32(2))))


def _mean(flags: np.ndarray) -> float | None:
    return float(flags.mean()) if len(flags) else None


@kbert.hookimpl
def register_heads(register):
    register(SpamHead)
