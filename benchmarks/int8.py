"""Eight bits on the CPU: every way there is, beside kbert's own float32.

    python benchmarks/int8.py                  # some 15 minutes on one core
    python benchmarks/int8.py --train 256 --unseen 100 --rows 32 --rounds 1

Trains a classifier on SST-2 (`--train` sentences, 3 epochs) or takes the one
that an earlier call left in `--model`. Speed is of whole batches of the dev
sentences, sorted by length, from token ids to probabilities, in CPU seconds
of this process with one thread each (start it with `taskset -c 0`); rounds
alternate, and medians are compared. A ratio above 1 says that a way is faster
than `Classifier.predict` in float32 on TensorFlow. The last rows are whole
calls from raw strings.

Points are those of accuracy, less than float32's when negative: on all dev
sentences, and on `--unseen` phrases of the training set that were not trained
on, since one sentence of 872 is a tenth of a point. Static ways are calibrated
on training sentences.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from kbert.utils.tensorflow import import_tensorflow

import_tensorflow()  # Without its start-up messages.

import keras
import numpy as np
import real_data
import tensorflow as tf
from machine import machine
from rich.console import Console
from rich.table import Table
from sklearn.model_selection import train_test_split

import kbert
from kbert.data.batching import length_batches
from kbert.export import portable

CALIBRATION = 128


def onnx_session(path: Path) -> Callable:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options)
    return lambda batch: session.run(["probabilities"], batch)[0]


def onnx_dynamic(fp32: Path, folder: Path) -> Callable:
    """What onnxruntime's own quantizer makes of kbert's ONNX export."""
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization import quantize_dynamic

    path = folder / "dynamic.onnx"
    quantize_dynamic(
        fp32,
        path,
        per_channel=True,
        reduce_range=True,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul"],
        extra_options={"MatMulConstBOnly": True},
    )
    return onnx_session(path)


def openvino(
    fp32: Path, calibration: list | None = None, precision: str = "f32"
) -> Callable:
    """OpenVINO, as it is or as NNCF quantizes transformers.

    `precision` is of what is in floats; OpenVINO's own choice is bfloat16
    where the processor has instructions for it.
    """
    import openvino

    core = openvino.Core()
    model = core.read_model(str(fp32))
    if calibration is not None:
        import nncf

        model = nncf.quantize(
            model,
            nncf.Dataset(calibration),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(calibration),
        )
    options = {
        "INFERENCE_NUM_THREADS": 1,
        "INFERENCE_PRECISION_HINT": precision,
    }
    compiled = core.compile_model(model, "CPU", options)
    return lambda batch: compiled(batch)["probabilities"]


def litert(clf: kbert.Classifier, length: int, folder: Path) -> Callable:
    """LiteRT with dynamic-range weights: a text at a time, of one length."""
    from ai_edge_litert.interpreter import Interpreter

    path = folder / "dynamic.tflite"
    portable.write_litert(
        clf, path, length, optimizations=[tf.lite.Optimize.DEFAULT]
    )
    interpreter = Interpreter(str(path), num_threads=1)
    run = interpreter.get_signature_runner()

    def rows(batch):
        out = []
        for i in range(len(batch["token_ids"])):
            row = {}
            for name, value in batch.items():
                part = value[i : i + 1, :length]
                missing = length - part.shape[1]
                row[name] = np.pad(part, ((0, 0), (0, missing)))
            out.append(run(**row)["probabilities"])
        return np.concatenate(out)

    return rows


def kbert_bfloat16(path: Path) -> Callable:
    """The same model with Keras's policy `mixed_bfloat16`."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        clf = kbert.load(path)
    finally:
        keras.config.set_dtype_policy(policy)
    return lambda batch: clf._compute(batch)["probabilities"]


def keras_int8(path: Path) -> Callable:
    """Keras's own `quantize`, of every dense layer of the backbone."""
    clf = kbert.load(path)
    for layer in clf.backbone._flatten_layers():
        if isinstance(layer, keras.layers.Dense) and layer.built:
            layer.quantize("int8")
    clf.build_serving()
    return lambda batch: clf._compute(batch)["probabilities"]


class Sentences:
    """Texts, what is true of them, and batches of their tokens."""

    def __init__(self, clf, texts: list[str], labels: list, batch_size: int):
        self.texts = texts
        table = clf.tokenize([texts])
        rows = length_batches(table.lengths, batch_size)
        self.batches = [table.take(batch, False) for batch in rows]
        self.targets = clf.head.encode(labels)[np.concatenate(rows)]

    def accuracy(self, way: Callable) -> float:
        """Percent that `way` has right."""
        answers = np.concatenate([way(batch) for batch in self.batches])
        return 100 * float((answers.argmax(axis=1) == self.targets).mean())


def ways_of(clf, path, folder, examples: list[str]) -> dict[str, Callable]:
    """By name, what makes a function of tokens to probabilities."""
    table = clf.tokenize([examples])
    calibration = [
        table.take(rows, False) for rows in length_batches(table.lengths, 16)
    ]
    clf.export(folder / "fp32", format="onnx")
    clf.export(folder / "int8", format="int8")
    fp32 = folder / "fp32" / "model.onnx"
    return {
        "kbert float32": lambda: lambda b: clf._compute(b)["probabilities"],
        "kbert bfloat16": lambda: kbert_bfloat16(path),
        "kbert int8": lambda: onnx_session(folder / "int8" / "model.onnx"),
        "onnxruntime float32": lambda: onnx_session(fp32),
        "onnxruntime int8, dynamic": lambda: onnx_dynamic(fp32, folder),
        "OpenVINO float32": lambda: openvino(fp32),
        "OpenVINO bfloat16": lambda: openvino(fp32, precision="bf16"),
        "OpenVINO int8, NNCF": lambda: openvino(fp32, calibration),
        "LiteRT int8, dynamic": lambda: litert(clf, 64, folder),
        "Keras quantize int8": lambda: keras_int8(path),
    }


def raw_ways_of(clf, folder) -> dict[str, Callable]:
    """By name, functions of strings; `folder` has the int8 export."""
    clf.export(folder / "saved")
    served = tf.saved_model.load(str(folder / "saved" / "1"))
    serve = served.signatures["serving_default"]
    model = kbert.OnnxModel(folder / "int8", threads=1)
    return {
        "SavedModel, 64 strings as they come": lambda part: serve(
            text=tf.constant(part)
        ),
        "OnnxModel, 64 strings as they come": lambda part: model.answers(part),
    }


def report(arguments, sets: list[Sentences], ways: dict, raw: dict) -> None:
    accuracy = {
        name: [part.accuracy(way) for part in sets]
        for name, way in ways.items()
    }
    dev = sets[0]
    # Some batches of every length.
    batches = dev.batches[:: max(len(dev.texts) // arguments.rows, 1)]
    rows = sum(len(batch["token_ids"]) for batch in batches)
    strings = dev.texts[:: max(len(dev.texts) // arguments.rows, 1)]
    parts = [strings[i : i + 64] for i in range(0, len(strings), 64)]
    seconds = {name: [] for name in [*ways, *raw]}
    for _ in range(arguments.rounds):
        for name, way in (ways | raw).items():
            work = batches if name in ways else parts
            started = time.process_time()
            for part in work:
                way(part)
            seconds[name].append(time.process_time() - started)
    screen = Table(
        title=machine("tensorflow", "onnxruntime", "openvino", "nncf")
        + f"; {' '.join(cpu_flags())}; batch {arguments.batch_size}"
    )
    columns = ("what", "texts/CPU-s", "ratio", "accuracy", "points", "unseen")
    for name in columns:
        screen.add_column(name, justify="left" if name == "what" else "right")
    for group, count in ((ways, rows), (raw, len(strings))):
        first = next(iter(group))
        for name in group:
            speed = count / statistics.median(seconds[name])
            base = count / statistics.median(seconds[first])
            cells = [f"{speed:.0f}", f"{speed / base:.2f}"]
            if name in accuracy:
                both = zip(accuracy[name], accuracy[first], strict=True)
                cells.append(f"{accuracy[name][0]:.2f}")
                cells += [f"{mine - base:+.2f}" for mine, base in both]
            screen.add_row(name, *cells)
    Console(width=110).print(screen)


def cpu_flags() -> list[str]:
    """What the processor has that 8-bit products use."""
    known = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "amx_int8")
    flags = set(Path("/proc/cpuinfo").read_text().split())
    return [flag for flag in known if flag in flags]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=int, default=10_000)
    parser.add_argument("--unseen", type=int, default=4_000)
    parser.add_argument("--model", type=Path, help="where it is kept")
    parser.add_argument("--rows", type=int, default=256, help="for speed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--without", nargs="*", default=[], metavar="WAY")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)

    x, y = real_data.sst2("train")
    x, more, y, more_y = train_test_split(
        *(x, y), train_size=arguments.train, stratify=y, random_state=0
    )
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        path = arguments.model or folder / "model"
        if not path.exists():
            clf = kbert.Classifier(seed=0)
            clf.fit(x, y, epochs=3, learning_rate=1e-4)
            clf.save(path)
        clf = kbert.load(path)
        held_out = (
            real_data.sst2("dev"),
            (more[: arguments.unseen], more_y[: arguments.unseen]),
        )
        sets = [Sentences(clf, *p, arguments.batch_size) for p in held_out]
        ways = {
            name: make()
            for name, make in ways_of(
                clf, path, folder, x[:CALIBRATION]
            ).items()
            if name not in arguments.without
        }
        report(arguments, sets, ways, raw_ways_of(clf, folder))


if __name__ == "__main__":
    main()
