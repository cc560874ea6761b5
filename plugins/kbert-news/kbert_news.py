"""Topics of a news article: the kbert head `news`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

import kbert
from kbert.heads.classification import ClassificationHead
from kbert.utils.checks import check_integer


class NewsHead(ClassificationHead):
    """One topic out of several for a title and a body, and the runners-up.

    A body that is too long keeps its head and its tail, and the title stays
    whole as far as half the room goes; see `kbert.Tokenizer`.

    Reference: Sun et al. 2019, How to Fine-Tune BERT for Text
    Classification, section 5.3.1, https://arxiv.org/abs/1905.05583

    Args:
        labels: see `kbert.Head`.
        top_k: how many topics to answer with, a positive integer; all of
            them if there are fewer labels.
        **options: those of
            `kbert.heads.classification.ClassificationHead`.

    Answers (`serve`): `label`, `score` and `probabilities` as the head
    `classification`; `topics` `(B, k)`, the likeliest labels, best first;
    `topic_scores` float `(B, k)`, their probabilities.

    Departures: the paper cuts one text to its first 128 and last 382 tokens;
    here title and body share the room, and the same part of it goes to the
    tail at any `max_length`.

    Example:

    >>> clf = kbert.Classifier(head="news", max_length=256)
    >>> clf.fit({"title": titles, "body": bodies}, topics)
    >>> next(clf.stream([("Rates held", "The central bank ...")]))["topics"]
    array(['business', 'politics', 'tech'], dtype='<U13')
    """

    name = "news"
    inputs = ("title", "body")
    truncation = "head_tail"
    label_outputs = ("label", "topics")

    def __init__(
        self, labels: list | None = None, top_k: int = 3, **options: Any
    ):
        super().__init__(labels, **options)
        self.top_k = check_integer("top_k", top_k)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"top_k": self.top_k}

    def serve(self, outputs: keras.KerasTensor) -> dict:
        answers = super().serve(outputs)
        scores, topics = ops.top_k(
            answers["probabilities"], min(self.top_k, len(self.labels))
        )  # (B, k)
        return answers | {"topics": topics, "topic_scores": scores}

    def report(self, answers: dict, targets: np.ndarray) -> dict[str, Any]:
        """Adds `top_k` and `top_k_accuracy`, the part of the rows whose
        topic is among the `top_k` answered."""
        found = (answers["topics"] == targets[:, None]).any(axis=1)
        return super().report(answers, targets) | {
            "top_k": int(answers["topics"].shape[1]),
            "top_k_accuracy": float(found.mean()),
        }


@kbert.hookimpl
def register_heads(register):
    register(NewsHead)
