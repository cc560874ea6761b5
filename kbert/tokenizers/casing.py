"""How words are written, which a lower-cased vocabulary forgets.

Reference: Collobert et al. 2011, Natural Language Processing (Almost) from
Scratch, https://arxiv.org/abs/1103.0398 (the "caps" feature).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

# Texts that a row of BERT may have, each with a segment id.
TEXTS = 2

# Without capitals; with some; of two letters or more, all of them capitals.
LOWER, CAPITAL, CAPITALS = range(3)
CASINGS = 3

_SOME = r"(?s).*[\p{Lu}\p{Lt}].*"
_ALL = r"(?s)[^\p{Ll}]*[\p{Lu}\p{Lt}][^\p{Ll}]*[\p{Lu}\p{Lt}][^\p{Ll}]*"


def casing_of(words: tf.Tensor) -> tf.Tensor:
    """`LOWER`, `CAPITAL` or `CAPITALS` for each word.

    Args:
        words: strings `(N,)`.

    Returns:
        int32 `(N,)`.

    Example:

    >>> casing_of(tf.constant(["free", "FREE", "A", "iPhone"])).numpy()
    array([0, 2, 1, 1], dtype=int32)
    """
    import tensorflow as tf

    some = tf.strings.regex_full_match(words, _SOME)
    capitals = tf.strings.regex_full_match(words, _ALL)
    return tf.cast(some, tf.int32) + tf.cast(capitals, tf.int32)
