"""The head `multi_label`: thresholds by label, and what it refuses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

import kbert
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.heads.multi_label import MultiLabelHead
from kbert.heads.multi_label import best_threshold

COLUMNS = [["x", "y", "z"]]


def read(y, labels=None):
    return MultiLabelHead(labels).read(y, COLUMNS)


@pytest.mark.parametrize(
    ("y", "labels"),
    [
        ([["a", "b"], [], ["b"]], None),
        ((("a", "b"), (), ("b",)), None),
        ([np.array(["a", "b"]), np.array([]), np.array(["b"])], None),
        (["a, b", "", "b"], None),
        (['["a", "b"]', "[]", '["b"]'], None),
        (np.array([[1, 1], [0, 0], [0, 1]]), ["a", "b"]),
    ],
)
def test_labels_of_any_form(y, labels):
    assert read(y, labels) == [["a", "b"], [], ["b"]]


def test_indicators():
    head = MultiLabelHead()
    y = [["b", "a"], [], ["c"]]
    head.adapt(y)
    assert head.labels == ["a", "b", "c"]
    assert head.thresholds == [0.5] * 3
    assert head.encode(y).tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([["a"], ["b"]], "each of 3 texts. Received: 2"),
        ([["a"], "b", 3], "a list of labels in each row.*3 in row 2"),
        ([["a"], ["b", "b"], []], "different labels in a row.*row 1"),
        ([["a"], [None], []], "None in place 0 of row 1"),
        ([["a"], [0.5], []], "0.5 .float. in place 0 of row 1"),
        ([["a"], ["b", ""], []], "have a name.*row 1"),
        (["[1", "", ""], "a JSON list of labels.*row 0"),
        ([[], [], []], "two different labels"),
        ([["a"], [1], ["b"]], "all strings or all integers"),
    ],
)
def test_bad_labels(y, message):
    with pytest.raises((InputError, ConfigError), match=message):
        head = MultiLabelHead()
        head.adapt(head.read(y, COLUMNS))


def test_bad_indicators():
    with pytest.raises(InputError, match=r"each of 2 labels.*\(3, 3\)"):
        read(np.zeros((3, 3)), ["a", "b"])
    with pytest.raises(InputError, match="from 0 to 2"):
        read(np.array([[0, 2]] * 3), ["a", "b"])


def test_unknown_label():
    with pytest.raises(InputError, match="'c' in row 1"):
        MultiLabelHead(["a", "b"]).encode([["a"], ["b", "c"]])


def test_class_weight_is_refused():
    clf = kbert.Classifier("random:1x64", head="multi_label", tune=False)
    with pytest.raises(ConfigError, match="one label.*'multi_label'"):
        clf.fit(["x", "y"], [["a"], ["b"]], class_weight="balanced")


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.9, 1.0]), st.booleans()
        ),
        min_size=1,
        max_size=12,
    ).filter(lambda rows: any(true for _, true in rows))
)
def test_no_threshold_has_a_better_f1(rows):
    scores = np.array([s for s, _ in rows], "float32")
    true = np.array([t for _, t in rows])
    found = f1_score(true, scores >= np.float32(best_threshold(scores, true)))
    # Most thresholds decide as others do.
    decisions = {tuple(scores >= t) for t in np.linspace(0, 1, 21)}
    for decided in decisions:
        assert found >= f1_score(true, decided) - 1e-9


def test_thresholds_are_stored_and_obeyed():
    head = MultiLabelHead(["a", "b", "c"], thresholds=[0.2, 0.8, 0.5])
    logits = np.log([[3 / 7, 3.0, 1 / 9], [0.1, 0.1, 9.0]]).astype("float32")
    answers = {k: np.asarray(v) for k, v in head.serve(logits).items()}
    assert answers["labels"].tolist() == [[0, -1, -1], [2, -1, -1]]
    rows = head.rows(answers)
    assert [row["labels"] for row in rows] == [["a"], ["c"]]
    targets = np.array([[1, 1, 0], [0, 0, 0]], "float32")
    head.calibrate(answers, targets)
    # Nobody knows more of c.
    assert head.thresholds[2] == 0.5
    assert head.thresholds[1] == pytest.approx((0.75 + 1 / 11) / 2, abs=1e-6)
    report = head.report(answers, targets)
    assert report["per_class"]["b"]["f1-score"] == 1.0
    assert MultiLabelHead(**head.get_config()).thresholds == head.thresholds


def test_labels_that_are_given_have_thresholds_too():
    # A head that is made with labels is ready: `adapt` is not called.
    head = MultiLabelHead(["a", "b"], threshold=0.25)
    answers = {"probabilities": np.array([[0.3, 0.6], [0.1, 0.9]], "float32")}
    targets = np.array([[1, 0], [0, 0]], "float32")
    report = head.report(answers, targets)
    assert report["per_class"]["a"]["threshold"] == 0.25
    assert report["per_class"]["a"]["f1-score"] == 1.0
    head.calibrate(answers, targets)
    assert head.thresholds[1] == 0.25  # Nobody knows more of b.


@pytest.mark.parametrize("limit", [0.5, 0.25])
def test_a_score_at_its_threshold_is_given(limit):
    """As `best_threshold` and `report` count it."""
    head = MultiLabelHead(["a", "b"], thresholds=[limit, limit])
    at = np.float32(np.log(limit / (1 - limit)))
    answers = head.serve(np.array([[at, at - 1e-3]], "float32"))
    answers = {k: np.asarray(v) for k, v in answers.items()}
    assert answers["probabilities"][0, 0] == limit
    assert answers["labels"].tolist() == [[0, -1]]
    report = head.report(answers, np.array([[1, 0]], "float32"))
    assert report["subset_accuracy"] == 1.0


def test_labels_come_likeliest_first():
    head = MultiLabelHead(["a", "b", "c"], thresholds=[0.1, 0.9, 0.1])
    logits = np.array([[0.0, 1.0, 2.0]], "float32")
    answers = {k: np.asarray(v) for k, v in head.serve(logits).items()}
    assert head.rows(answers)[0]["labels"] == ["c", "a"]


def test_one_threshold_a_label():
    with pytest.raises(ConfigError, match="1 for 2 labels"):
        MultiLabelHead(["a", "b"], thresholds=[0.5])


def test_thresholds_are_probabilities():
    for wrong in (50, -0.1):  # Percent, which no answer comes to.
        with pytest.raises(ConfigError, match="`threshold`.*at most 1"):
            MultiLabelHead(threshold=wrong)
        with pytest.raises(ConfigError, match=r"`thresholds\[1\]`"):
            MultiLabelHead(["a", "b"], thresholds=[0.5, wrong])


def test_a_label_without_a_name():
    # In answers an empty string stands for no label; pandas's `get_dummies`
    # makes such a column of rows without labels.
    head = MultiLabelHead()
    y = head.read({"x": [1, 0], "": [0, 1]}, [["a", "b"]])
    with pytest.raises(InputError, match="that have a name"):
        head.adapt(y)
    with pytest.raises(InputError, match="that have a name"):
        MultiLabelHead(["", "x"])
