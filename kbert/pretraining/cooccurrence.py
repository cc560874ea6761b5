"""Token embeddings from which tokens occur together, before any training."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from kbert.errors import ConfigError
from kbert.pretraining.corpus import CHUNK
from kbert.pretraining.corpus import Corpus
from kbert.pretraining.corpus import Shard

# Tokens on either side that count as near.
CONTEXT_WINDOW = 5

# Contexts are counted as if frequent ones were rarer.
SMOOTHING = 0.75


def cooccurrence_embeddings(
    corpus: Corpus, size: int, scale: float = 0.02, seed: int = 0
) -> np.ndarray:
    """Vectors that are alike for tokens of like surroundings.

    The positive pointwise mutual information of tokens within 5 of each
    other, nearer ones weighing more, reduced to its largest singular vectors,
    each times the root of its singular value.

    Reference: Levy & Goldberg 2014, Neural Word Embedding as Implicit Matrix
    Factorization, section 4; the smoothing and the root are from Levy et al.
    2015, Improving Distributional Similarity, sections 3.2 and 3.3.

    Args:
        corpus: a `kbert.Corpus`.
        size: E, numbers in a vector.
        scale: root mean square of each vector's numbers.
        seed: of the vectors of tokens that are never near another, special
            ones among them, which are random; and of the factorization.

    Returns:
        float32 `(V, E)`.

    Raises:
        ConfigError: the vocabulary has no more tokens than E.

    Example:

    >>> table = cooccurrence_embeddings(kbert.Corpus("corpora/wiki"), 256)
    """
    # Imported here: it takes a second, and only new models need it.
    from sklearn.utils.extmath import randomized_svd

    count = len(corpus.vocabulary)
    if count <= size:
        raise ConfigError(
            f"Expected more tokens in the vocabulary than numbers in an "
            f"embedding, to begin with what occurs together. Received: "
            f"{count} tokens and {size} numbers. Begin at random, or train a "
            f"larger vocabulary."
        )
    left, values, _ = randomized_svd(
        _information(corpus), size, n_iter=4, random_state=seed
    )
    table = left * np.sqrt(values)  # (V, E)
    norms = np.sqrt((table**2).mean(axis=1, keepdims=True))  # (V, 1)
    random = np.random.default_rng(seed).standard_normal(table.shape)
    known = norms > 1e-6 * norms.max()
    table = np.where(known, table / np.where(known, norms, 1), random)
    return (scale * table).astype("float32")


def _information(corpus: Corpus) -> sp.csr_matrix:
    """Positive pointwise mutual information of two tokens, `(V, V)`."""
    size = len(corpus.vocabulary)
    counts = sp.csr_matrix((size, size), dtype="float64")
    for shard in corpus.shards:
        for first, second, weights in _pairs(shard):
            counts += sp.csr_matrix(
                (weights, (first, second)), shape=(size, size)
            )
    counts = (counts + counts.T).tocoo()
    # [UNK] stands for many tokens that have nothing in common.
    ordinary = ~np.isin(counts.row, corpus.special_ids)
    ordinary &= ~np.isin(counts.col, corpus.special_ids)
    row, col = counts.row[ordinary], counts.col[ordinary]
    together = counts.data[ordinary]
    total = np.bincount(row, together, minlength=size)  # (V,)
    context = total**SMOOTHING
    context /= max(context.sum(), 1)
    information = np.log(together / (total[row] * context[col]))
    positive = information > 0
    return sp.csr_matrix(
        (
            information[positive].astype("float32"),
            (row[positive], col[positive]),
        ),
        shape=(size, size),
    )


def _pairs(shard: Shard) -> Iterator[tuple[np.ndarray, ...]]:
    """Tokens that are near in a document, and how much each pair weighs."""
    ends = shard.sentences[shard.documents[1:]]  # (D,)
    for start in range(0, len(shard.tokens), CHUNK):
        stop = start + CHUNK + CONTEXT_WINDOW
        tokens = np.asarray(shard.tokens[start:stop], "int64")
        places = np.arange(start, start + len(tokens))
        document = np.searchsorted(ends, places, side="right")
        for distance in range(1, CONTEXT_WINDOW + 1):
            # Those that begin in this chunk.
            length = min(CHUNK, len(tokens) - distance)
            if length < 1:
                continue
            near = slice(distance, distance + length)
            same = document[:length] == document[near]
            first, second = tokens[:length][same], tokens[near][same]
            yield first, second, np.full(len(first), 1 / distance)
