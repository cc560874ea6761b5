"""How an epoch's steps are shared out, and what a batch holds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbert.data.batching import TokenTable
from kbert.data.batching import TokenTargets
from kbert.training.examples import Examples
from kbert.training.task_batches import POWERS
from kbert.training.task_batches import AllBatches
from kbert.training.task_batches import TaskBatches
from kbert.training.task_batches import share_steps

SIZES = st.lists(st.integers(1, 500), min_size=1, max_size=6)


def table(lengths):
    rows = [[i] * n for i, n in enumerate(lengths)]
    return TokenTable.from_rows(rows, [[0] * n for n in lengths])


def examples():
    one = table(range(1, 24))
    two = table([3, 5, 4, 2])
    tags = TokenTargets(np.arange(14, dtype="int32"), two.offsets, fill=-1)
    return {
        "one": Examples(one, np.arange(23), np.arange(23, dtype="float32")),
        "two": Examples(two, tags),
    }


@given(SIZES, st.sampled_from(sorted(POWERS)))
def test_shares_add_up_and_grow_with_the_data(sizes, sampling):
    batches = {f"t{i}": size for i, size in enumerate(sizes)}
    steps = share_steps(sampling, batches)
    assert list(steps) == list(batches)
    assert min(steps.values()) >= 1
    # A task that would get none gets one.
    assert 0 <= sum(steps.values()) - sum(sizes) < len(sizes)
    if sampling == "proportional":
        assert steps == batches
    if sampling == "equal":
        assert max(steps.values()) - min(steps.values()) <= 1


@given(
    st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=5),
    st.integers(10, 2000),
)
def test_weights_are_shares(weights, total):
    names = [f"t{i}" for i in range(len(weights))]
    sampling = dict(zip(names, weights, strict=True))
    batches = dict.fromkeys(names, total)
    steps = share_steps(sampling, batches)
    for name, weight in sampling.items():
        exact = total * len(names) * weight / sum(weights)
        assert abs(steps[name] - exact) <= 1


def test_square_root():
    assert share_steps("sqrt", {"a": 16, "b": 4}) == {"a": 13, "b": 7}


def test_every_row_comes_once_an_epoch():
    batches = TaskBatches(examples(), {"one": 6, "two": 1}, batch_size=4)
    for _ in range(2):
        seen = {"one": [], "two": []}
        for name, rows in batches._batches:
            seen[name] += rows.tolist()
        assert sorted(seen["one"]) == list(range(23))
        assert sorted(seen["two"]) == list(range(4))
        order = [name for name, _ in batches._batches]
        batches.on_epoch_end()
    assert order != [name for name, _ in batches._batches]


def test_a_small_task_begins_again_and_a_large_one_goes_on():
    batches = TaskBatches(examples(), {"one": 2, "two": 2}, batch_size=4)
    seen = {"one": [], "two": []}
    for _ in range(3):
        for name, rows in batches._batches:
            seen[name] += rows.tolist()
        batches.on_epoch_end()
    assert sorted(seen["one"]) == list(range(23))
    assert sorted(seen["two"]) == sorted(list(range(4)) * 6)


def test_the_order_is_that_of_the_seed_and_the_epoch():
    def order(seed, epoch):
        steps = {"one": 4, "two": 3}
        batches = TaskBatches(examples(), steps, 4, seed, epoch)
        return [(name, rows.tolist()) for name, rows in batches._batches]

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(2, 2)
    assert order(1, 2) != order(1, 3)


@pytest.mark.parametrize("kind", [TaskBatches, AllBatches])
def test_other_tasks_weigh_nothing(kind):
    batches = kind(examples(), {"one": 6, "two": 1}, batch_size=4)
    for place, (tokens, targets, weights) in enumerate(batches):
        name, rows = batches._batches[place]
        shape = tokens["token_ids"].shape
        assert targets["one"].shape == weights["one"].shape == shape[:1]
        assert targets["two"].shape == weights["two"].shape == shape
        if name == "one":
            np.testing.assert_array_equal(targets["one"], rows)
            np.testing.assert_array_equal(weights["one"], rows)
            assert not weights["two"].any()
            assert (targets["two"] == -1).all()
        else:
            assert not weights["one"].any()
            assert weights["two"].all()
            first = examples()["two"].table.offsets[rows]
            np.testing.assert_array_equal(targets["two"][:, 0], first)
