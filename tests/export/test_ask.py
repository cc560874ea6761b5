"""What an export is asked, and which answers are the model's."""

import numpy as np
import pytest

import kbert
from kbert.errors import ExportError
from kbert.export.ask import compare
from kbert.export.ask import near

MANY = np.arange(300)


def given(labels, filled=300):
    """A row of `multi_label`: indices of labels, then -1."""
    return np.pad(labels, (0, filled - len(labels)), constant_values=-1)


@pytest.mark.parametrize(
    ("received", "kept"),
    [
        ([MANY[:9], MANY[:9], MANY[:9]], True),
        # Scores that are near each other, and one at its threshold.
        ([MANY[:9][::-1], np.roll(MANY[:9], 1), MANY[:10]], True),
        ([MANY[9:18], MANY[9:18], MANY[:9]], False),
        ([MANY[:2], MANY[:2], MANY[:1]], False),
    ],
)
def test_labels_of_a_row_have_no_order(received, kept):
    expected = {
        "labels": np.stack([given(MANY[:9])] * 3),
        "count": np.array([9, 9, 9]),
    }
    answers = {
        "labels": np.stack([given(row) for row in received]),
        "count": np.array([len(row) for row in received]),
    }
    if kept:
        compare("export", answers, expected, near(1e-3))
    else:
        with pytest.raises(ExportError, match="in labels"):
            compare("export", answers, expected, near(1e-3))


def test_counts_are_compared():
    labels = np.stack([given(MANY[:9])] * 3)
    expected = {"labels": labels, "count": np.array([9, 9, 9])}
    answers = {"labels": labels, "count": np.array([0, 0, 0])}
    with pytest.raises(ExportError, match="in count"):
        compare("export", answers, expected, near(1e-3))


def test_many_labels_are_exported(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    labels = [f"tag {i}" for i in range(200)]
    clf = kbert.Classifier(
        "random:1x16", "multi_label", labels=labels, max_length=16, seed=0
    )
    onnx = kbert.OnnxModel(clf.export(tmp_path / "m", format="int8"))
    received, expected = onnx.predict(["a film"]), clf.predict(["a film"])
    both = {*received[0]} & {*expected[0]}
    assert len(both) > 0.9 * len(expected[0])
