"""Batches: what stands in them, padding, and any position again."""

import itertools

import numpy as np
import pytest

from kbert.errors import InputError
from kbert.pretraining.batches import LENGTHS
from kbert.pretraining.batches import Position
from kbert.pretraining.batches import PretrainingBatches


def first(corpus, count=5, objectives=("mlm", "nsp"), **options):
    batches = PretrainingBatches(
        corpus,
        objectives,
        **({"sequence_length": 32, "batch_size": 8} | options),
    )
    return list(itertools.islice(batches.after(Position()), count))


def assert_equal(a, b):
    for one, other in zip(a, b, strict=True):
        assert one.keys() == other.keys()
        for key, value in one.items():
            np.testing.assert_array_equal(value, other[key])


def original(inputs, targets, weights):
    """The ids before masking."""
    ids = inputs["token_ids"].copy()
    rows, places = np.nonzero(weights["mlm"])
    ids[rows, inputs["masked_positions"][rows, places]] = targets["mlm"][
        rows, places
    ]
    return ids


def test_rows_are_built_as_bert_builds_them(corpus):
    for _, (inputs, targets, weights) in first(corpus, 20):
        ids = original(inputs, targets, weights)
        real = inputs["padding_mask"]
        assert (ids[~real] == corpus.pad_id).all()
        for row, segments, mask in zip(
            ids, inputs["segment_ids"], real, strict=True
        ):
            row, segments = row[mask], segments[mask]
            assert row[0] == corpus.cls_id and row[-1] == corpus.sep_id
            middle, end = np.flatnonzero(row == corpus.sep_id)
            assert end == len(row) - 1
            # 0 up to the first [SEP], 1 after it.
            np.testing.assert_array_equal(
                segments, (np.arange(len(row)) > middle).astype(int)
            )
            assert 1 < middle < end - 1


def text_of(corpus, ids):
    return " ".join(corpus.vocabulary[i] for i in ids)


def test_segments_are_text_of_the_corpus(corpus):
    shard = corpus.shards[0]
    everything = text_of(corpus, shard.tokens)
    for _, (inputs, targets, weights) in first(corpus, 5):
        ids = original(inputs, targets, weights)
        for row, real, label in zip(
            ids, inputs["padding_mask"], targets["nsp"], strict=True
        ):
            row = row[real]
            middle = list(row).index(corpus.sep_id)
            a = text_of(corpus, row[1:middle])
            b = text_of(corpus, row[middle + 1 : -1])
            assert a in everything and b in everything
            if not label:
                # What follows stands after it.
                assert everything.index(a) < everything.rindex(b)


def test_masking_hits_words_only_and_changes_every_epoch(corpus):
    special = list(corpus.special_ids)
    epochs = {}
    batches = PretrainingBatches(corpus, ("mlm",), 32, 8)
    for position, (inputs, targets, weights) in batches.after(Position()):
        if position.epoch == 2:
            break
        assert not np.isin(targets["mlm"][weights["mlm"] > 0], special).any()
        epochs.setdefault(position.epoch, []).append(
            (original(inputs, targets, weights), inputs["token_ids"])
        )
    kinds = [
        {row.tobytes() for _, masked in batches for row in masked}
        for batches in epochs.values()
    ]
    assert len(kinds[0] & kinds[1]) < 0.05 * len(kinds[0])


def test_labels(corpus):
    for objectives in (("mlm",), ("nsp",), ("mlm", "sop"), ("nsp", "sop")):
        (_, (inputs, targets, weights)), *_ = first(
            corpus, objectives=objectives, batch_size=64
        )
        assert targets.keys() == weights.keys() == set(objectives)
        assert ("masked_positions" in inputs) == ("mlm" in objectives)
        if objectives == ("mlm",):
            assert not inputs["segment_ids"].any()
        if objectives == ("nsp", "sop"):
            # A random second segment has no order.
            assert not weights["sop"][targets["nsp"] == 1].any()
            assert weights["sop"][targets["nsp"] == 0].all()
            assert 0 < weights["sop"].mean() < 1


def test_little_is_padding(corpus):
    for static in (False, True):
        found = first(corpus, 40, batch_size=4, static=static)
        masks = [inputs["padding_mask"] for _, (inputs, _, _) in found]
        real = sum(mask.sum() for mask in masks)
        assert real / sum(mask.size for mask in masks) > 0.9
        if static:
            lengths = {mask.shape[1] for mask in masks}
            assert len(lengths) <= LENGTHS
            assert all(length % 4 == 0 for length in lengths)
            for _, (inputs, _, _) in found:
                width = inputs["masked_positions"].shape[1]
                assert width == round(0.15 * inputs["token_ids"].shape[1])


@pytest.mark.parametrize("number", [0, 3, 11, 25])
def test_any_position_again(corpus, number):
    found = first(corpus, 30)
    assert found[-1][0].epoch > 0
    batches = PretrainingBatches(corpus, ("mlm", "nsp"), 32, 8)
    again = batches.after(found[number][0])
    for position, batch in found[number + 1 :]:
        received_position, received = next(again)
        assert received_position == position
        assert_equal(received, batch)


def test_the_seed_decides(corpus):
    a, b = (first(corpus, 1, seed=seed)[0][1] for seed in (0, 1))
    assert (
        a[0]["token_ids"].shape != b[0]["token_ids"].shape
        or (a[0]["token_ids"] != b[0]["token_ids"]).any()
    )


def test_too_little_text(corpus):
    with pytest.raises(InputError, match="smaller batch_size or more text"):
        first(corpus, 1, batch_size=100_000)
