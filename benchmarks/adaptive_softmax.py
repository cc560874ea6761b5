"""Adaptive softmax beside the plain one, at 50,000 labels of Zipf's law.

    python benchmarks/adaptive_softmax.py   # ten minutes on one core

Both are heads of kbert, trained on the same batches step by step in turn;
medians of the seconds of a step are compared. A ratio above 1 says that the
adaptive one is better.

`head alone`: features are points around 50,000 random centres, so that labels
can be learned; accuracy is on points that were not trained on, in all and
apart for the labels of each cluster. `whole model`: all-MiniLM-L6-v2 on
sentences of SST-2 with random labels, for the time of a step only. Memory is
the growth of a process that trains the head alone for a few steps, at its
peak, each in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from kbert.utils.tensorflow import LEVEL
from kbert.utils.tensorflow import import_tensorflow

import_tensorflow()  # Without its start-up messages.

import keras
import numpy as np
import real_data
from machine import machine
from rich.console import Console
from rich.table import Table

import kbert
from kbert.data.batching import static_shapes
from kbert.heads.adaptive_softmax import choose_cutoffs
from kbert.heads.classification import ClassificationHead
from kbert.training.optimizer import make_optimizer

DIM = 384
KINDS = ("plain", "adaptive")
MEMORY_STEPS = 5


class Points:
    """Points around a centre for each label; labels by Zipf's law."""

    def __init__(self, labels: int, noise: float, seed: int = 0):
        self.random = np.random.default_rng(seed)
        self.noise = noise
        self.centres = self.random.normal(size=(labels, DIM)).astype("float32")
        chances = 1 / np.arange(1, labels + 1)
        self.chances = chances / chances.sum()

    def labels(self, rows: int) -> np.ndarray:
        # A label's number is its rank, which the head cannot know.
        labels = self.random.choice(len(self.chances), rows, p=self.chances)
        return labels.astype("int32")

    def draw(self, rows: int) -> tuple[np.ndarray, np.ndarray]:
        labels = self.labels(rows)
        noise = self.random.standard_normal((rows, DIM), "float32")
        return self.centres[labels] + self.noise * noise, labels


def options(kind: str, labels: int, counts: list) -> dict:
    """Arguments of the head."""
    adaptive = {"adaptive_softmax": True, "label_counts": counts}
    return {"labels": list(range(labels))} | (
        adaptive if kind == "adaptive" else {}
    )


def head_alone(kind: str, labels: int, counts: list, steps: int) -> tuple:
    """Features to outputs, to train; and to answers."""
    keras.utils.set_random_seed(0)
    head = ClassificationHead(
        pooling="cls", dropout=0.0, **options(kind, labels, counts)
    )
    x = keras.Input((DIM,))
    features = {"sequence_output": keras.ops.expand_dims(x, 1)}
    model = keras.Model(x, head.build(features))
    train(model, head, 3e-3, steps)
    return model, keras.Model(x, head.serve(model.output))


def train(model, head, learning_rate: float, steps: int) -> None:
    """Make it ready for training, as `fit` does, but without metrics."""
    model.compile(
        make_optimizer("adamw", learning_rate, steps, 0.1, 0.01),
        loss=head.loss(),
    )
    model.optimizer.build(model.trainable_variables)


def timed(run: Callable) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def status(field: str) -> float:
    """A field of this process's status, in MB."""
    text = Path("/proc/self/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+) kB", text)[1]) / 1000


def memory(kind: str, arguments) -> None:
    """Print how far training lets a process grow, in MB."""
    points = Points(arguments.labels, arguments.noise)
    counts = counts_of(points)
    batches = [points.draw(arguments.batch_size) for _ in range(MEMORY_STEPS)]
    Path("/proc/self/clear_refs").write_text("5")  # Forgets the peak so far.
    before = status("VmRSS")
    model, _ = head_alone(kind, arguments.labels, counts, MEMORY_STEPS)
    for x, y in batches:
        model.train_on_batch(x, y)
    print(status("VmHWM") - before)


def counts_of(points: Points) -> list[int]:
    """What `fit` would have counted."""
    labels = points.labels(500_000)
    return np.bincount(labels, minlength=len(points.chances)).tolist()


def measure_memory(kind: str, arguments) -> float:
    done = subprocess.run(
        [
            sys.executable,
            __file__,
            f"--memory={kind}",
            f"--labels={arguments.labels}",
            f"--batch-size={arguments.batch_size}",
        ],
        env={k: v for k, v in os.environ.items() if k != LEVEL},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(done.stdout.splitlines()[-1])


def measure_heads(arguments, table: Table) -> None:
    points = Points(arguments.labels, arguments.noise)
    counts = counts_of(points)
    made = {
        kind: head_alone(kind, arguments.labels, counts, arguments.steps)
        for kind in KINDS
    }
    seconds = {kind: [] for kind in KINDS}
    for _ in range(arguments.steps):
        x, y = points.draw(arguments.batch_size)
        for kind, (model, _) in made.items():
            seconds[kind].append(
                timed(lambda m=model, x=x, y=y: m.train_on_batch(x, y))
            )
    add(table, "head alone, a step", "ms", median(seconds, 1000))
    add(
        table,
        "head alone, parameters",
        "M",
        {k: m.count_params() / 1e6 for k, (m, _) in made.items()},
    )
    sizes = {kind: measure_memory(kind, arguments) for kind in KINDS}
    add(table, "head alone, memory of training", "MB", sizes)

    right = {kind: [] for kind in KINDS}
    seconds = {kind: [] for kind in KINDS}
    targets = []
    for _ in range(arguments.test_rows // arguments.batch_size):
        x, y = points.draw(arguments.batch_size)
        targets.append(y)
        for kind, (_, answers) in made.items():
            started = time.perf_counter()
            labels = answers.predict_on_batch(x)["label"]
            seconds[kind].append(time.perf_counter() - started)
            right[kind].append(labels == y)
    add(table, "head alone, all probabilities", "ms", median(seconds, 1000))
    targets = np.concatenate(targets)
    rank = np.argsort(np.argsort(-np.array(counts), kind="stable"))[targets]
    right = {kind: np.concatenate(parts) for kind, parts in right.items()}
    cuts = [0, *choose_cutoffs(arguments.labels), arguments.labels]
    parts = {"all labels": rank >= 0} | {
        f"labels {low + 1:,} to {high:,}": (rank >= low) & (rank < high)
        for low, high in zip(cuts, cuts[1:], strict=False)
    }
    for name, rows in parts.items():
        add(
            table,
            f"accuracy, {name} ({rows.mean():.0%} of the rows)",
            "%",
            {k: 100 * v[rows].mean() for k, v in right.items()},
            ratio=False,
        )


def measure_models(arguments, table: Table) -> None:
    texts, _ = real_data.sst2("dev")
    points = Points(arguments.labels, arguments.noise)
    counts = counts_of(points)
    steps = arguments.model_steps
    classifiers = {}
    for kind in KINDS:
        clf = kbert.Classifier(
            seed=0, **options(kind, arguments.labels, counts)
        )
        train(clf.model, clf.head, 5e-5, steps)
        classifiers[kind] = clf
    # The same sentences at each step: every new shape would be traced anew.
    rows = clf.tokenize([texts[:32]])
    batch = rows.take(np.arange(32), static_shapes())
    seconds = {kind: [] for kind in KINDS}
    for _ in range(steps):
        y = points.labels(32)
        for kind, clf in classifiers.items():
            seconds[kind].append(
                timed(lambda m=clf.model, b=batch, y=y: m.train_on_batch(b, y))
            )
    add(table, "whole model, a step of 32 rows", "ms", median(seconds, 1000))


def median(values: dict, scale: float) -> dict:
    return {
        kind: scale * statistics.median(found[len(found) // 10 :])
        for kind, found in values.items()
    }


def add(table: Table, name, unit: str, values: dict, ratio=True) -> None:
    cells = [f"{values[kind]:,.1f} {unit}" for kind in KINDS]
    better = f"{values['plain'] / values['adaptive']:.1f}" if ratio else ""
    table.add_row(name, *cells, better)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=int, default=50_000)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--model-steps", type=int, default=20)
    parser.add_argument("--test-rows", type=int, default=2_560)
    parser.add_argument("--noise", type=float, default=2.0)
    parser.add_argument("--memory", choices=KINDS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory:
        memory(arguments.memory, arguments)
        return
    backend = keras.backend.backend()
    table = Table(
        title=machine("keras", backend)
        + f"; {arguments.labels:,} labels, batch {arguments.batch_size}, "
        f"{arguments.steps} steps"
    )
    for name in ("what", *KINDS, "ratio"):
        table.add_column(name, justify="left" if name == "what" else "right")
    measure_heads(arguments, table)
    measure_models(arguments, table)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
