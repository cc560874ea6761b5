"""What the n-grams of a text add to a class, laid to its tokens.

The logits of `kbert.models.ngrams.NgramModel` are sums over n-grams, so that
their parts are known exactly: an n-gram's part goes in equal shares to those
of its characters that are in a token. What spaces alone add is laid to none,
nor is what lies beyond the last token that the backbone reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from kbert.models.ngrams import BUCKETS
from kbert.models.ngrams import MOST_BYTES
from kbert.models.ngrams import MOST_CHARACTERS
from kbert.models.ngrams import NgramModel
from kbert.models.ngrams import join

if TYPE_CHECKING:
    from collections.abc import Sequence

# Beyond any byte of a text.
NOWHERE = 2**30


def token_shares(
    ngrams: NgramModel,
    columns: Sequence[tf.Tensor],
    weights: tf.Tensor,
    starts: tf.Tensor,
    ends: tf.Tensor,
    which: tf.Tensor,
) -> tf.Tensor:
    """What each token's characters add to a weighted sum of the logits.

    Args:
        ngrams: a fitted model.
        columns: strings `(B,)` each.
        weights: float32 `(B, classes)`, of the classes' logits.
        starts: int32 `(B, T)`, first byte of each token in its column; equal
            to `ends` for what is no token of a text.
        ends: int32 `(B, T)`, the byte after its last.
        which: int32 `(B, T)`, index of its column.

    Returns:
        float32 `(B, T)`. A row adds up to the weighted logits less the
        weighted bias, but for what is laid to no token.

    Example:

    >>> token_shares(clf.ngrams, [texts], weights, starts, ends, 0 * starts)
    """
    starts, ends = _in_joined(columns, starts, ends, which)
    characters, offsets = tf.strings.unicode_split_with_offsets(
        join(columns), "UTF-8", errors="ignore"
    )
    characters = characters[:, :MOST_CHARACTERS]
    offsets = tf.cast(offsets[:, :MOST_CHARACTERS], tf.int32)
    offsets = offsets.to_tensor(NOWHERE)  # (B, N)

    # Tokens that each character is in: more than one where a character
    # becomes several.
    begun = tf.searchsorted(tf.sort(starts), offsets, side="right")
    ended = tf.searchsorted(tf.sort(ends), offsets, side="right")
    covers = tf.cast(begun - ended, tf.float32)  # (B, N)
    inside = tf.cast(covers > 0, tf.float32)

    row, first, width, part = _parts(ngrams, characters, weights)  # (G,) each
    last = first + width
    before = _sums(inside)  # (B, N + 1)
    share = tf.math.divide_no_nan(
        part,
        tf.gather_nd(before, tf.stack([row, last], 1))
        - tf.gather_nd(before, tf.stack([row, first], 1)),
    )
    # Each n-gram's share from its first character to its last.
    places = tf.concat([tf.stack([row, x], 1) for x in (first, last)], 0)
    steps = tf.scatter_nd(
        places,
        tf.concat([share, -share], 0),
        tf.shape(before, tf.int64),
    )
    each = tf.cumsum(steps, axis=1)[:, :-1]  # (B, N)
    total = _sums(tf.math.divide_no_nan(each * inside, covers))
    return tf.gather(
        total, tf.searchsorted(offsets, ends), batch_dims=1
    ) - tf.gather(total, tf.searchsorted(offsets, starts), batch_dims=1)


def _in_joined(columns, starts, ends, which) -> tuple[tf.Tensor, ...]:
    """Bytes of columns as bytes of `join(columns)`."""
    lengths = tf.minimum(
        tf.stack([tf.strings.length(column) for column in columns], 1),
        MOST_BYTES,
    )  # (B, columns)
    # A character stands between two.
    begins = tf.cumsum(lengths + 1, axis=1, exclusive=True)
    begin = tf.gather(begins, which, batch_dims=1)  # (B, T)
    length = tf.gather(lengths, which, batch_dims=1)
    token = ends > starts
    return tuple(
        tf.where(token, begin + tf.minimum(x, length), NOWHERE)
        for x in (starts, ends)
    )


def _parts(ngrams, characters, weights) -> tuple[tf.Tensor, ...]:
    """What each n-gram, wherever it stands, adds to the weighted logits.

    Returns:
        `row`, `first` and `width` int64 `(G,)`, the text and its characters,
        and `part` float32 `(G,)`.
    """
    kernel, _, idf = (weight.value for weight in ngrams.weights)
    rows, firsts, widths, buckets = [], [], [], []
    for width in ngrams.widths:
        grams = tf.strings.ngrams(characters, width, separator="")
        row = tf.cast(grams.value_rowids(), tf.int64)
        begins = tf.cast(grams.row_starts(), tf.int64)
        count = tf.size(row, tf.int64)
        rows.append(row)
        firsts.append(tf.range(count) - tf.gather(begins, row))
        widths.append(tf.fill([count], tf.constant(width, tf.int64)))
        buckets.append(tf.strings.to_hash_bucket_fast(grams.values, BUCKETS))
    row, first, width, bucket = (
        tf.concat(x, 0) for x in (rows, firsts, widths, buckets)
    )
    _, index, counts = tf.unique_with_counts(row * BUCKETS + bucket)
    count = tf.cast(tf.gather(counts, index), tf.float32)
    value = (1.0 + tf.math.log(count)) * tf.gather(idf, bucket)  # (G,)
    # The same n-gram stands `count` times here, and once in the model.
    squares = tf.math.unsorted_segment_sum(
        value**2 / count, row, characters.nrows()
    )
    added = tf.reduce_sum(
        tf.gather(kernel, bucket) * tf.gather(weights, row), axis=1
    )
    part = tf.math.divide_no_nan(
        value / count * added, tf.gather(tf.sqrt(squares), row)
    )
    return row, first, width, part


def _sums(values: tf.Tensor) -> tf.Tensor:
    """Sums of what stands before each place and before the end.

    Args:
        values: float32 `(B, N)`.

    Returns:
        float32 `(B, N + 1)`.
    """
    return tf.pad(tf.cumsum(values, axis=1), [[0, 0], [1, 0]])
