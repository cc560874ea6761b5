"""Pictures are written in the form asked for, with any label."""

import subprocess
import sys

import numpy as np
import pytest

from kbert.errors import InputError
from kbert.report import plots
from kbert.report.plots import plot_confusion
from kbert.report.plots import plot_history

MAGIC = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


def matrix(n):
    return (np.eye(n, dtype=int) * 100 + 1).tolist()


@pytest.mark.parametrize("ending", MAGIC)
def test_forms(tmp_path, ending):
    path = tmp_path / "new" / f"picture{ending}"
    assert plot_confusion(matrix(2), ["ham", "spam"], path) == path
    assert path.read_bytes().startswith(MAGIC[ending])


@pytest.mark.parametrize("n", [2, 3, 20])
@pytest.mark.parametrize(
    "name", ["\u7c7b\u522b{}", "$x_{}$", "a very long name of a label {}", "{}"]
)
def test_labels_of_any_kind(tmp_path, n, name):
    labels = [name.format(i) for i in range(n)]
    path = plot_confusion(matrix(n), labels, tmp_path / "cm.svg")
    text = path.read_text(encoding="utf-8")
    # An .svg keeps its labels as text, the long ones cut.
    assert text.count(plots._shorten(labels[0])) >= 2
    assert "101" in text


def test_a_label_without_rows(tmp_path):
    plot_confusion([[0, 0], [0, 5]], ["a", "b"], tmp_path / "cm.png")


def test_glyphs_that_no_font_has(tmp_path):
    # Warnings are errors in the tests.
    labels = ["\U0001f600", "\u0e01\u0e02"]
    plot_confusion(matrix(2), labels, tmp_path / "cm.png")


@pytest.mark.parametrize(
    "history",
    [
        {"loss": [0.5, 0.25], "val_loss": [0.5, 0.5], "accuracy": [0.5, 0.75]},
        {"loss": [0.5]},
    ],
)
def test_history(tmp_path, history):
    path = plot_history(history, tmp_path / "training.svg")
    text = path.read_text(encoding="utf-8")
    assert "loss" in text
    assert ("validation" in text) == ("val_loss" in history)


@pytest.mark.parametrize("name", ["cm.doc", "file/cm.png"])
def test_what_cannot_be_written(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="picture"):
        plot_confusion(matrix(2), ["a", "b"], tmp_path / name)


def test_no_window_system_is_touched():
    code = (
        "import sys, kbert.report.plots\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
