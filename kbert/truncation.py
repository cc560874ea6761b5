"""Which tokens a row keeps that is too long, in core TensorFlow ops.

`TFText>RoundRobinTrim` would do part of it, but TF Serving 2.12.1 lacks it.
Both ways take the texts, `second` None where there is no pair, and the number
of tokens there is room for, and return `(first, second)`.

Reference: Sun et al. 2019, How to Fine-Tune BERT for Text Classification,
section 5.3.1, https://arxiv.org/abs/1905.05583
"""

import tensorflow as tf

# Sun et al. keep 128 + 382 of the 510 tokens that BERT has room for.
HEAD_TOKENS, ROOM_TOKENS = 128, 510


def keep_head(first: tf.RaggedTensor, second, room: int):
    """Keep the first tokens; of a pair, cut the longer text first.

    The same as `longest_first` of Hugging Face's fast tokenizers: an odd
    token goes to the longer text, or to the pair's where they are equal.
    """
    if second is None:
        return first[:, :room], None
    m, n = first.row_lengths(), second.row_lengths()  # (B,)
    short = tf.minimum(m, n)
    short = tf.where(m + n > room, tf.minimum(short, room // 2), short)
    long = tf.minimum(tf.maximum(m, n), room - short)
    keep = tf.where(m > n, [long, short], [short, long])  # (2, B)
    none = tf.zeros_like(m)
    return _keep(first, keep[0], none), _keep(second, keep[1], none)


def keep_head_and_tail(first: tf.RaggedTensor, second, room: int):
    """Cut the middle out, 128 / 510 of the room before it, the rest after.

    With a pair, the first text keeps its first tokens, half the room or what
    the pair leaves over if that is more; the pair loses its middle.
    """
    none = tf.zeros_like(first.row_lengths())
    left = none + room  # (B,)
    if second is None:
        return _keep_ends(first, left), None
    most = tf.maximum(left // 2, left - second.row_lengths())
    first = _keep(first, most, none)
    return first, _keep_ends(second, left - first.row_lengths())


def _keep_ends(ids: tf.RaggedTensor, room) -> tf.RaggedTensor:
    # A row that fits is kept whole: its head and tail overlap.
    head = room * HEAD_TOKENS // ROOM_TOKENS
    return _keep(ids, head, room - head)


def _keep(ids: tf.RaggedTensor, head, tail) -> tf.RaggedTensor:
    """The first `head` and last `tail` tokens of each row, both `(B,)`."""
    row = ids.value_rowids()
    place = tf.range(tf.size(row, tf.int64)) - tf.gather(ids.row_starts(), row)
    mask = place < tf.gather(head, row)
    mask |= place >= tf.gather(ids.row_lengths() - tail, row)
    return tf.ragged.boolean_mask(ids, ids.with_values(mask))


TRUNCATIONS = {"head": keep_head, "head_tail": keep_head_and_tail}
