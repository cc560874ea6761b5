"""How many tokens of each text a row keeps that is too long.

`TFText>RoundRobinTrim` would do part of it, but TF Serving 2.12.1 lacks it.
Both ways take the lengths of the texts, int64 `(B,)`, `second` None where
there is no pair, and the number of tokens there is room for. They return for
each text how many of its first and of its last tokens stay, int64 `(B,)`.

Reference: Sun et al. 2019, How to Fine-Tune BERT for Text Classification,
section 5.3.1, https://arxiv.org/abs/1905.05583
"""

import tensorflow as tf

# Sun et al. keep 128 + 382 of the 510 tokens that BERT has room for.
HEAD_TOKENS, ROOM_TOKENS = 128, 510


def keep_head(first, second, room: int) -> list[tuple]:
    """Keep the first tokens; of a pair, cut the longer text first.

    The same as `longest_first` of Hugging Face's fast tokenizers: an odd
    token goes to the longer text, or to the pair's where they are equal.
    """
    none = tf.zeros_like(first)
    if second is None:
        return [(tf.minimum(first, room), none)]
    short = tf.minimum(first, second)
    short = tf.where(first + second > room, tf.minimum(short, room // 2), short)
    long = tf.minimum(tf.maximum(first, second), room - short)
    is_long = first > second
    return [
        (tf.where(is_long, long, short), none),
        (tf.where(is_long, short, long), none),
    ]


def keep_head_and_tail(first, second, room: int) -> list[tuple]:
    """Cut the middle out, 128 / 510 of the room before it, the rest after.

    With a pair, the first text keeps its first tokens, half the room or what
    the pair leaves over if that is more; the pair loses its middle.
    """
    none = tf.zeros_like(first)
    left = none + room
    if second is None:
        return [_ends(first, left)]
    first = tf.minimum(first, tf.maximum(left // 2, left - second))
    return [(first, none), _ends(second, left - first)]


def _ends(length, room) -> tuple:
    head = room * HEAD_TOKENS // ROOM_TOKENS
    # A text that fits is kept whole.
    head = tf.where(length > room, head, length)
    return head, tf.minimum(length, room) - head


TRUNCATIONS = {"head": keep_head, "head_tail": keep_head_and_tail}
