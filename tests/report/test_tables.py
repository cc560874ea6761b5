"""Tables of any head's report."""

import io

from rich.console import Console

from kbert.report.tables import print_report


def printed(report, width=100):
    console = Console(file=io.StringIO(), width=width)
    print_report(report, console)
    return console.file.getvalue()


def row(text, first):
    """Cells of the line that begins so."""
    return next(
        line.split() for line in text.splitlines() if line.startswith(first)
    )


def report(labels):
    n = len(labels)
    values = {"precision": 0.5, "recall": 1.0, "support": 1234.0}
    return {
        "accuracy": 0.98765,
        "per_class": {label: values for label in labels},
        "confusion_matrix": [
            [1000 if i == j else 7 * (j == 0) for j in range(n)]
            for i in range(n)
        ],
    }


def test_classification():
    text = printed(report(["ham", "[b]", "\u5783\u573e"]))
    assert row(text, "accuracy") == ["accuracy", "0.9877"]
    assert row(text, "ham") == ["ham", "0.5000", "1.0000", "1,234"]
    # A label that looks like markup is still a label.
    assert row(text, "[b]") == ["[b]", "0.5000", "1.0000", "1,234"]
    assert "Confusion matrix" in text
    assert ["[b]", "7", "1,000", "0"] in [n.split() for n in text.splitlines()]


def test_many_labels_list_their_errors():
    text = printed(report([f"label {i}" for i in range(30)]))
    assert "Confusion matrix" not in text
    assert "label 3 > label 0" in text
    assert text.count(" > label 0") == 10


def test_many_labels_without_errors():
    perfect = report([str(i) for i in range(30)])
    perfect["confusion_matrix"] = [
        [int(i == j) for j in range(30)] for i in range(30)
    ]
    assert "errors" not in printed(perfect)


def test_other_heads():
    text = printed(
        {
            "threshold": 0.97,
            "rows": 12_345,
            "calibrated": True,
            "at_threshold": {"recall": 0.5, "note": None},
        }
    )
    assert row(text, "threshold") == ["threshold", "0.9700"]
    assert row(text, "rows") == ["rows", "12,345"]
    assert row(text, "calibrated") == ["calibrated", "True"]
    assert row(text, "at_threshold.recall") == [
        "at_threshold.recall",
        "0.5000",
    ]
    assert "Each label" not in text


def test_matrix_alone():
    assert "Confusion matrix" in printed({"confusion_matrix": [[1, 0], [0, 1]]})


def test_nothing():
    assert printed({}) == ""
