"""Which tokens make up each pretraining example: one segment, or two.

An example is one or two runs of tokens of a shard; nothing is copied here.
"""

from __future__ import annotations

import bisect
import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kbert.errors import InputError
from kbert.pretraining.corpus import Shard

# Part of the examples that aim at a random shorter length.
SHORT_RATE = 0.1

# How often another document is drawn for one that is long enough.
TRIES = 10

# How many documents before and after one the other is drawn from.
NEAR = 50

# What the second segment is to the first.
NEXT, RANDOM, SWAPPED = range(3)


@dataclass(frozen=True)
class Plan:
    """The examples of a shard, in document order.

    Attributes:
        starts: int64 `(E, 2)`, where each segment begins in the shard.
        lengths: int64 `(E, 2)`, its tokens; 0 where there is no second one.
        relations: int8 `(E,)`, `NEXT`, `RANDOM` or `SWAPPED`.
    """

    starts: np.ndarray
    lengths: np.ndarray
    relations: np.ndarray

    def __len__(self) -> int:
        return len(self.relations)


def plan_examples(
    shard: Shard,
    sequence_length: int,
    relations: tuple[int, ...],
    seed: tuple[int, ...],
) -> Plan:
    """Cut the documents of a shard into examples.

    A chunk of a document is as many whole sentences as reach the aimed
    length: `sequence_length` less the special tokens or, for one example in
    ten, a random shorter one. With relations to tell apart, a chunk is split
    between two of its sentences. For `NEXT` both parts are used in order, for
    `SWAPPED` the other way round; for `RANDOM` the second part comes from
    another document, and the part that it replaces begins the next chunk.
    What is too long loses tokens at either end of its longer segment.

    Reference: Devlin et al. 2018, appendix A.2, and Google's
    create_pretraining_data.py; Lan et al. 2019, section 3.1 (sentence order).

    Args:
        shard: `kbert.pretraining.corpus.Shard`.
        sequence_length: T, tokens in a row, special ones included.
        relations: those to draw from, each as often; empty for examples of
            one segment.
        seed: what the plan depends on, besides the shard.

    Returns:
        A `Plan`, the same for the same arguments.

    Raises:
        InputError: `RANDOM` is asked for and the shard has but one document,
            or no document has two sentences to split between.

    Departures: Google's code makes a chunk of one sentence always `RANDOM`,
    so that more than half are. Here a chunk has two sentences or more and
    the relations are drawn evenly: a sentence that would be left over at the
    end of a document joins the chunk before it, or is dropped. Google's
    random segments fill the row up, also where the document that they take
    the place of is at its end, so that in short documents the length alone
    tells the answer; here they have as many sentences as what they replace.
    Google's come from any document; here from one of the 50 before and the
    50 after. Documents of a source lie together, and across sources style
    alone tells the answer: a model that learned from that takes any two
    segments of one source for neighbours.

    Example:

    >>> plan = plan_examples(shard, 128, (NEXT, RANDOM), seed=(0, 1))
    >>> plan.lengths.sum(axis=1).max()
    125
    """
    if RANDOM in relations and len(shard.documents) < 3:
        raise InputError(
            "Expected two documents or more in every shard: the negative of "
            "next-sentence prediction comes from another document. Received: "
            "a shard with one. Check that blank lines part the documents, or "
            "leave the objective 'nsp' out."
        )
    # Lists: Python reads single numbers from them faster than from arrays.
    maker = _Maker(
        shard.sentences.tolist(),
        shard.documents.tolist(),
        sequence_length - (3 if relations else 2),
        relations,
        random.Random(repr(seed)),
    )
    rows = [row for d in range(maker.count) for row in maker.document(d)]
    if not rows:
        raise InputError(
            "Expected documents of two sentences or more. Received: a shard "
            "where each has one, and the objectives 'nsp' and 'sop' need a "
            "second. Check how the text was split, or use 'mlm' alone."
        )
    table = np.array(rows, "int64")  # (E, 5)
    starts, ends = table[:, 0:4:2], table[:, 1:4:2]  # (E, 2)
    starts, lengths = _truncate(
        starts,
        ends - starts,
        maker.room,
        np.random.default_rng(seed),
    )
    return Plan(starts, lengths, table[:, 4].astype("int8"))


class _Maker:
    """Rows `(start, end, start, end, relation)` of each document."""

    def __init__(self, sentences, documents, room, relations, draw):
        self.sentences = sentences
        self.documents = documents
        self.count = len(documents) - 1
        self.room = room
        self.relations = relations
        self.draw = draw

    def document(self, d: int) -> Iterator[tuple]:
        offset, draw = self.sentences, self.draw
        start, stop = self.documents[d], self.documents[d + 1]
        least = 2 if self.relations else 1
        while stop - start >= least:
            room = self.room
            if draw.random() < SHORT_RATE:
                room = draw.randint(2, room)
            # The chunk is [start, end), whole sentences that fill the room.
            end = bisect.bisect_left(
                offset, offset[start] + room, start + least, stop
            )
            if not self.relations:
                yield offset[start], offset[end], 0, 0, NEXT
                start = end
                continue
            if stop - end == 1:
                end = stop
            middle = draw.randrange(start + 1, end)
            relation = draw.choice(self.relations)
            first = (offset[start], offset[middle])
            second = (offset[middle], offset[end])
            if relation == RANDOM:
                second = self._elsewhere(d, end - middle)
                end = middle
            elif relation == SWAPPED:
                first, second = second, first
            yield *first, *second, relation
            start = end

    def _elsewhere(self, d: int, sentences: int) -> tuple[int, int]:
        """As many sentences of another document, or all that it has."""
        low, high = max(d - NEAR, 0), min(d + NEAR, self.count - 1)
        for _ in range(TRIES):
            other = self.draw.randrange(low, high)
            other += other >= d
            begin, stop = self.documents[other], self.documents[other + 1]
            if stop - begin >= sentences:
                break
        start = self.draw.randint(begin, max(stop - sentences, begin))
        end = min(start + sentences, stop)
        return self.sentences[start], self.sentences[end]


def _truncate(starts, lengths, room, generator):
    """Take what is over the room from the longer segment, at random ends."""
    small = np.minimum(lengths.min(axis=1), room // 2)  # (E,)
    over = lengths.sum(axis=1) > room
    longer = lengths.argmax(axis=1)  # (E,)
    kept = lengths.copy()
    rows = np.flatnonzero(over)
    kept[rows, longer[rows]] = room - small[rows]
    kept[rows, 1 - longer[rows]] = small[rows]
    # Each token that goes, goes from the front or from the back.
    front = generator.binomial(lengths - kept, 0.5)
    return starts + front, kept
