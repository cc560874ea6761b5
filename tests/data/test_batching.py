"""Token tables and batches of like length."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbert.data.batching import BUCKETS
from kbert.data.batching import FULL_LENGTH
from kbert.data.batching import LengthBatches
from kbert.data.batching import TokenTable
from kbert.data.batching import TokenTargets
from kbert.data.batching import answer_batches
from kbert.data.batching import bucket
from kbert.data.batching import fill_targets
from kbert.data.batching import join_rows
from kbert.data.batching import length_batches

rows = st.lists(
    st.lists(st.integers(1, 99), min_size=1, max_size=20),
    min_size=1,
    max_size=40,
)


def table_of(rows):
    return TokenTable.from_rows(rows, [[0] * len(row) for row in rows])


@given(rows, st.data())
def test_take_gives_the_rows_back(rows, data):
    chosen = data.draw(
        st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=9)
    )
    batch = table_of(rows).take(np.array(chosen))
    assert batch["token_ids"].shape[1] == max(len(rows[i]) for i in chosen)
    for row, ids, mask in zip(
        chosen, batch["token_ids"], batch["padding_mask"], strict=True
    ):
        assert ids[mask].tolist() == rows[row]
        assert not ids[~mask].any()


@given(rows, st.data())
def test_select_is_a_table_of_the_rows(rows, data):
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=9))
    part = table_of(rows).select(np.array(chosen, int))
    assert part.lengths.tolist() == [len(rows[i]) for i in chosen]
    expected = [token for i in chosen for token in rows[i]]
    assert part.token_ids.tolist() == expected


def test_segments_follow_their_tokens():
    table = TokenTable.from_rows([[5, 6, 7], [8]], [[0, 1, 1], [0]])
    batch = table.take(np.array([1, 0]))
    assert batch["segment_ids"].tolist() == [[0, 0, 0], [0, 1, 1]]


def test_static_pads_to_a_bucket():
    table = table_of([[1] * 17, [1] * 3])
    assert table.take(np.array([0, 1]), static=True)["token_ids"].shape == (
        2,
        next(b for b in BUCKETS if b >= 17),
    )


def test_concatenate():
    table = TokenTable.concatenate([table_of([[1, 2]]), table_of([[3], [4]])])
    assert table.lengths.tolist() == [2, 1, 1]
    assert table.token_ids.tolist() == [1, 2, 3, 4]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=99))
def test_length_batches_hold_each_row_once_longest_first(lengths):
    batches = length_batches(np.array(lengths), 8)
    order = np.concatenate(batches)
    assert sorted(order) == list(range(len(lengths)))
    assert np.all(np.diff(np.array(lengths)[order]) <= 0)


@given(
    st.lists(st.integers(1, 600), min_size=1, max_size=99), st.integers(1, 40)
)
def test_batches_of_answers_bound_rows_and_tokens(lengths, batch_size):
    lengths = np.array(lengths)
    batches = answer_batches(lengths, batch_size)
    order = np.concatenate(batches)
    assert sorted(order) == list(range(len(lengths)))
    assert np.all(np.diff(lengths[order]) <= 0)
    for rows in batches:
        longest = lengths[rows].max()
        room = batch_size * FULL_LENGTH // max(longest, FULL_LENGTH)
        assert 1 <= len(rows) <= max(room, 1)
    # One number of rows for each doubling of the length, for XLA's sake.
    full = {
        (math.ceil(math.log2(lengths[rows[0]])), len(rows))
        for rows in batches[:-1]
        if lengths[rows[0]] > FULL_LENGTH
    }
    assert len(full) == len({power for power, _ in full})


@pytest.mark.parametrize(
    ("length", "rows"), [(16, 64), (128, 64), (129, 32), (256, 32), (512, 16)]
)
def test_batches_of_long_texts_have_fewer_rows(length, rows):
    sizes = [len(b) for b in answer_batches(np.full(128, length), 64)]
    assert sizes == [rows] * (128 // rows)


def batches_of(seed=0, shuffle=True, rows=130):
    random = np.random.default_rng(1)
    table = table_of([[1] * n for n in random.integers(1, 30, rows)])
    return LengthBatches(
        table, np.arange(rows), batch_size=8, seed=seed, shuffle=shuffle
    )


def test_nothing_is_tuned_while_training():
    # Its thread held up the end of one epoch in three, by seconds.
    pytest.importorskip("tensorflow")
    assert batches_of().for_fit().options().autotune.enabled is False


def rows_of(batches):
    return [y.tolist() for _, y in batches]


def test_an_epoch_holds_each_row_once():
    batches = batches_of()
    seen = [row for batch in rows_of(batches) for row in batch]
    assert sorted(seen) == list(range(130))
    assert len(rows_of(batches)) == len(batches)


def test_order_is_a_function_of_seed_and_epoch():
    first, second = batches_of(seed=3), batches_of(seed=3)
    assert rows_of(first) == rows_of(second)
    before = rows_of(first)
    first.on_epoch_end()
    assert rows_of(first) != before
    second.on_epoch_end()
    assert rows_of(first) == rows_of(second)
    assert rows_of(batches_of(seed=4)) != before


def test_little_is_padding():
    real = total = 0
    for x, _ in batches_of(rows=2000):
        real += x["padding_mask"].sum()
        total += x["padding_mask"].size
    assert real / total > 0.95


def test_weights_stay_with_their_rows():
    batches = LengthBatches(
        table_of([[1], [2], [3]]), np.arange(3), np.arange(3.0), 2
    )
    for _, y, weight in batches:
        assert y.tolist() == weight.tolist()


def test_dataset_lets_lengths_vary():
    pytest.importorskip("tensorflow")
    batches = batches_of()
    dataset = batches.for_fit()
    spec, _ = dataset.element_spec
    assert spec["token_ids"].shape.as_list() == [None, None]
    first = [y.tolist() for _, y in dataset.as_numpy_iterator()]
    second = [y.tolist() for _, y in dataset.as_numpy_iterator()]
    assert len(first) == len(dataset)
    assert first != second
    assert sorted(sum(second, [])) == list(range(130))


def test_weights_of_rows_reach_their_tokens():
    table = TokenTable.from_rows([[1, 2, 3], [4]], [[0, 0, 0], [0]])
    targets = TokenTargets(np.arange(4), table.offsets, fill=-1)
    batches = LengthBatches(
        table, {"tag": targets, "label": np.array([7, 8])}, np.array([0.5, 2])
    )
    ((_, y, weight),) = batches
    assert weight["tag"].shape == y["tag"].shape == (2, 3)
    for tags, weights in zip(y["tag"], weight["tag"], strict=True):
        assert set(weights) == {0.5 if tags[0] == 0 else 2.0}
    assert sorted(weight["label"]) == [0.5, 2]


def test_a_bucket_holds_its_own_length():
    lengths = [1, 16, 17, 512, 513]
    assert [bucket(length) for length in lengths] == [16, 16, 32, 512, 513]


@pytest.mark.parametrize(
    ("parts", "filled"),
    [
        ([np.array([[7]]), np.array([[1, 2]])], -1),
        ([np.array([[b"a"]], "O"), np.array([[b"b", b"c"]], "O")], b""),
        ([np.array([[0.5]]), np.array([[1.5, 2.5]])], 0.0),
    ],
)
def test_rows_of_fewer_columns_are_filled_up(parts, filled):
    first, second = (part[0].tolist() for part in parts)
    joined = join_rows(list(parts))
    assert joined.tolist() == [[*first, filled], second]


def test_rows_without_targets_have_those_of_padding():
    offsets = np.array([0, 2])
    tokens = TokenTargets(np.array([4, 5]), offsets, fill=-1)
    filled = fill_targets({"tags": tokens, "label": np.array([3, 2])}, (2, 3))
    assert filled["tags"].tolist() == [[-1] * 3] * 2
    assert filled["label"].tolist() == [3, 3]
