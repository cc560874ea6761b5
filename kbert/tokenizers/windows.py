"""Long texts as overlapping windows of tokens, which know where they are.

For heads that answer tokens or spans. Core TensorFlow ops, so that the same
code runs eagerly and in a SavedModel.

Reference: Devlin et al. 2018, BERT, whose code for SQuAD reads long documents
in windows, each token being answered where it has the most context.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from kbert.data.batching import TokenTable
from kbert.errors import ConfigError
from kbert.tokenizers.tokenizer import Tokenizer

# What a token is beside its id; special tokens and questions have these.
FACTS = {"first": False, "own": False, "start": -1, "end": -1}


def make_windows(
    tokenizer: Tokenizer, text, pair=None, *, max_length: int, overlap: int
) -> dict[str, tf.Tensor | tf.RaggedTensor]:
    """Tokenize texts into windows of at most `max_length` tokens.

    A window is `[CLS] part [SEP]`. With a pair it is the pair that is cut
    into windows, `[CLS] text [SEP] part [SEP]`; the text keeps at most half
    of the room. Of tokens that two windows share, each window owns half.

    Args:
        tokenizer: `kbert.Tokenizer`.
        text: string tensor or list, `(B,)`.
        pair: the same, or None.
        max_length: most tokens of a window, special ones included.
        overlap: tokens that neighbouring windows share, at most half of what
            a window has room for. BERT's `doc_stride` is the room without it.

    Returns:
        A dict of W windows, those of a text one after the other. Ragged
        `(W, None)`: `token_ids` and `segment_ids` int32; `first` bool, the
        token begins a word, as BERT splits words; `own` bool, the window is
        the one that answers the token; `start` and `end` int32, the bytes of
        the word that the token is of, and of what BERT deletes behind it.
        Special tokens, and the text of a pair, have False and -1. Dense:
        `row` int64 `(W,)`, the text.

    Raises:
        ConfigError: `max_length` leaves no room for a token of each text.

    Example:

    >>> tokens = make_windows(
    ...     tokenizer, ["Ann saw Bob"], max_length=4, overlap=1
    ... )
    >>> tokens["row"].numpy(), tokens["start"].to_list()
    (array([0, 0]), [[-1, 0, 4, -1], [-1, 4, 8, -1]])
    """
    special = 2 if pair is None else 3
    least = special + (1 if pair is None else 2)
    if max_length < least:
        raise ConfigError(
            f"`max_length`, expected an integer of at least {least}: "
            f"{special} special tokens and a token of each text. "
            f"Received: max_length={max_length!r}"
        )
    texts = [text] if pair is None else [text, pair]
    pieces = tokenizer.pieces_of_words(texts[-1], len(texts) - 1)
    pieces["start"] = pieces.pop("word_starts")
    pieces["end"] = pieces.pop("word_ends")
    ids = pieces["token_ids"]
    length = ids.row_lengths()  # (B,)
    room = tf.zeros_like(length) + max_length - special
    if pair is not None:
        question = {
            key: values[:, : (max_length - special) // 2]
            for key, values in tokenizer.pieces(text).items()
        }
        room -= question["token_ids"].row_lengths()

    # === Places of the windows, (W,) ===
    shared = tf.minimum(tf.cast(overlap, tf.int64), room // 2)
    step = room - shared
    count = 1 + (tf.maximum(length - room, 0) + step - 1) // step  # (B,)
    row = tf.repeat(tf.range(ids.nrows()), count)
    nth = tf.range(tf.size(row, tf.int64)) - tf.gather(
        tf.cumsum(count, exclusive=True), row
    )
    length, half = tf.gather(length, row), tf.gather(shared // 2, row)
    step = tf.gather(step, row)
    begin = nth * step
    size = tf.minimum(tf.gather(room, row), length - begin)
    is_last = nth + 1 == tf.gather(count, row)
    own_from = tf.where(nth == 0, begin, begin + half)
    own_to = tf.where(is_last, length, begin + step + half)

    # === Their tokens, (W, None) ===
    place = tf.ragged.range(begin, begin + size)
    source = place.values + tf.repeat(tf.gather(ids.row_starts(), row), size)
    own = (place.values >= tf.repeat(own_from, size)) & (
        place.values < tf.repeat(own_to, size)
    )
    part = {
        key: place.with_values(tf.gather(pieces[key].values, source))
        for key in ("token_ids", "segment_ids", "first", "start", "end")
    }
    part["own"] = place.with_values(own)

    # === Special tokens ===
    column = tf.ones([tf.size(row), 1], tf.int32)  # (W, 1)
    fills = {"token_ids": tokenizer.sep_id, "segment_ids": 0} | FACTS
    around = {
        key: tf.cast(value * column, part[key].dtype)
        for key, value in fills.items()
    }
    before = {key: [value] for key, value in around.items()}
    after = {key: [value] for key, value in around.items()}
    before["token_ids"] = [tokenizer.cls_id * column]
    if pair is not None:
        after["segment_ids"] = [column]
        question = {
            key: tf.gather(values, row) for key, values in question.items()
        }  # (W, None) each
        ids = question["token_ids"]
        question |= {
            key: ids.with_values(tf.fill(tf.shape(ids.values), fill))
            for key, fill in FACTS.items()
        }
        for key in fills:
            before[key] += [question[key], around[key]]
    windows = {
        key: tf.concat([*before[key], part[key], *after[key]], axis=1)
        for key in fills
    }
    return windows | {"row": row}


def to_characters(text: tf.Tensor, places: tf.RaggedTensor) -> tf.RaggedTensor:
    """Places in bytes as places in characters.

    Characters are the code points of `text.decode("utf-8", "ignore")`, as
    Python counts them. A place is as many as begin before it.

    Args:
        text: strings `(B,)`.
        places: int32 `(B, None)`.

    Example:

    >>> to_characters(tf.constant(["é!"]), tf.ragged.constant([[0, 2, 3]]))
    <tf.RaggedTensor [[0, 1, 2]]>
    """
    _, begins = tf.strings.unicode_decode_with_offsets(
        text, "UTF-8", errors="ignore"
    )  # (B, None)
    # Rows are laid end to end, so that one sorted search serves them all.
    size = tf.cast(tf.strings.length(text), tf.int64) + 1
    base = tf.cumsum(size, exclusive=True)  # (B,)
    wanted = tf.cast(places.values, tf.int64)
    wanted += tf.gather(base, places.value_rowids())
    counted = tf.searchsorted(
        begins.values + tf.gather(base, begins.value_rowids()), wanted
    )
    earlier = tf.gather(begins.row_starts(), places.value_rowids())
    return places.with_values(counted - tf.cast(earlier, tf.int32))


@dataclass(frozen=True)
class Windows:
    """What `make_windows` gives, as arrays, for training.

    Attributes:
        table: `TokenTable` of W windows and N tokens.
        row: int64 `(W,)`, the text of each window.
        first: bool `(N,)`, the token begins a word.
        start: int32 `(N,)`, first byte of its word in the text, or -1.
        end: int32 `(N,)`, the byte after its word, or -1.
    """

    table: TokenTable
    row: np.ndarray
    first: np.ndarray
    start: np.ndarray
    end: np.ndarray

    @classmethod
    def from_tensors(cls, tokens: dict, pad_id: int) -> Windows:
        """Of what `make_windows` returned."""
        return cls(
            token_table(tokens, pad_id),
            tokens["row"].numpy(),
            *(tokens[key].values.numpy() for key in ("first", "start", "end")),
        )

    @classmethod
    def concatenate(cls, parts: list[Windows]) -> Windows:
        """Join those of consecutive texts; rows are counted on."""
        rows, texts = [], 0
        for part in parts:
            rows.append(part.row + texts)
            texts += int(part.row[-1]) + 1  # Every text has a window.
        return cls(
            TokenTable.concatenate([part.table for part in parts]),
            np.concatenate(rows),
            *(
                np.concatenate([getattr(part, key) for part in parts])
                for key in ("first", "start", "end")
            ),
        )

    def tokens_of(self, count: int) -> list[slice]:
        """For each of `count` texts, where the tokens of its windows are."""
        edges = np.searchsorted(self.row, np.arange(count + 1))
        places = self.table.offsets[edges]
        return [
            slice(a, b) for a, b in zip(places[:-1], places[1:], strict=True)
        ]


def token_table(tokens: dict, pad_id: int) -> TokenTable:
    """A tokenizer's ragged tensors as a table."""
    return TokenTable(
        tokens["token_ids"].flat_values.numpy(),
        tokens["segment_ids"].flat_values.numpy().astype("uint8"),
        tokens["token_ids"].row_splits.numpy(),
        pad_id,
    )
