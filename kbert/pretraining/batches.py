"""Batches of pretraining: each a function of corpus, seed and position."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kbert.data.batching import shuffled_batches
from kbert.errors import InputError
from kbert.pretraining.corpus import Corpus
from kbert.pretraining.corpus import Shard
from kbert.pretraining.examples import NEXT
from kbert.pretraining.examples import RANDOM
from kbert.pretraining.examples import SWAPPED
from kbert.pretraining.examples import Plan
from kbert.pretraining.examples import plan_examples
from kbert.pretraining.masking import mask_tokens

Batch = tuple[dict, dict, dict]

# How many row lengths there are where the backend compiles by shape.
LENGTHS = 8


@dataclass(frozen=True)
class Position:
    """Where in the data a batch is.

    Attributes:
        epoch: passes over the corpus that are done.
        shard: shards of this epoch that are done.
        batch: batches of this shard that are done.
    """

    epoch: int = 0
    shard: int = 0
    batch: int = 0


class PretrainingBatches:
    """Batches of masked examples, without end, anew in every epoch.

    Rows of a batch are of like length, so that little is computed on
    padding.

    Args:
        corpus: `kbert.pretraining.corpus.Corpus`.
        objectives: names of the objectives, of `"mlm"`, `"nsp"` and `"sop"`.
        sequence_length: T, tokens in a row at most, special ones included.
        batch_size: B, rows in a batch.
        mask_rate: part of the tokens that `"mlm"` chooses.
        whole_words: whether it chooses whole words.
        static: pad to few lengths, for a backend that compiles by shape.
        seed: int.

    A batch is `(inputs, targets, sample_weight)`, each a dict of arrays.
    Inputs: `token_ids`, `segment_ids` int32 and `padding_mask` bool
    `(B, T)`; with `"mlm"` `masked_positions` int32 `(B, P)`. Targets and
    weights: `mlm` `(B, P)`, the hidden tokens; `nsp` `(B,)`, 1 where the
    second segment comes from another document; `sop` `(B,)`, 1 where the
    segments are swapped, of weight 0 where they do not belong together.

    Example:

    >>> batches = PretrainingBatches(corpus, ("mlm", "nsp"), 128, 32)
    >>> position, (inputs, targets, weights) = next(batches.after(Position()))
    """

    def __init__(
        self,
        corpus: Corpus,
        objectives: tuple[str, ...],
        sequence_length: int,
        batch_size: int,
        mask_rate: float = 0.15,
        whole_words: bool = False,
        static: bool = False,
        seed: int = 0,
    ):
        self.corpus = corpus
        self.objectives = objectives
        self.sequence_length = sequence_length
        self.batch_size = batch_size
        self.mask_rate = mask_rate
        self.whole_words = whole_words
        self.static = static
        self.seed = seed
        self.relations = ()
        if "nsp" in objectives or "sop" in objectives:
            self.relations = (NEXT,)
            self.relations += (RANDOM,) * ("nsp" in objectives)
            self.relations += (SWAPPED,) * ("sop" in objectives)
        ordinary = np.ones(len(corpus.vocabulary), bool)
        ordinary[list(corpus.special_ids)] = False
        self.replacements = np.flatnonzero(ordinary).astype("int32")

    def after(self, position: Position) -> Iterator[tuple[Position, Batch]]:
        """The batches from a position on, each with the position after it."""
        epoch, done, skip = position.epoch, position.shard, position.batch
        while True:
            fresh, some = not (done or skip), False
            shards = self._generator(epoch).permutation(len(self.corpus.shards))
            for place in range(done, len(shards)):
                for number, batch in self._shard(epoch, shards[place], skip):
                    some = True
                    yield Position(epoch, place, number + 1), batch
                skip = 0
            if fresh and not some:
                raise InputError(
                    f"Expected a shard with a batch of {self.batch_size} "
                    f"examples. Received: a corpus of "
                    f"{self.corpus.tokens:,} tokens in "
                    f"{len(self.corpus.shards)} shard(s) that has fewer. Use "
                    f"a smaller batch_size or more text."
                )
            epoch, done = epoch + 1, 0

    def _generator(self, *place: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, *place))

    def _shard(self, epoch, number, skip) -> Iterator[tuple[int, Batch]]:
        """The full batches of a shard, with their numbers, from `skip` on."""
        place = (epoch, int(number))
        shard = self.corpus.shards[number]
        plan = plan_examples(
            shard, self.sequence_length, self.relations, (self.seed, *place)
        )
        batches = shuffled_batches(
            plan.lengths.sum(axis=1),
            self.batch_size,
            self._generator(*place),
        )
        full = [rows for rows in batches if len(rows) == self.batch_size]
        for index in range(skip, len(full)):
            yield (
                index,
                self._batch(
                    shard, plan, full[index], self._generator(*place, index)
                ),
            )

    def _batch(
        self,
        shard: Shard,
        plan: Plan,
        rows: np.ndarray,
        generator: np.random.Generator,
    ) -> Batch:
        corpus = self.corpus
        starts, lengths = plan.starts[rows], plan.lengths[rows]  # (B, 2)
        first, second = lengths[:, :1], lengths[:, 1:]  # (B, 1)
        # [CLS] first [SEP], and second [SEP] if there are two.
        sizes = first + 2 + (second + 1 if self.relations else 0)  # (B, 1)
        longest = int(sizes.max())
        if self.static:
            unit = -(-self.sequence_length // LENGTHS)
            longest = min(-(-longest // unit) * unit, self.sequence_length)
        t = np.arange(longest)  # (T,)
        real = t < sizes  # (B, T)
        in_first = (t > 0) & (t <= first)
        in_second = (t >= first + 2) & (t < sizes - 1)
        # Where in the shard each token is; 0 for what is not text.
        source = np.where(in_first, starts[:, :1] + t - 1, 0)
        source = np.where(in_second, starts[:, 1:] + t - first - 2, source)
        text = in_first | in_second
        token_ids = np.where(real, corpus.sep_id, corpus.pad_id)
        token_ids[:, 0] = corpus.cls_id
        token_ids[text] = shard.tokens[source[text]]
        token_ids = token_ids.astype("int32")

        inputs = {
            "token_ids": token_ids,
            "segment_ids": (real & (t >= first + 2)).astype("int32"),
            "padding_mask": real,
        }
        targets, weights = {}, {}
        if "mlm" in self.objectives:
            starts_word = None
            if self.whole_words:
                starts_word = np.zeros_like(text)
                starts_word[text] = shard.word_starts[source[text]]
            masked = mask_tokens(
                token_ids,
                # A token that is unknown or typed as special teaches nothing.
                text & ~np.isin(token_ids, corpus.special_ids),
                rate=self.mask_rate,
                mask_id=corpus.mask_id,
                replacements=self.replacements,
                generator=generator,
                word_starts=starts_word,
                width=round(self.mask_rate * longest) if self.static else None,
            )
            inputs["token_ids"] = masked.token_ids
            inputs["masked_positions"] = masked.positions
            targets["mlm"], weights["mlm"] = masked.targets, masked.weights
        relation = plan.relations[rows]
        if "nsp" in self.objectives:
            targets["nsp"] = (relation == RANDOM).astype("int32")
            weights["nsp"] = np.ones(len(rows), "float32")
        if "sop" in self.objectives:
            targets["sop"] = (relation == SWAPPED).astype("int32")
            weights["sop"] = (relation != RANDOM).astype("float32")
        return inputs, targets, weights
