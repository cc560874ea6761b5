"""Several texts in one row, so that rows are full and their shapes few.

Shapes: B texts of at most T tokens, R rows of L tokens.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from kbert.data.batching import LengthBatches
from kbert.data.batching import bucket
from kbert.data.batching import take_targets


class PackedBatches(LengthBatches):
    """Batches whose texts share rows, for a model of packed texts.

    Texts come together by chance alone, whatever their lengths; all batches
    are padded to one length, that of the longest text. Arguments as of
    `kbert.data.batching.LengthBatches`; without shuffling the texts keep their
    order.
    """

    def _order(self) -> list[np.ndarray]:
        rows = np.arange(len(self.table))
        if self.shuffle:
            random = np.random.default_rng((self.seed, self.epoch))
            rows = random.permutation(rows)
        size = self.batch_size
        return [rows[i : i + size] for i in range(0, len(rows), size)]

    @cached_property
    def length(self) -> int:
        """Tokens that all texts are padded to."""
        return bucket(int(self.table.lengths.max(initial=1)))

    def take(self, part: np.ndarray) -> tuple:
        tokens = self.table.take(part, least=self.length)
        return (
            tokens | pack(tokens["padding_mask"]),
            take_targets(self.targets, part, least=self.length),
        )


def fill_rows(lengths: np.ndarray, room: int) -> list[list[int]]:
    """Texts put into as few rows as the longest-first rule finds.

    Reference: Johnson 1973, first-fit decreasing: at most 11/9 of the fewest
    rows possible, and one.

    Args:
        lengths: int `(B,)`, tokens of each text, none above `room`.
        room: L.

    Returns:
        For each row the numbers of its texts.

    Example:

    >>> fill_rows(np.array([3, 6, 5, 2]), 8)
    [[1, 3], [2, 0]]
    """
    rows: list[list[int]] = []
    left: list[int] = []
    for text in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[text])
        row = next((i for i, n in enumerate(left) if n >= length), len(rows))
        if row == len(rows):
            rows.append([])
            left.append(room)
        rows[row].append(text)
        left[row] -= length
    return rows


def pack(padding_mask: np.ndarray) -> dict[str, np.ndarray]:
    """Where the tokens of a padded batch lie in rows that texts share.

    The rows are as long as the padded ones. Their number is rounded up, by an
    eighth at most, so that few shapes occur.

    Args:
        padding_mask: bool `(B, T)`, true for real tokens, first in each row.

    Returns:
        What `kbert.models.layout.PackedLayout` takes: `slots` int32 `(R, T)`
        and `sources` int32 `(B, T)`.
    """
    lengths = padding_mask.sum(axis=1)
    length = padding_mask.shape[1]
    rows = fill_rows(lengths, length)
    step = 2 ** max(len(rows).bit_length() - 4, 0)
    slots = np.full((-(-len(rows) // step) * step, length), -1, "int32")
    sources = np.zeros(padding_mask.shape, "int32")
    for row, texts in enumerate(rows):
        start = 0
        for text in texts:
            end = start + lengths[text]
            tokens = np.arange(lengths[text])
            slots[row, start:end] = text * length + tokens
            sources[text, tokens] = row * length + start + tokens
            start = end
    return {"slots": slots, "sources": sources}
