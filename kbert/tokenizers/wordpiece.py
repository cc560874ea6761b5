"""The vocabulary as tensorflow-text's WordPiece kernel reads it."""

import functools
import re

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

from kbert.tokenizers.normalizer import CONTROL
from kbert.tokenizers.normalizer import DELIMITER
from kbert.tokenizers.normalizer import SPOIL

# `tokenizers` gives up on a word of more than 100 characters; the kernel
# counts bytes, of which UTF-8 spends at most four on a character. `Normalizer`
# settles what lies between.
MAX_BYTES_PER_WORD = 400


def is_word(text: str) -> bool:
    """Whether nothing in a normalized text ends a word."""
    pattern = rf"(?:{DELIMITER}|[{CONTROL}])"
    found = tf.strings.regex_replace(text, pattern, "")
    return bool(text) and found.numpy().decode() == text


# Copies and models of one preset share a vocabulary, and building takes longer
# than all else here. Four of a usual size are a few MB.
@functools.lru_cache(maxsize=4)
def kernel_model(vocabulary: tuple[str, ...]) -> np.ndarray:
    """What the kernel reads, uint8, which nobody can write to."""
    suffix, unknown, split, detokenize = "##", "[UNK]", True, False
    model = tf_text.build_fast_wordpiece_model(
        list(vocabulary),
        MAX_BYTES_PER_WORD,
        suffix,
        unknown,
        not split,
        detokenize,
    )
    return np.frombuffer(model, np.uint8)


def matchable(
    vocabulary: tuple[str, ...], whole: dict[str, int]
) -> tuple[str, ...]:
    """The vocabulary as the kernel is to know it.

    Without what no word can hold: the kernel takes a token with whitespace
    for a word, and bert-base-chinese has two, U+2028 and ##U+2028. A word
    that is kept whole is nobody else's.
    """
    own = {number: word for word, number in whole.items()}
    return tuple(
        own.get(i)
        or (
            f"{SPOIL}{i}"
            if token in whole or re.search(rf"[\s{SPOIL}]", token)
            else token
        )
        for i, token in enumerate(vocabulary)
    )
