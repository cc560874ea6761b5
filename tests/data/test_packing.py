"""Several texts in one row: the same answers, and no text sees another."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

import kbert
from kbert.data.batching import TokenTable
from kbert.data.batching import TokenTargets
from kbert.data.packing import PackedBatches
from kbert.data.packing import fill_rows
from kbert.data.packing import pack
from kbert.errors import ConfigError

lengths_of_texts = st.lists(st.integers(1, 12), min_size=1, max_size=60)


def packed(inputs):
    return inputs | pack(inputs["padding_mask"])


# === Rows ===


@given(lengths_of_texts, st.integers(12, 20))
def test_each_text_is_in_one_row_that_holds_it(lengths, room):
    lengths = np.array(lengths)
    rows = fill_rows(lengths, room)
    assert sorted(sum(rows, [])) == list(range(len(lengths)))
    filled = [lengths[row].sum() for row in rows]
    assert max(filled) <= room
    # First fit: no two rows would fit into one.
    assert len(rows) == 1 or sum(sorted(filled)[:2]) > room


@given(lengths_of_texts, st.integers(0, 8))
def test_slots_and_sources_are_each_other_s_inverse(batch, lengths, more):
    mask = batch(lengths, max(lengths) + more)["padding_mask"]
    places = pack(mask)
    slots = places["slots"].reshape(-1)
    used = slots >= 0
    assert sorted(slots[used]) == np.flatnonzero(mask).tolist()
    sources = places["sources"].reshape(-1)
    np.testing.assert_array_equal(sources[slots[used]], np.flatnonzero(used))
    # A text is in one piece.
    starts = places["sources"][:, 0]
    for row, length in enumerate(lengths):
        np.testing.assert_array_equal(
            places["sources"][row, :length], starts[row] + np.arange(length)
        )


def test_the_number_of_rows_takes_few_values():
    seen = {
        len(pack(np.ones((size, 4), bool))["slots"]) for size in range(1, 257)
    }
    assert {1, 2, 7, 15, 16, 18, 32, 36, 256} <= seen and len(seen) < 50
    assert all(
        size <= len(pack(np.ones((size, 4), bool))["slots"]) <= size * 9 / 8
        for size in range(1, 257)
    )


# === The model ===


@pytest.fixture(scope="module")
def backbone():
    return kbert.Backbone.from_size((2, 64), 50, num_heads=4)


@settings(max_examples=20)
@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6))
def test_features_are_those_of_padded_texts(
    backbone, batch, check_layout, lengths
):
    inputs = batch(lengths, max(lengths) + 2)
    check_layout(backbone, "packed", inputs, pack(inputs["padding_mask"]))


def test_no_text_sees_another(backbone, batch):
    one, other = batch([5, 4, 3], 12), batch([5, 4, 3], 12, seed=1)
    for key in one:
        other[key][1] = one[key][1]  # The second is the same text.
    assert len(pack(one["padding_mask"])["slots"]) == 1  # All in one row.
    model = backbone.packed()
    first, second = (
        np.array(model(packed(inputs))["sequence_output"])
        for inputs in (one, other)
    )
    np.testing.assert_allclose(first[1, :4], second[1, :4], atol=1e-6)
    assert np.abs(first[0, :5] - second[0, :5]).max() > 0.1


def test_batches_have_few_shapes_and_all_rows_once():
    random = np.random.default_rng(0)
    rows = [[7] * n for n in random.integers(2, 40, 500)]
    table = TokenTable.from_rows(rows, [[0] * len(row) for row in rows])
    targets = {
        "row": np.arange(500),
        "token": TokenTargets(table.token_ids, table.offsets, -1),
    }
    batches = PackedBatches(table, targets, batch_size=50)
    seen, shapes = [], set()
    for tokens, found in batches:
        seen += found["row"].tolist()
        shapes.add((tokens["token_ids"].shape, tokens["slots"].shape))
        mask = tokens["padding_mask"]
        np.testing.assert_array_equal(found["token"] == 7, mask)
        assert (tokens["slots"] >= 0).mean() > 0.8
    assert sorted(seen) == list(range(500)) and seen != sorted(seen)
    assert len(shapes) < 9 and {ids[1] for ids, _ in shapes} == {48}


# === Training ===


def test_a_classifier_learns_and_then_answers_as_ever(toy, without_dropout):
    clf = without_dropout()
    history = clf.fit(
        *toy,
        epochs=4,
        batch_size=8,
        learning_rate=1e-3,
        layout="packed",
        validation_split=0.25,
        sample_weight=np.ones(len(toy[0])),
        verbose=0,
    )
    losses = history.history["loss"]
    assert losses[-1] < losses[0] and history.history["val_loss"]
    assert len(clf.predict(toy[0])) == len(toy[0])
    assert set(clf.model.input) == set(clf.backbone.input)


def test_is_chosen_on_jax_and_learns(toy, on_jax):
    code = (
        "import keras, kbert\n"
        "from kbert.models.layout import choose_layout\n"
        "assert keras.backend.backend() == 'jax'\n"
        "assert choose_layout(packed=True) == 'packed'\n"
        "clf = kbert.Classifier('random:1x64', seed=0)\n"
        f"history = clf.fit(*{toy!r}, epochs=4, batch_size=8, verbose=0,\n"
        "    learning_rate=1e-3)\n"
        "losses = history.history['loss']\n"
        "assert losses[-1] < losses[0], losses\n"
    )
    on_jax(code)


def test_a_head_that_answers_tokens_learns():
    words = [["Ann", "saw", "Bob"], ["Bob", "ran"], ["a", "dog"], ["he", "ran"]]
    tags = [["B-PER", "O", "B-PER"], ["B-PER", "O"], ["O", "O"], ["O", "O"]]
    clf = kbert.Classifier("random:1x64", head="ner", seed=0)
    losses = clf.fit(
        words,
        tags,
        epochs=20,
        batch_size=4,
        learning_rate=1e-3,
        layout="packed",
        verbose=0,
    ).history["loss"]
    assert losses[-1] < losses[0] / 2


def test_r_drop_is_refused(without_dropout):
    with pytest.raises(ConfigError, match="r_drop.*packed"):
        without_dropout().fit(["a"], ["a"], layout="packed", r_drop=1.0)
