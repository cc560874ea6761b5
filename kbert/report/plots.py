"""Pictures: the confusion matrix and the curves of a training run."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import findSystemFonts
from matplotlib.font_manager import fontManager
from matplotlib.ticker import MaxNLocator

from kbert.errors import CheckpointError
from kbert.errors import InputError
from kbert.utils.atomic import new_file

# Fonts with Chinese, Japanese and Korean, tried in order after the default.
CJK_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Source Han Sans CN",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "SimHei",
    "Arial Unicode MS",
)

# Longer labels would leave no room for the matrix.
LABEL_LENGTH = 24


def plot_confusion(
    matrix: list[list[int]], labels: list[str], path: str | Path
) -> Path:
    """Draw a confusion matrix.

    The colour is the share of the true label's rows, the number their count,
    so that rare labels are as readable as frequent ones.

    Args:
        matrix: counts; rows are the true labels, columns the predicted ones.
        labels: the labels in order.
        path: a .png, .svg or .pdf file.

    Returns:
        The path.

    Raises:
        InputError: the file cannot be written.

    Example:

    >>> report = clf.evaluate(texts, labels)
    >>> plot_confusion(
    ...     report["confusion_matrix"], list(report["per_class"]), "cm.png"
    ... )
    """
    counts = np.asarray(matrix)
    names = [_shorten(str(label)) for label in labels]
    n = len(names)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with _style():
        side = 2.2 + 0.55 * max(n, 3)
        figure = Figure((side + 0.8, side), layout="constrained")
        axes = figure.add_subplot()
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        level = max(map(len, names)) <= max(1, 24 // n)
        axes.set_xticks(range(n), names)
        axes.set_yticks(range(n), names)
        if not level:
            axes.tick_params(axis="x", labelrotation=45)
            for tick in axes.get_xticklabels():
                tick.set(ha="right", rotation_mode="anchor")
        axes.set_xlabel("predicted label")
        axes.set_ylabel("true label")
        size = 10 if counts.max(initial=0) < 10_000 else 8
        for i, j in np.ndindex(counts.shape):
            axes.text(
                j,
                i,
                f"{counts[i, j]:,}",
                ha="center",
                va="center",
                fontsize=size,
                # Light on dark cells; zeros step back.
                color="white"
                if shares[i, j] > 0.55
                else "black"
                if counts[i, j]
                else "#aaaaaa",
            )
        # Thin lines between the cells.
        axes.set_xticks(np.arange(n + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(n + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="#dddddd", linewidth=0.8)
        axes.tick_params(which="both", length=0)
        axes.spines[:].set_visible(False)
        bar = figure.colorbar(image, shrink=0.8, format="{x:.0%}")
        bar.set_label("share of the true label")
        bar.outline.set_visible(False)
        return _write(figure, path)


def plot_history(history: dict[str, list[float]], path: str | Path) -> Path:
    """Draw the curves of a training run, validation beside training.

    Args:
        history: `History.history` of a Keras fit: name to a value an epoch;
            `val_` before a name is the same on validation data.
        path: a .png, .svg or .pdf file.

    Returns:
        The path.

    Raises:
        InputError: the file cannot be written.

    Example:

    >>> history = clf.fit(texts, labels, validation_split=0.1)
    >>> plot_history(history.history, "training.png")
    """
    names = list(dict.fromkeys(n.removeprefix("val_") for n in history))
    names.sort(key=lambda name: (name != "loss", name))
    with _style():
        figure = Figure((4.4 * len(names), 3.6), layout="constrained")
        for place, name in enumerate(names, start=1):
            axes = figure.add_subplot(1, len(names), place)
            for key, label, color in (
                (name, "training", "#1f77b4"),
                (f"val_{name}", "validation", "#d9480f"),
            ):
                if values := history.get(key):
                    epochs = range(1, len(values) + 1)
                    axes.plot(epochs, values, "o-", label=label, color=color)
            axes.set_title(name.replace("_", " "))
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(color="#eeeeee")
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False)
        return _write(figure, path)


@contextlib.contextmanager
def _style() -> Iterator[None]:
    """Fonts for any label, and no warning where none is installed."""
    families = _cjk_families()
    with (
        matplotlib.rc_context(
            {
                "font.family": ["DejaVu Sans", *families],
                # Labels are texts, not formulas.
                "text.parse_math": False,
                # Text in an .svg that can be searched and copied.
                "svg.fonttype": "none",
            }
        ),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        yield


@functools.cache
def _cjk_families() -> list[str]:
    def installed():
        names = {font.name for font in fontManager.ttflist}
        return [name for name in CJK_FONTS if name in names]

    if not installed():
        # Matplotlib's list of fonts is a cache that new ones are not in.
        known = {font.fname for font in fontManager.ttflist}
        for path in sorted(set(findSystemFonts()) - known):
            with contextlib.suppress(OSError, RuntimeError):
                fontManager.addfont(path)
    return installed()


def _shorten(label: str) -> str:
    label = " ".join(label.split())
    if len(label) > LABEL_LENGTH:
        return f"{label[: LABEL_LENGTH - 1]}…"
    return label


def _write(figure: Figure, path: str | Path) -> Path:
    path = Path(path)
    try:
        with new_file(path) as temporary:
            figure.savefig(
                temporary,
                format=path.suffix.removeprefix(".") or None,
                dpi=150,
                bbox_inches="tight",
            )
    # Matplotlib says ValueError to an ending it does not know.
    except (CheckpointError, ValueError) as error:
        raise InputError(
            f"Expected a picture that can be written, .png, .svg or .pdf. "
            f"Received: {path}: {error}."
        ) from error
    return path
