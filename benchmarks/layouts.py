r"""How tokens are best laid out in training, on this backend and device.

    python benchmarks/layouts.py                          # TensorFlow
    KERAS_BACKEND=jax python benchmarks/layouts.py        # JAX
    KERAS_BACKEND=jax python benchmarks/layouts.py --preset random:base \
        --policy mixed_bfloat16 --rows 6400 --batch-size 64   # an accelerator

Each layout fine-tunes a model of its own on the same real texts; they take
turns, epoch by epoch. The first epoch, which compiles, is told apart from the
others. "real" is the share of real tokens among those that dense layers
compute, "shapes" how many programs XLA makes.
"""

from __future__ import annotations

import argparse
import statistics
import time

from kbert.utils.tensorflow import import_tensorflow

import_tensorflow()  # Without its start-up messages.

import keras
from machine import machine
from rich.console import Console
from rich.table import Table
from train import TEXTS
from train import labelled

import kbert
from kbert.data.batching import LengthBatches
from kbert.data.batching import static_shapes
from kbert.data.packing import PackedBatches
from kbert.training.examples import Examples
from kbert.training.examples import Rows
from kbert.training.loop import compile_for
from kbert.training.settings import Settings


def read(
    name: str, rows: int, preset: str
) -> tuple[kbert.Classifier, Examples]:
    """A classifier for some real texts, and what to train it on."""
    x, y = labelled(name, rows)
    clf = kbert.Classifier(preset, labels=["no", "yes"], max_length=128, seed=0)
    return clf, Examples.of(clf, Rows([x], clf.head.encode(y)))


def prepare(
    layout: str, name: str, rows: int, preset: str, batch_size: int
) -> tuple[keras.Model, LengthBatches]:
    """A compiled model whose tokens lie so, and its batches."""
    keras.utils.set_random_seed(0)
    clf, examples = read(name, rows, preset)
    make = PackedBatches if layout == "packed" else LengthBatches
    batches = make(examples.table, examples.targets, batch_size=batch_size)
    model = clf.laid_out(layout)
    compile_for(
        model,
        10 * len(batches),
        Settings(layout=layout),
        used_rows=examples.table.ids(),
        loss=clf.head.loss(),
    )
    return model, batches


def computed(layout: str, tokens: dict) -> int:
    """Tokens of a batch that dense layers compute."""
    if layout == "flat":
        return int(tokens["padding_mask"].sum())
    return tokens["slots" if layout == "packed" else "token_ids"].size


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--texts", nargs="*", choices=TEXTS, default=TEXTS)
    parser.add_argument("--preset", default="all-minilm-l6-v2")
    parser.add_argument("--rows", type=int, default=1600)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--policy", default="float32")
    options = parser.parse_args()
    keras.config.set_dtype_policy(options.policy)
    layouts = ["padded", "packed"]
    if not static_shapes():
        layouts.append("flat")
    backend = keras.backend.backend()
    table = Table(
        title=f"{machine('keras', backend)}; {backend} on "
        f"{keras.distribution.list_devices()[0]}; {options.preset}, "
        f"{options.policy}, batches of {options.batch_size}, "
        f"{options.rows} texts"
    )
    for title in ("texts", "layout", "tokens/s", "to padded", "first epoch, s"):
        table.add_column(title, justify="left" if title == "texts" else "right")
    for title in ("real", "shapes"):
        table.add_column(title, justify="right")
    for name in options.texts:
        sides = {
            layout: prepare(
                layout, name, options.rows, options.preset, options.batch_size
            )
            for layout in layouts
        }
        seconds = {layout: [] for layout in layouts}
        shapes = {layout: set() for layout in layouts}
        work = dict.fromkeys(layouts, 0)
        for turn in range(options.rounds + 1):
            for layout in layouts[:: -1 if turn % 2 else 1]:
                model, batches = sides[layout]
                for tokens, _ in batches:
                    work[layout] += computed(layout, tokens)
                    shapes[layout].add(
                        tuple(value.shape for value in tokens.values())
                    )
                started = time.perf_counter()
                model.fit(batches.for_fit(), verbose=0, shuffle=False)
                seconds[layout].append(time.perf_counter() - started)
        for layout in layouts:
            real = len(sides[layout][1].table.token_ids)  # In an epoch.
            later = statistics.median(seconds[layout][1:])
            ratio = statistics.median(
                theirs / ours
                for theirs, ours in zip(
                    seconds["padded"][1:], seconds[layout][1:], strict=True
                )
            )
            table.add_row(
                name if layout == layouts[0] else "",
                layout,
                f"{real / later:,.0f}",
                f"{ratio:.2f}",
                f"{seconds[layout][0]:.1f}",
                f"{real * (options.rounds + 1) / work[layout]:.0%}",
                str(len(shapes[layout])),
            )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
