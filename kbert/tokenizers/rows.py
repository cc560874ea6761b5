"""Rows of the model, of one or two texts that are tokens already."""

from collections.abc import Sequence

import tensorflow as tf


def join_pieces(
    facts: Sequence[dict[str, tf.RaggedTensor]],
    kept: Sequence[tuple[tf.Tensor, tf.Tensor]],
    specials: dict[str, list[int]],
) -> dict[str, tf.RaggedTensor]:
    """`[CLS] text [SEP]`, or `[CLS] text [SEP] pair [SEP]`.

    Args:
        facts: of each text what `Tokenizer.pieces` gives, ragged
            `(B, None)`.
        kept: of each text how many tokens of its head and of its tail are
            kept, int64 `(B,)` each.
        specials: what [CLS], the first and the second [SEP] have in place of
            each fact.

    Returns:
        The facts of the rows, ragged `(B, None)`.
    """
    # A row has the parts [CLS], text, [SEP], pair, [SEP]; of a text its head
    # and tail. Each part is a range of the special tokens and all texts, one
    # after the other: concatenating ragged tensors takes TensorFlow many times
    # as long.
    ids = [fact["token_ids"] for fact in facts]
    one = tf.ones_like(ids[0].row_lengths())
    starts, lengths, begin = [0 * one], [one], len(ids) + 1
    for number, (rows, (head, tail)) in enumerate(
        zip(ids, kept, strict=True), 1
    ):
        start = begin + rows.row_starts()
        starts += [start, start + rows.row_lengths() - tail, number * one]
        lengths += [head, tail, one]
        begin += tf.size(rows.values, tf.int64)
    first, count = tf.stack(starts, axis=1), tf.stack(lengths, axis=1)
    first, count = tf.reshape(first, [-1]), tf.reshape(count, [-1])
    source = tf.ragged.range(first, first + count)  # (B * parts, None)
    splits = source.row_splits[:: len(lengths)]  # (B + 1,)

    def join(key: str) -> tf.RaggedTensor:
        own = specials[key][: len(ids) + 1]
        values = [own, *(fact[key].values for fact in facts)]
        return tf.RaggedTensor.from_row_splits(
            tf.gather(tf.concat(values, axis=0), source.values),
            splits,
            validate=False,
        )  # (B, None)

    return {key: join(key) for key in specials if key in facts[0]}
