"""Where the time of a training step goes, by kind of work.

    python benchmarks/step.py                            # a minute
    python benchmarks/step.py --texts BBC --precision mixed_bfloat16

TensorFlow's profiler sees some steps of the second epoch of a fine-tuning.
Operations run one after the other here, each with all cores, so that their
times add up; in training some run beside each other, and a step is shorter.
The ceiling is what large matrix products reach in the same minute.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections import Counter
from pathlib import Path

from kbert.utils.tensorflow import import_tensorflow

import_tensorflow()  # Without its start-up messages.

import keras
import tensorflow as tf
from machine import machine
from rich.console import Console
from rich.table import Table
from tensorflow.tsl.profiler.protobuf import xplane_pb2
from train import TEXTS
from train import labelled

import kbert
from kbert.training.throughput import matmul_ceiling
from kbert.training.throughput import training_flops

BATCH = 32

# Kinds of work, by the operation or where it is in the model; the first holds.
KINDS = {
    "matrix products": r":(_Mkl|_Fused|_MklNativeFused)?MatMul$",
    "clipping": r"global_norm|:L2Loss$",
    "AdamW, decay": r"adam_w|ApplyAdam",
    "dropout": r"dropout",
    "layer norms": r"norm(_gradient)?(_\d+)?/",
    "GELU": r"gelu",
    "attention's gathers": r"attention.*:(GatherV2|SelectV2|ConcatV2)$",
    "attention's products and softmax": r"BatchMatMul|Softmax|softmax",
    "gradients of biases": r":BiasAddGrad$|/Add/Sum",
    "embeddings": r"embeddings|UnsortedSegmentSum",
    "casts": r":Cast$",
    "sums of gradients": r":AddN$",
    "other operations": r"",
}


class Profile(keras.callbacks.Callback):
    """Profiles some steps, in the middle of the second epoch."""

    first = 2

    def __init__(self, folder: str, steps: int):
        super().__init__()
        self.folder, self.last = folder, self.first + steps - 1

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if self.epoch == 1 and batch == self.first:
            tf.profiler.experimental.start(self.folder)
            self.started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch == 1 and batch == self.last:
            self.wall = time.perf_counter() - self.started
            tf.profiler.experimental.stop()


def operations(folder: str) -> Counter:
    """Seconds of each operation, by `name:type`."""
    seconds = Counter()
    for path in Path(folder).rglob("*.xplane.pb"):
        space = xplane_pb2.XSpace()
        space.ParseFromString(path.read_bytes())
        for plane in space.planes:
            for line in plane.lines:
                for event in line.events:
                    name = plane.event_metadata[event.metadata_id].name
                    if re.fullmatch(r"[^:]+:\w+", name):
                        seconds[name] += event.duration_ps / 1e12
    return seconds


def by_kind(seconds: Counter) -> Counter:
    kinds = Counter()
    for name, value in seconds.items():
        kind = next(k for k, form in KINDS.items() if re.search(form, name))
        kinds[kind] += value
    return kinds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--texts", choices=TEXTS, default="IMDB")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--preset", default="all-minilm-l6-v2")
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.config.set_dtype_policy(options.precision)
    texts, labels = labelled(options.texts, (options.steps + 4) * BATCH)
    clf = kbert.Classifier(
        options.preset,
        labels=["no", "yes"],
        max_length=128,
        pooling="pooler",
        seed=0,
    )
    with tempfile.TemporaryDirectory() as folder:
        profile = Profile(folder, options.steps)
        clf.fit(
            *(texts, labels),
            epochs=2,
            batch_size=BATCH,
            callbacks=[profile],
            verbose=0,
        )
        kinds = by_kind(operations(folder))
    step = 1e3 / options.steps
    lengths = clf.tokenize([texts]).lengths
    flops = BATCH * sum(
        training_flops(clf.backbone.config, int(n), 0.0) * int(n)
        for n in lengths
    )
    dtype = keras.config.dtype_policy().compute_dtype
    least = flops / len(lengths) / matmul_ceiling(dtype) * 1e3
    table = Table(
        title=f"{machine('tensorflow', 'keras')}; {options.texts}, "
        f"{lengths.mean():.0f} tokens a text, {options.precision}"
    )
    for column in ("what", "ms a step", "share"):
        table.add_column(column, justify="right")
    wall = profile.wall * step
    for kind, value in kinds.most_common():
        table.add_row(kind, f"{value * step:.1f}", f"{value * step / wall:.0%}")
    rest = wall - sum(kinds.values()) * step
    table.add_row("between operations, Python", f"{rest:.1f}", "")
    table.add_row("a step", f"{wall:.1f}", "100%", style="bold")
    table.add_row("its products at the ceiling", f"{least:.1f}", "")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
