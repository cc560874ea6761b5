"""Rows that are set aside: in proportion, whatever else is rare."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kbert
from kbert.errors import InputError
from kbert.heads.classification import ClassificationHead
from kbert.heads.multi_label import MultiLabelHead
from kbert.heads.ner import EntityHead
from kbert.heads.qa import AnswerHead
from kbert.heads.regression import RegressionHead
from kbert.training.rows import labelled_rows
from kbert.training.split import set_aside


def parts(labels, fraction, seed=0):
    """Labels that are trained on, and labels that are set aside."""
    aside = set_aside([(label,) for label in labels], fraction, seed)
    labels = np.array(labels)
    return Counter(labels[~aside].tolist()), Counter(labels[aside].tolist())


def test_one_rare_label_leaves_the_others_in_proportion():
    labels = ["a"] * 40 + ["b"] * 4 + ["c"]
    for seed in range(30):
        train, aside = parts(labels, 0.1, seed)
        assert aside == {"a": 4, "b": 1}
        assert train == {"a": 36, "b": 3, "c": 1}
    assert parts(["a"] * 50 + ["b"] * 30 + [*"cdefgh"], 0.2)[1] == {
        **{"a": 10, "b": 6}
    }


@given(
    st.dictionaries(st.integers(0, 9), st.integers(1, 30), min_size=1),
    st.floats(0.01, 0.99),
    st.integers(0, 3),
)
def test_every_label_is_trained_on_and_in_proportion(counts, fraction, seed):
    labels = [label for label, count in counts.items() for _ in range(count)]
    if max(counts.values()) == 1:
        with pytest.raises(InputError, match="two or more of a label"):
            parts(labels, fraction, seed)
        return
    train, aside = parts(labels, fraction, seed)
    assert (train, aside) == parts(labels, fraction, seed)
    shares = [min(fraction * n, n - 1) for n in counts.values()]
    assert aside.total() == math.ceil(sum(shares) - 1e-6)
    for label, count in counts.items():
        assert train[label] >= 1
        assert train[label] + aside[label] == count
        share = min(fraction * count, count - 1)
        assert abs(aside[label] - share) < 1 + 1e-6


def test_more_labels_than_rows_that_are_set_aside():
    # Whoever is nearest to a row, and one at most of each.
    labels = [label for label in range(20) for _ in range(5)] + [20, 20]
    _, aside = parts(labels, 0.1)
    assert aside.total() == 11 and set(aside.values()) == {1}


def test_a_label_without_a_row_comes_first():
    # a has a share of 1.8, of which one row is taken, and b one of 0.2.
    assert parts(["a"] * 18 + ["b"] * 2, 0.1)[1] == {"a": 1, "b": 1}


def test_seeds_differ():
    strata = [("a",)] * 30 + [("b",)] * 30
    one, other = (set_aside(strata, 0.5, seed) for seed in (0, 1))
    assert one.sum() == other.sum() == 30 and (one != other).any()


@given(
    st.lists(st.sets(st.sampled_from("abcd")), min_size=2, max_size=30),
    st.sampled_from([0.1, 0.5, 0.9]),
)
def test_every_one_of_several_labels_is_trained_on(rows, fraction):
    try:
        aside = set_aside(rows, fraction, 0)
    except InputError:
        return
    kept = [row for row, out in zip(rows, aside, strict=True) if not out]
    assert set().union(*kept) == set().union(*rows)


def test_rare_ones_of_several_labels_are_in_proportion():
    rows = [["common"]] * 80 + [["common", "rare"]] * 10 + [[]] * 10
    for seed in range(10):
        aside = np.flatnonzero(set_aside(rows, 0.2, seed))
        assert ((aside >= 80) & (aside < 90)).sum() == 2
        assert (aside >= 90).sum() == 2


def test_strata_of_heads():
    assert ClassificationHead().strata(["a", 1]) == [("a",), (1,)]
    assert RegressionHead().strata([0.5, 2.0]) is None
    assert MultiLabelHead().strata([["a", "b"], []]) == [["a", "b"], []]
    assert EntityHead().strata([[(0, 3, "A"), (4, 5, "A")]]) == [{"A"}]
    rows = [{"text": ["x"]}, {"text": []}]
    assert AnswerHead().strata(rows) == [(True,), (False,)]


@pytest.mark.parametrize("head", ["classification", "sentiment", "regression"])
def test_rows_that_fit_sets_aside(head):
    clf = kbert.Classifier("random:1x64", head=head)
    y = [1] * 20 + [2] * 10 + [3]
    data = ([f"text {i}" for i in range(31)], y)
    for seed in (0, 1):
        train, aside = labelled_rows(clf, data, None, 0.2, None, None, seed)
        texts = train.columns[0] + aside.columns[0]
        assert sorted(texts) == sorted(data[0])
        if head == "regression":
            assert len(aside) == 7
            continue
        assert np.bincount(aside.targets).tolist() == [4, 2]
        assert np.bincount(train.targets).tolist() == [16, 8, 1]


def test_nothing_can_be_set_aside():
    clf = kbert.Classifier("random:1x64")
    with pytest.raises(InputError, match="set 50% aside.*2 rows"):
        clf.fit(["x", "y"], ["a", "b"], validation_split=0.5)
