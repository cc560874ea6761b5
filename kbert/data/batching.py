"""Tokenized texts in one table, and batches of rows of like length.

A batch is padded to its longest row only, and rows of like length come
together, so that little is computed on padding.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from typing import Any

import keras
import numpy as np

from kbert.utils.glibc import keep_freed

# Where XLA compiles for every new shape, rows are padded to one of these.
BUCKETS = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512)

# Rows are sorted by length within this many batches, and shuffled besides.
SORTED_BATCHES = 50

# Tokens up to which a text is answered in batches of full size.
FULL_LENGTH = 128


@dataclass(frozen=True)
class TokenTable:
    """Token ids of many texts, end to end.

    Attributes:
        token_ids: int32 `(N,)`, all rows one after the other.
        segment_ids: uint8 `(N,)`.
        offsets: int64 `(rows + 1,)`; row i is `offsets[i]:offsets[i + 1]`.
        pad_id: what `take` fills up with.
        inputs: further inputs of the model by name, arrays `(rows, ...)`.
    """

    token_ids: np.ndarray
    segment_ids: np.ndarray
    offsets: np.ndarray
    pad_id: int = 0
    inputs: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def from_rows(
        cls, token_ids: Iterable, segment_ids: Iterable, pad_id: int = 0
    ) -> TokenTable:
        """Build a table from one sequence of ids a row."""
        token_ids = [np.asarray(row, "int32") for row in token_ids]
        lengths = [len(row) for row in token_ids]
        return cls(
            np.concatenate([np.empty(0, "int32"), *token_ids]),
            np.concatenate(
                [np.empty(0, "uint8")]
                + [np.asarray(row, "uint8") for row in segment_ids]
            ),
            np.concatenate([[0], np.cumsum(lengths, dtype="int64")]),
            pad_id,
        )

    @classmethod
    def concatenate(cls, tables: list[TokenTable]) -> TokenTable:
        """Join tables, rows in order."""
        lengths = np.concatenate([table.lengths for table in tables])
        return cls(
            np.concatenate([table.token_ids for table in tables]),
            np.concatenate([table.segment_ids for table in tables]),
            np.concatenate([[0], np.cumsum(lengths, dtype="int64")]),
            tables[0].pad_id,
            {
                name: np.concatenate([table.inputs[name] for table in tables])
                for name in tables[0].inputs
            },
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Tokens in each row, int64 `(rows,)`."""
        return np.diff(self.offsets)

    def ids(self) -> list[int]:
        """The ids that its batches have, ascending."""
        return np.union1d(self.token_ids, self.pad_id).tolist()

    def select(self, rows: np.ndarray) -> TokenTable:
        """The table of some rows, int `(B,)`."""
        flat, offsets = token_places(self.offsets, rows)
        return TokenTable(
            self.token_ids[flat],
            self.segment_ids[flat],
            offsets,
            self.pad_id,
            {name: value[rows] for name, value in self.inputs.items()},
        )

    def take(
        self, rows: np.ndarray, static: bool = False, least: int = 1
    ) -> dict:
        """Some rows, padded, as the backbone takes them.

        Args:
            rows: int `(B,)`, row numbers.
            static: pad to the next of `BUCKETS`, for few static shapes.
            least: to pad to so many tokens at least.

        Returns:
            A dict of `(B, T)` arrays: `token_ids` and `segment_ids` int32,
            `padding_mask` bool; and of `inputs` the rows' part.
        """
        part = self.select(rows)
        mask = padding_mask(part.lengths, static, least)  # (B, T)
        token_ids = np.full(mask.shape, self.pad_id, "int32")
        segment_ids = np.zeros(mask.shape, "int32")
        token_ids[mask] = part.token_ids
        segment_ids[mask] = part.segment_ids
        return {
            "token_ids": token_ids,
            "segment_ids": segment_ids,
            "padding_mask": mask,
            **part.inputs,
        }


@dataclass(frozen=True)
class TokenTargets:
    """A target for each token of a `TokenTable`.

    Attributes:
        values: array `(N,)`.
        offsets: int64 `(rows + 1,)`, those of the table.
        fill: the target of padding.
    """

    values: np.ndarray
    offsets: np.ndarray
    fill: int

    def take(
        self, rows: np.ndarray, static: bool = False, least: int = 1
    ) -> np.ndarray:
        """Those of some rows, `(B, T)`, padded as `TokenTable.take` pads."""
        flat, offsets = token_places(self.offsets, rows)
        mask = padding_mask(np.diff(offsets), static, least)
        targets = np.full(mask.shape, self.fill, self.values.dtype)
        targets[mask] = self.values[flat]
        return targets


def take_targets(targets, rows: np.ndarray, least: int = 1):
    """Those of some rows, of any structure that `LengthBatches` takes."""

    def take(part):
        if isinstance(part, TokenTargets):
            return part.take(rows, static_shapes(), least)
        return part[rows]

    return keras.tree.map_structure(take, targets)


def fill_targets(targets, shape: tuple[int, int]):
    """Targets for a batch `(B, T)` of rows that have none, to weigh 0.

    They are of the form that `take_targets` gives: those of the first row
    for every row, and for tokens what stands for padding.
    """

    def fill(part):
        if isinstance(part, TokenTargets):
            return np.full(shape, part.fill, part.values.dtype)
        return part[np.zeros(shape[0], "int64")]

    return keras.tree.map_structure(fill, targets)


def spread_weights(targets, weight: np.ndarray, length: int):
    """A weight a row, in the form of the targets that it is for.

    Args:
        targets: what `take_targets` takes.
        weight: float `(B,)`.
        length: T, tokens in a row of the batch.

    Returns:
        In the structure of the targets, `(B,)`, or for those of tokens
        `(B, T)`.
    """

    def spread(part):
        if isinstance(part, TokenTargets):
            return np.repeat(weight[:, None], length, axis=1)
        return weight

    return keras.tree.map_structure(spread, targets)


def token_places(
    offsets: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where the tokens of some rows are.

    Args:
        offsets: int64 `(rows + 1,)`, those of a `TokenTable`.
        rows: int `(B,)`.

    Returns:
        int64 `(N,)`, the place of each token, rows in order; and int64
        `(B + 1,)`, the offsets of those rows laid end to end.
    """
    lengths = np.diff(offsets)[rows]
    new = np.concatenate([[0], np.cumsum(lengths, dtype="int64")])
    # Each token's place: its row's start, plus its place in the row.
    flat = np.repeat(offsets[rows] - new[:-1], lengths)
    flat += np.arange(new[-1])
    return flat, new


def padding_mask(
    lengths: np.ndarray, static: bool, least: int = 1
) -> np.ndarray:
    """Bool `(B, T)`, true for real tokens; `static` as `TokenTable.take`."""
    length = int(lengths.max(initial=least))
    if static:
        length = bucket(length)
    return np.arange(length) < lengths[:, None]


def bucket(length: int) -> int:
    """The next of `BUCKETS`; a length beyond them as it is."""
    return next((b for b in BUCKETS if b >= length), length)


def join_rows(parts: list[np.ndarray]) -> np.ndarray:
    """Rows of arrays, one array after the other.

    Those of fewer columns are filled up: integers with -1, strings with an
    empty one, others with 0.
    """
    width = max(part.shape[1:2] for part in parts)
    for i, part in enumerate(parts):
        if part.shape[1:2] != width:
            more = [(0, 0)] * part.ndim
            more[1] = (0, width[0] - part.shape[1])
            fill = {"i": -1, "O": b""}.get(part.dtype.kind, 0)
            parts[i] = np.pad(part, more, constant_values=fill)
    return np.concatenate(parts)


def static_shapes() -> bool:
    """Whether the backend compiles anew for each shape."""
    return keras.backend.backend() == "jax"


def length_batches(lengths: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Row numbers of batches of like length, longest first.

    The longest first, so that a batch that does not fit into memory fails at
    once and not after an hour.
    """
    order = np.argsort(-lengths, kind="stable")
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def answer_batches(lengths: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """The same where nothing is learned: of long texts half the rows, or less.

    A batch has `batch_size` rows of up to `FULL_LENGTH` tokens, half of that
    up to twice as many, and so on: attention's tables grow with the square of
    the length, and enough work for every core is there with fewer rows.
    """
    order = np.argsort(-lengths, kind="stable")
    batches = []
    while len(order):
        longest = int(lengths[order[0]])
        halvings = ((longest - 1) // FULL_LENGTH).bit_length()
        rows = max(batch_size >> halvings, 1)
        batches.append(order[:rows])
        order = order[rows:]
    return batches


def shuffled_batches(
    lengths: np.ndarray, batch_size: int, random: np.random.Generator
) -> list[np.ndarray]:
    """Row numbers of batches of like length, rows and batches shuffled.

    Rows are sorted within windows of `SORTED_BATCHES` batches only, so that
    company changes from epoch to epoch.
    """
    rows = random.permutation(len(lengths))
    window = SORTED_BATCHES * batch_size
    batches = []
    for start in range(0, len(rows), window):
        part = rows[start : start + window]
        batches += [
            part[batch] for batch in length_batches(lengths[part], batch_size)
        ]
    return [batches[i] for i in random.permutation(len(batches))]


class Batches(keras.utils.PyDataset):
    """Batches for `model.fit` in an order of their own for every epoch.

    A subclass implements `_order` and `batch`; the order is a function of the
    seed and the epoch's number alone.

    Args:
        seed: int.
        epoch: number of the first epoch.
    """

    def __init__(self, seed: int = 0, epoch: int = 0):
        super().__init__()
        self.seed = seed
        self.epoch = epoch
        self._batches = self._order()

    def _order(self) -> list:
        """What `batch` takes, for each batch of the epoch."""
        raise NotImplementedError

    def batch(self, part: Any) -> tuple:
        """A batch, `(inputs, targets)` or with sample weights besides."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> tuple:
        return self.batch(self._batches[index])

    def begin_at(self, epoch: int) -> None:
        """Be those of an epoch, by its number."""
        if epoch != self.epoch:
            self.epoch = epoch
            self._batches = self._order()

    def on_epoch_end(self) -> None:
        self.begin_at(self.epoch + 1)

    def __iter__(self) -> Iterator[tuple]:
        return (self[i] for i in range(len(self)))

    def for_fit(self):
        """What to give to `model.fit` on this backend.

        On TensorFlow a `tf.data.Dataset` that says that lengths vary: Keras
        would guess the length from the first two batches.
        """
        if keras.backend.backend() != "tensorflow":
            return self

        def epoch():
            yield from self
            self.on_epoch_end()

        return tf_dataset(epoch, self[0], len(self))


class LengthBatches(Batches):
    """Rows of like length, shuffled every epoch.

    Args:
        table: `TokenTable`.
        targets: array `(rows, ...)`, `TokenTargets`, or a dict of such.
        sample_weight: float `(rows,)`, or None.
        batch_size: rows in a batch.
        shuffle: false for rows sorted by length, the same every epoch.
        seed: int.
        epoch: number of the first epoch.

    Example:

    >>> batches = LengthBatches(table, targets, batch_size=32)
    >>> clf.model.fit(batches.for_fit(), epochs=3)
    """

    def __init__(
        self,
        table: Any,
        targets,
        sample_weight: np.ndarray | None = None,
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int = 0,
        epoch: int = 0,
    ):
        self.table = table
        self.targets = targets
        self.sample_weight = sample_weight
        self.batch_size = batch_size
        self.shuffle = shuffle
        super().__init__(seed, epoch)

    def _order(self) -> list[np.ndarray]:
        if not self.shuffle:
            return length_batches(self.table.lengths, self.batch_size)
        random = np.random.default_rng((self.seed, self.epoch))
        return shuffled_batches(self.table.lengths, self.batch_size, random)

    def take(self, part: np.ndarray) -> tuple:
        """The inputs and the targets of some rows."""
        return (
            self.table.take(part, static_shapes()),
            take_targets(self.targets, part),
        )

    def batch(self, part: np.ndarray) -> tuple:
        tokens, targets = self.take(part)
        if self.sample_weight is None:
            return tokens, targets
        weight = self.sample_weight[part]
        length = tokens["token_ids"].shape[1]
        return tokens, targets, spread_weights(self.targets, weight, length)


def tf_dataset(
    batches: Callable[[], Iterator], example: tuple, count: int | None = None
):
    """A `tf.data.Dataset` of batches whose lengths vary.

    Args:
        batches: gives an iterator of batches of one structure of arrays.
        example: such a batch.
        count: how many there are; None for batches without end.
    """
    import tensorflow as tf

    def spec(array):
        dims = (None,) * min(array.ndim, 2) + array.shape[2:]
        return tf.TensorSpec(dims, array.dtype)

    def epoch():
        keep_freed()  # TensorFlow has just asked for the opposite.
        yield from batches()

    dataset = tf.data.Dataset.from_generator(
        epoch, output_signature=keras.tree.map_structure(spec, example)
    )
    if count is not None:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(count))
    # There is nothing to tune, and the thread that tunes may hold up the end
    # of an epoch: it sleeps for up to a minute, and is not always woken.
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.prefetch(2).with_options(options)
