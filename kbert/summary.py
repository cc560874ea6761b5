"""Extractive summary: the sentences nearest to what all the others say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from kbert.data.sentences import split_sentences
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.errors import short
from kbert.utils.checks import check_integer
from kbert.utils.checks import suggests

if TYPE_CHECKING:
    from kbert.embedder import Embedder

# Weight of what a sentence says against its likeness to those chosen.
NOVELTY = 0.7

# Part of a sentence's score that every sentence has, as in PageRank.
TELEPORT = 0.15

# Iterations; the scores of any text have settled long before.
ITERATIONS = 100


@suggests
def summarize(
    text: str, sentences: int = 3, embedder: Embedder | None = None
) -> list[str]:
    """The sentences of a text that say most of it, in their order.

    It picks, it does not write: nothing is rephrased, and a sentence may
    refer to one that was left out. The choice knows meaning by the
    embedder's vectors alone, nothing of truth or of what matters to a
    reader. In news, the first sentences are a hard summary to beat.

    A sentence's score is its centrality: PageRank on the graph of the
    sentences, whose edges are the cosines of their vectors, without those
    below 0. Of sentences of like score the one that repeats less of those
    already chosen wins.

    References:
        Erkan & Radev 2004, LexRank, https://arxiv.org/abs/1109.2128
        Carbonell & Goldstein 1998, The Use of MMR,
        https://doi.org/10.1145/290941.291025

    Args:
        text: the document, of one or more paragraphs.
        sentences: how many to pick; all if it has fewer.
        embedder: a `kbert.Embedder`; one of the default preset if None.

    Returns:
        A list of sentences, as they are in the text.

    Raises:
        InputError: `text` is no string, or has no sentence.
        ConfigError: `sentences` is not a positive integer.

    Departures: LexRank takes TF-IDF vectors; here they are BERT's.

    Example:

    >>> kbert.summarize(article, sentences=2)
    """
    if not isinstance(text, str):
        raise InputError(
            f"Expected a text (str). Received: {short(text)} "
            f"({type(text).__name__})."
        )
    sentences = check_integer("sentences", sentences)
    found = [
        sentence
        for paragraph in re.split(r"\n\s*\n", text)
        for sentence in split_sentences(paragraph)
    ]
    found = list(dict.fromkeys(found))  # One that is repeated counts once.
    if not found:
        raise InputError(
            "Expected a text with at least one sentence. Received: one that "
            "is empty or blank."
        )
    if len(found) <= sentences:
        return found
    if embedder is not None and not hasattr(embedder, "similarity"):
        raise ConfigError(
            f"`embedder` must be a kbert.Embedder. Received: {short(embedder)}"
        )
    if embedder is None:
        from kbert.embedder import Embedder

        embedder = Embedder()
    embedder.head.check_products()
    similarity = embedder.similarity(found)  # (S, S)
    chosen = choose(centrality(similarity), similarity, sentences)
    return [found[i] for i in sorted(chosen)]


def centrality(similarity: np.ndarray) -> np.ndarray:
    """LexRank's scores of sentences, which add up to 1.

    Args:
        similarity: float `(S, S)`.

    Returns:
        float `(S,)`.
    """
    weights = np.maximum(similarity.astype("float64"), 0.0)
    np.fill_diagonal(weights, 0.0)
    count = len(weights)
    total = weights.sum(axis=1, keepdims=True)
    # A sentence like no other passes its score to all.
    step = np.where(total > 0, weights / np.maximum(total, 1e-12), 1 / count)
    scores = np.full(count, 1 / count)
    for _ in range(ITERATIONS):
        scores = TELEPORT / count + (1 - TELEPORT) * scores @ step
    return scores


def choose(scores: np.ndarray, similarity: np.ndarray, count: int) -> list[int]:
    """Rows of high score that differ from one another (MMR)."""
    scores = scores / scores.max()
    chosen: list[int] = []
    while len(chosen) < count:
        gain = NOVELTY * scores
        if chosen:
            gain = gain - (1 - NOVELTY) * similarity[:, chosen].max(axis=1)
            gain[chosen] = -np.inf
        chosen.append(int(gain.argmax()))
    return chosen
