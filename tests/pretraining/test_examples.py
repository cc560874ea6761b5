"""Segments of examples: where they come from and how long they are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbert.errors import InputError
from kbert.pretraining.corpus import Shard
from kbert.pretraining.examples import NEAR
from kbert.pretraining.examples import NEXT
from kbert.pretraining.examples import RANDOM
from kbert.pretraining.examples import SWAPPED
from kbert.pretraining.examples import plan_examples


def shard(documents):
    """A shard of documents, lists of sentence lengths; a token is its place."""
    lengths = [length for document in documents for length in document]
    return Shard(
        tokens=np.arange(sum(lengths), dtype="uint32"),
        sentences=np.concatenate([[0], np.cumsum(lengths)]).astype("int64"),
        documents=np.concatenate(
            [[0], np.cumsum([len(d) for d in documents])]
        ).astype("int64"),
        word_starts=np.ones(sum(lengths), bool),
    )


def many(count=400, seed=0):
    generator = np.random.default_rng(seed)
    return shard(
        [
            generator.integers(3, 30, generator.integers(2, 30)).tolist()
            for _ in range(count)
        ]
    )


def documents_of(part, starts):
    """The document that each token is in."""
    edges = part.sentences[part.documents]
    return np.searchsorted(edges, starts, side="right") - 1


ALL = (NEXT, RANDOM, SWAPPED)


@pytest.mark.parametrize("relations", [(NEXT, RANDOM), (NEXT, SWAPPED), ALL])
def test_relations(relations):
    part = many()
    plan = plan_examples(part, 64, relations, (0,))
    shares = np.bincount(plan.relations, minlength=3) / len(plan)
    for relation in ALL:
        wanted = (relation in relations) / len(relations)
        assert shares[relation] == pytest.approx(wanted, abs=0.03)
    first, second = documents_of(part, plan.starts).T
    random = plan.relations == RANDOM
    assert (first[random] != second[random]).all()
    assert (first[~random] == second[~random]).all()
    ends = plan.starts + plan.lengths
    following = plan.relations == NEXT
    assert (ends[following, 0] <= plan.starts[following, 1]).all()
    swapped = plan.relations == SWAPPED
    assert (ends[swapped, 1] <= plan.starts[swapped, 0]).all()


def test_negatives_come_from_near_documents():
    # Two sources, one after the other, as those of a folder of files.
    part = many(400)
    plan = plan_examples(part, 64, (NEXT, RANDOM), (0,))
    first, second = documents_of(part, plan.starts).T
    random = plan.relations == RANDOM
    steps = (second - first)[random]
    assert np.abs(steps).max() == NEAR
    # As often before as after, but for the edges of the shard.
    inner = (first[random] >= NEAR) & (first[random] < 400 - NEAR)
    assert (steps[inner] > 0).mean() == pytest.approx(0.5, abs=0.05)
    crosses = (first[random] < 200) != (second[random] < 200)
    assert crosses.mean() < 0.1


@given(
    st.lists(
        st.lists(st.integers(1, 40), min_size=1, max_size=6),
        min_size=2,
        max_size=8,
    ).filter(lambda documents: any(len(d) > 1 for d in documents)),
    st.integers(8, 64),
    st.sampled_from([(), (NEXT, RANDOM), (NEXT, SWAPPED), ALL]),
    st.integers(0, 1000),
)
def test_lengths(documents, length, relations, seed):
    part = shard(documents)
    plan = plan_examples(part, length, relations, (seed,))
    room = length - (3 if relations else 2)
    assert (plan.lengths.sum(axis=1) <= room).all()
    wanted = 2 if relations else 1
    assert (plan.lengths[:, :wanted] > 0).all()
    ends = plan.starts + plan.lengths
    for i in range(wanted):
        # A segment lies within one document.
        a = documents_of(part, plan.starts[:, i])
        b = documents_of(part, ends[:, i] - 1)
        np.testing.assert_array_equal(a, b)


def test_lengths_do_not_tell_the_relation():
    # Short documents: nearly every chunk is at an end.
    generator = np.random.default_rng(5)
    part = shard(
        [
            generator.integers(4, 20, generator.integers(2, 5)).tolist()
            for _ in range(4000)
        ]
    )
    plan = plan_examples(part, 128, (NEXT, RANDOM), (0,))
    random = plan.relations == RANDOM
    for column in (0, 1):
        means = [
            plan.lengths[kind, column].mean() for kind in (random, ~random)
        ]
        assert means[0] == pytest.approx(means[1], rel=0.05)
    # The best guess from the total length is hardly better than chance.
    total = plan.lengths.sum(axis=1)
    right = sum(
        np.bincount(random[total == n], minlength=2).max()
        for n in np.unique(total)
    )
    assert right / len(plan) < 0.6


def test_rows_are_full_but_for_the_short_ones():
    part = shard([[10] * 200 for _ in range(20)])
    plan = plan_examples(part, 103, (NEXT, RANDOM), (3,))
    total = plan.lengths.sum(axis=1)
    assert (total < 90).mean() == pytest.approx(0.1, abs=0.04)
    assert np.median(total) == 100


def test_without_relations_every_token_is_used_once():
    part = shard([[5] * 7, [3], [4, 90, 2]])
    plan = plan_examples(part, 500, (), (1,))
    used = np.concatenate(
        [
            np.arange(start, start + length)
            for (start, _), (length, _) in zip(
                plan.starts, plan.lengths, strict=True
            )
        ]
    )
    np.testing.assert_array_equal(np.sort(used), part.tokens)


def test_the_seed_decides():
    part = many(50)
    a, b, c = (plan_examples(part, 64, ALL, (s, 0)) for s in (1, 1, 2))
    np.testing.assert_array_equal(a.starts, b.starts)
    assert len(a) != len(c) or (a.starts != c.starts).any()


def test_one_document_has_no_negatives():
    with pytest.raises(InputError, match="two documents or more"):
        plan_examples(shard([[5, 5, 5]]), 64, (NEXT, RANDOM), (0,))
    assert len(plan_examples(shard([[5, 5, 5]]), 64, (NEXT, SWAPPED), (0,)))


def test_documents_of_one_sentence():
    part = shard([[5], [6], [7]])
    with pytest.raises(InputError, match="documents of two sentences"):
        plan_examples(part, 64, (NEXT, RANDOM), (0,))
    assert len(plan_examples(part, 64, (), (0,))) == 3
