"""Figures of labels: those of scikit-learn and seqeval, whatever the names."""

import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from sklearn import metrics

from kbert.heads.classification import ClassificationHead
from kbert.heads.multi_label import MultiLabelHead
from kbert.heads.tags import entities
from kbert.heads.tags import score
from kbert.plugins import get_plugins
from kbert.report.plots import plot_confusion
from kbert.report.tables import print_report

# What scikit-learn has in one dict with the labels, and what reports hold.
NAMES = [
    *("accuracy", "macro avg", "weighted avg", "micro avg", "samples avg"),
    *("support", "f1-score", "macro_f1", "per_class", "absent", "threshold"),
]
IDS = st.integers(0, 4)


def classified(labels, true, given):
    """A report of one label a row, by places of labels."""
    answers = {
        "label": np.array(given),
        "probabilities": np.eye(len(labels), dtype="float32")[given],
    }
    return ClassificationHead(labels).report(answers, np.array(true))


def labelled(labels, true, given):
    """A report of several labels a row, by 0 and 1."""
    head = MultiLabelHead(labels, thresholds=[0.5] * len(labels))
    answers = {"probabilities": np.array(given, "float32")}
    return head.report(answers, np.array(true, "float32"))


@given(st.lists(st.tuples(IDS, IDS), min_size=1, max_size=12))
def test_one_label_a_row_as_scikit_learn(rows):
    true, given = map(list, zip(*rows, strict=True))
    report = classified(list("abcde"), true, given)
    theirs = metrics.f1_score(true, given, average="macro", zero_division=0)
    assert report["macro_f1"] == pytest.approx(theirs)
    assert report["accuracy"] == metrics.accuracy_score(true, given)
    table = metrics.precision_recall_fscore_support(
        true, given, labels=range(5), zero_division=0
    )
    for row, expected in zip(
        report["per_class"].values(), zip(*table, strict=True), strict=True
    ):
        assert list(row.values()) == pytest.approx(expected)
    seen = {*true, *given}
    assert report["absent"] == [
        n for i, n in enumerate("abcde") if i not in seen
    ]


@given(
    st.lists(
        st.tuples(*[st.lists(st.booleans(), min_size=4, max_size=4)] * 2),
        min_size=1,
        max_size=8,
    )
)
def test_several_labels_a_row_as_scikit_learn(rows):
    true, given = (np.array(part) for part in zip(*rows, strict=True))
    report = labelled(list("abcd"), true, given)
    present = (true | given).any(axis=0)
    absent = [n for i, n in enumerate("abcd") if not present[i]]
    assert report["absent"] == absent
    if present.any():
        theirs = metrics.f1_score(
            true, given, average="macro", zero_division=np.nan
        )
        assert report["macro_f1"] == pytest.approx(theirs)
    micro = metrics.f1_score(true, given, average="micro", zero_division=0)
    assert report["micro_f1"] == pytest.approx(micro)
    exact = metrics.accuracy_score(true, given)
    assert report["subset_accuracy"] == pytest.approx(exact)


TAGS = st.lists(
    st.sampled_from(["O", "B-A", "I-A", "B-B", "I-B"]), min_size=3, max_size=3
)


@given(st.lists(st.tuples(TAGS, TAGS), min_size=1, max_size=5))
def test_entities_as_seqeval(rows):
    theirs = pytest.importorskip("seqeval.metrics")
    true, given = (list(part) for part in zip(*rows, strict=True))
    sets = [[set(entities(row)) for row in part] for part in (given, true)]
    report = score(*sets, ["A", "B", "C"])
    seen = {kind for part in sets for row in part for *_, kind in row}
    assert report["absent"] == [k for k in "ABC" if k not in seen]
    if seen:
        macro = theirs.f1_score(true, given, average="macro", zero_division=0)
        assert report["macro_f1"] == pytest.approx(float(macro))
    micro = theirs.f1_score(true, given, zero_division=0)
    assert report["f1"] == pytest.approx(float(micro))


def test_labels_that_do_not_occur_are_told():
    report = classified(["a", "b", "c", "d"], [0, 1, 1], [0, 1, 1])
    assert report["macro_f1"] == 1.0 and report["absent"] == ["c", "d"]
    # One that was answered, though never true, is no right answer.
    assert classified(["a", "b", "c"], [0, 1], [0, 2])["macro_f1"] == 1 / 3
    assert labelled(["a", "b"], [[0, 1]], [[0, 1]])["macro_f1"] == 1.0
    assert labelled(["a", "b"], [[0, 0]], [[0, 0]])["macro_f1"] == 0.0
    found = score([{(0, 1, "A")}], [{(0, 1, "A")}], ["A", "B"])
    assert found["macro_f1"] == 1.0 and found["absent"] == ["B"]


def printed(report):
    console = Console(file=io.StringIO(), width=200)
    print_report(json.loads(json.dumps(report)), console)
    return console.file.getvalue()


def test_absent_labels_are_printed():
    report = classified([f"label {i}" for i in range(30)], [0], [0])
    assert "absent    label 1, label 2" in printed(report)
    assert "label 10 and 19 more" in printed(report)
    assert "absent" not in printed(classified(["a", "b"], [0, 1], [0, 1]))


def test_any_label_may_be_called_as_a_figure(tmp_path):
    places = list(range(len(NAMES)))
    given = [*places[1:], 0]
    report = classified(NAMES, places + places, places + given)
    plain = classified([*"abcdefghijk"], places + places, places + given)
    assert report["accuracy"] == plain["accuracy"] == 0.5
    assert report["macro_f1"] == plain["macro_f1"] == 0.5
    assert list(report["per_class"]) == NAMES
    assert [*report["per_class"].values()] == [*plain["per_class"].values()]
    assert all(f"\n{name}  " in printed(report) for name in NAMES)
    names = list(report["per_class"])
    plot_confusion(report["confusion_matrix"], names, tmp_path / "plot.png")

    one = np.eye(len(NAMES))
    report = labelled(NAMES, one, one)
    assert report["micro_f1"] == report["macro_f1"] == 1.0
    assert report["per_class"]["micro avg"] == {
        **{"precision": 1.0, "recall": 1.0, "f1-score": 1.0, "support": 1},
        "threshold": 0.5,
    }
    rows = [{(0, 1, name)} for name in NAMES]
    assert score(rows, rows, NAMES)["per_class"].keys() == set(NAMES)


@pytest.mark.parametrize("head", ["spam", "sentiment", "news"])
def test_plugins_take_such_labels(head):
    heads = get_plugins().heads
    if head not in dict(heads.items()):
        pytest.skip(f"the plugin of {head} is not installed")
    labels = ["accuracy", "macro avg"]
    options = {"positive": "accuracy"} if head == "spam" else {}
    answers = {
        "label": np.array([0, 1, 1]),
        "topics": np.array([[0], [1], [1]]),
        "score": np.array([0.9, 0.1, 0.2], "float32"),
        "probabilities": np.array([[0.9, 0.1], [0.1, 0.9], [0.2, 0.8]]),
    }
    made = heads.get(head).value(labels, **options)
    report = made.report(answers, np.array([0, 1, 0]))
    assert report["accuracy"] == 2 / 3
    assert report["per_class"]["accuracy"]["recall"] == 0.5
