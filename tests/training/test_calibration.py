"""What a head learns from the rows that `fit` sets aside for it."""

import numpy as np
import pytest

import kbert
from kbert.heads.multi_label import MultiLabelHead
from kbert.plugins import Registered
from kbert.plugins import get_plugins
from kbert.training.calibrate import calibrate
from kbert.training.rows import read_held_out

FAST = {"epochs": 1, "batch_size": 8, "verbose": 0}


class InPlace(MultiLabelHead):
    """Learns thresholds in the list that it has."""

    name = "in_place"

    def calibrate(self, answers, targets):
        for i in range(len(self.labels)):
            self.thresholds[i] = 0.0


@pytest.fixture
def lists(toy):
    x, y = toy
    return x, [[label] for label in y]


def test_a_tenth_is_set_aside(lists):
    x, y = lists
    clf = kbert.Classifier("random:1x64", head="multi_label", seed=0)
    clf.fit(x * 5, y * 5, **FAST)
    assert clf.training["rows"] == 108
    assert clf.training["validation_rows"] == 12


def test_what_is_learned_in_place_is_served(lists):
    registered = Registered(InPlace, "tests", "1")
    with get_plugins().heads.lend("in_place", registered):
        clf = kbert.Classifier("random:1x64", head="in_place", seed=0)
        clf.fit(*lists, **FAST)
        clf.head.thresholds = [1.0, 1.0]
        clf.build_serving()
        assert clf.predict(["aaa"]) == [[]]
        calibrate(clf, read_held_out(clf, lists))
        (answer,) = clf.predict(["aaa"])
    assert sorted(answer) == ["a", "z"]
    assert np.all(np.array(clf.head.thresholds) == 0.0)
