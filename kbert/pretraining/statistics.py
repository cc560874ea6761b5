"""What a corpus is like, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import accumulate

import numpy as np

from kbert.pretraining.corpus import Corpus


def statistics(corpus: Corpus) -> dict[str, int | float]:
    """Counts, medians and shares of a corpus.

    Args:
        corpus: a `kbert.Corpus`.

    Returns:
        `documents`, `sentences`, `tokens`, `shards`, `bytes` on the disk;
        `tokens_per_sentence` and `sentences_per_document`, medians;
        `unknown_share`, the part of the tokens that are `[UNK]`; and
        `unigram_entropy` in nats.

    Example:

    >>> statistics(kbert.Corpus("corpora/wiki"))["unknown_share"]
    0.0003
    """
    counts = corpus.token_counts()
    return {
        "documents": corpus.documents,
        "sentences": corpus.sentences,
        "tokens": corpus.tokens,
        "tokens_per_sentence": _median(s.sentences for s in corpus.shards),
        "sentences_per_document": _median(s.documents for s in corpus.shards),
        "unknown_share": float(counts[corpus.unk_id] / counts.sum()),
        "unigram_entropy": corpus.unigram_entropy(),
        "shards": len(corpus.shards),
        "bytes": sum(p.stat().st_size for p in corpus.path.iterdir()),
    }


def _median(offsets: Iterable[np.ndarray]) -> int:
    """The median distance between neighbours; the lower one of two."""
    # Distances repeat: counted, those of any corpus fit into memory.
    counts = Counter()
    for array in offsets:
        sizes, times = np.unique(np.diff(array), return_counts=True)
        counts.update(dict(zip(sizes.tolist(), times.tolist(), strict=True)))
    sizes = sorted(counts)
    below = accumulate(counts[size] for size in sizes)
    half = counts.total() / 2
    return next(s for s, n in zip(sizes, below, strict=True) if n >= half)
