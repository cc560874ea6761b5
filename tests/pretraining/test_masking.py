"""Which tokens are hidden, how many, and what must never be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbert.pretraining.masking import mask_tokens

MASK = 4
REPLACEMENTS = np.arange(5, 1000)


def make(rows=64, length=128, seed=0):
    """Ids of rows `[CLS] ... [SEP]`, padded, and what may be chosen."""
    generator = np.random.default_rng(seed)
    ids = generator.integers(5, 1000, (rows, length)).astype("int32")
    sizes = generator.integers(10, length + 1, rows)
    t = np.arange(length)
    ids[:, 0] = 2
    ids[np.arange(rows), sizes - 1] = 3
    ids[t >= sizes[:, None]] = 0
    return ids, ids > 4


def mask(ids, candidates, seed=0, **options):
    return mask_tokens(
        ids,
        candidates,
        **({"rate": 0.15} | options),
        mask_id=MASK,
        replacements=REPLACEMENTS,
        generator=np.random.default_rng(seed),
    )


def chosen_of(masked, shape):
    chosen = np.zeros(shape, bool)
    rows, places = np.nonzero(masked.weights)
    chosen[rows, masked.positions[rows, places]] = True
    return chosen


def test_share_and_fate_of_the_chosen():
    ids, candidates = make(rows=2000)
    masked = mask(ids, candidates)
    chosen = chosen_of(masked, ids.shape)
    assert chosen.sum() == masked.weights.sum()
    share = chosen.sum() / candidates.sum()
    assert share == pytest.approx(0.15, abs=0.003)
    hidden = masked.token_ids[chosen]
    assert (hidden == MASK).mean() == pytest.approx(0.8, abs=0.01)
    same = hidden == ids[chosen]
    assert same.mean() == pytest.approx(0.1, abs=0.01)
    drawn = hidden[(hidden != MASK) & ~same]
    # Random tokens come from the whole vocabulary, and none is special.
    assert len(np.unique(drawn)) > 700
    assert drawn.min() >= 5


def test_every_place_is_as_likely():
    ids = np.full((20_000, 22), 7, "int32")
    candidates = np.zeros(ids.shape, bool)
    candidates[:, 1:-1] = True
    chosen = chosen_of(mask(ids, candidates), ids.shape)
    rates = chosen.mean(axis=0)
    np.testing.assert_allclose(rates[1:-1], 0.15, atol=0.015)
    assert rates[0] == rates[-1] == 0


@given(
    st.integers(0, 2**32 - 1),
    st.floats(0.01, 0.9),
    st.booleans(),
    st.integers(1, 40) | st.none(),
)
def test_never(seed, rate, whole, width):
    """What is not chosen stays; special tokens and padding are not chosen;
    the answers stand in the targets and nowhere else."""
    ids, candidates = make(rows=8, length=40, seed=seed)
    starts = np.random.default_rng(seed).random(ids.shape) < 0.6
    masked = mask(
        ids,
        candidates,
        seed,
        rate=rate,
        width=width,
        word_starts=starts if whole else None,
    )
    chosen = chosen_of(masked, ids.shape)
    assert not (chosen & ~candidates).any()
    np.testing.assert_array_equal(masked.token_ids[~chosen], ids[~chosen])
    real = masked.weights > 0
    rows = np.nonzero(real)[0]
    np.testing.assert_array_equal(
        masked.targets[real], ids[rows, masked.positions[real]]
    )
    assert not masked.targets[~real].any()
    assert not masked.positions[~real].any()
    # Places ascend, and none comes twice.
    assert chosen.sum() == real.sum()
    if width is not None:
        assert masked.positions.shape == (8, width)
    elif not whole:
        expected = np.maximum(np.rint(rate * candidates.sum(axis=1)), 1)
        np.testing.assert_array_equal(chosen.sum(axis=1), expected)


def words_of(candidates, starts):
    """Numbers of the words; -1 for what is no candidate."""
    words = np.full(candidates.shape, -1)
    number = -1
    for row in range(len(candidates)):
        inside = False
        for t in range(candidates.shape[1]):
            if not candidates[row, t]:
                inside = False
                continue
            if starts[row, t] or not inside:
                number += 1
            inside = True
            words[row, t] = number
    return words


@given(st.integers(0, 2**32 - 1))
def test_words_are_hidden_whole(seed):
    ids, candidates = make(rows=6, length=50, seed=seed)
    starts = np.random.default_rng(seed).random(ids.shape) < 0.5
    masked = mask(ids, candidates, seed, word_starts=starts)
    chosen = chosen_of(masked, ids.shape)
    words = words_of(candidates, starts)
    taken = set(words[chosen])
    assert taken.isdisjoint(words[candidates & ~chosen])
    # One word at least in each row that has any.
    assert (chosen.any(axis=1) == candidates.any(axis=1)).all()


def test_share_of_whole_words():
    ids, candidates = make(rows=2000)
    starts = np.random.default_rng(1).random(ids.shape) < 0.7
    masked = mask(ids, candidates, word_starts=starts)
    share = masked.weights.sum() / candidates.sum()
    assert share == pytest.approx(0.15, abs=0.005)


def test_a_row_without_candidates():
    ids = np.array([[2, 3, 0], [2, 9, 3]], "int32")
    for whole in (False, True):
        for rows, expected in ((ids, [[0], [1]]), (ids[:1], [[0]])):
            starts = np.ones(rows.shape, bool) if whole else None
            masked = mask(rows, rows > 4, word_starts=starts)
            np.testing.assert_array_equal(masked.weights, expected)


def test_repeatable():
    ids, candidates = make()
    a, b, c = (mask(ids, candidates, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a.token_ids, b.token_ids)
    assert (a.token_ids != c.token_ids).any()
