"""Where words begin, for whole-word masking."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kbert.errors import UnknownNameError
from kbert.tokenizers.normalizer import CHINESE
from kbert.tokenizers.tokenizer import Tokenizer
from kbert.utils.extras import need

SEGMENTERS = ("jieba",)


def word_starts(tokenizer: Tokenizer, segmenter: str | None = None) -> Callable:
    """A function that tells which tokens begin a word.

    Reference: Cui et al. 2019, Pre-Training with Whole Word Masking for
    Chinese BERT, https://arxiv.org/abs/1906.08101

    Args:
        tokenizer: `kbert.Tokenizer`.
        segmenter: None, where a word begins with every piece that does not
            begin with `##`; or `"jieba"`, where a Chinese character inside of
            a word does not begin one either.

    Returns:
        A function of sentences, a list of `str`, and their ids, ragged
        `(S, None)`; it returns bool `(N,)` for all ids end to end.

    Raises:
        UnknownNameError: no such segmenter.
        ConfigError: it is not installed.

    Example:

    >>> starts = word_starts(tokenizer, "jieba")
    >>> sentences = ["我在北京大学"]
    >>> starts(sentences, tokenizer.tokenize(sentences))
    array([ True,  True,  True, False, False, False])
    """
    whole = np.array([not t.startswith("##") for t in tokenizer.vocabulary])

    def by_pieces(sentences, ids):
        return whole[ids.flat_values.numpy()]

    if segmenter is None:
        return by_pieces
    if segmenter not in SEGMENTERS:
        raise UnknownNameError("segmenter", segmenter, SEGMENTERS)
    cut = _load_jieba()
    chinese = np.array([bool(CHINESE.match(t)) for t in tokenizer.vocabulary])

    def by_words(sentences, ids):
        _, places, _ = tokenizer.tokenize_with_offsets(sentences, "character")
        places, splits = places.flat_values.numpy(), places.row_splits.numpy()
        begins = np.zeros(len(places), bool)
        for row, sentence in enumerate(sentences):
            span = slice(*splits[row : row + 2])
            first = np.zeros(len(sentence) + 1, bool)
            first[np.cumsum([0, *map(len, cut(sentence))])] = True
            begins[span] = first[places[span]]
        ids = ids.flat_values.numpy()
        return whole[ids] & (begins | ~chinese[ids])

    return by_words


def _load_jieba() -> Callable:
    """jieba's function that cuts a text into words."""
    jieba = need("chinese", "jieba", purpose="segmenter='jieba'")
    words = jieba.Tokenizer()
    # Left to itself it trusts a cache in /tmp that anybody may have written.
    words.FREQ, words.total = words.gen_pfdict(words.get_dict_file())
    words.initialized = True
    return words.cut
