"""Where words begin, for whole-word masking."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kbert.errors import ConfigError
from kbert.errors import UnknownNameError
from kbert.tokenizer import Tokenizer

SEGMENTERS = ("jieba",)


def word_starts(tokenizer: Tokenizer, segmenter: str | None = None) -> Callable:
    """A function that tells which tokens begin a word.

    Reference: Cui et al. 2019, Pre-Training with Whole Word Masking for
    Chinese BERT, https://arxiv.org/abs/1906.08101

    Args:
        tokenizer: `kbert.Tokenizer`.
        segmenter: None, where a word begins with every piece that does not
            begin with `##`; or `"jieba"`, where a Chinese word may be several
            characters, each a piece.

    Returns:
        A function of sentences and their ragged ids, `(S, None)`; it returns
        bool `(N,)` for all ids end to end.

    Raises:
        UnknownNameError: no such segmenter.
        ConfigError: it is not installed.
    """
    whole = np.array([not t.startswith("##") for t in tokenizer.vocabulary])

    def by_pieces(sentences, ids):
        return whole[ids.flat_values.numpy()]

    if segmenter is None:
        return by_pieces
    if segmenter not in SEGMENTERS:
        raise UnknownNameError("segmenter", segmenter, SEGMENTERS)
    try:
        import jieba
    except ImportError as error:
        raise ConfigError(
            "segmenter='jieba' takes the package jieba, which is not "
            "installed. Install it: pip install 'kbert[chinese]'."
        ) from error
    jieba.setLogLevel("ERROR")

    def by_words(sentences, ids):
        _, starts, _ = tokenizer.tokenize_with_offsets(sentences, "character")
        begins = [
            np.isin(row, [start for _, start, _ in jieba.tokenize(sentence)])
            for row, sentence in zip(starts.to_list(), sentences, strict=True)
        ]
        return by_pieces(sentences, ids) & np.concatenate(begins).astype(bool)

    return by_words
