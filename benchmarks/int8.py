"""Eight bits on the CPU: every way there is, beside kbert's own float32.

    python benchmarks/int8.py saved_models/sst2    # many minutes on one core

Takes a classifier of SST-2 that `Classifier.save` wrote, with an exact-GELU
backbone. Speed is of whole batches of the dev sentences, sorted by length,
from token ids to probabilities, in CPU seconds of this process with one
thread each; rounds alternate, and medians are compared. A ratio above 1 says
that a way is faster than `Classifier.predict` in float32 on TensorFlow. The
last rows are whole calls from raw strings.

Points are those of accuracy on all dev sentences, less than float32's when
negative. Static ways are calibrated on training sentences.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from kbert.quiet import import_tensorflow

import_tensorflow()  # Without its start-up messages.

import keras
import numpy as np
import real_data
import tensorflow as tf
from machine import machine
from rich.console import Console
from rich.table import Table

import kbert
from kbert.batching import length_batches
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


def openvino(fp32: Path, calibration: list | None = None) -> Callable:
    """OpenVINO, in float32 or as NNCF quantizes transformers."""
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
    compiled = core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1})
    return lambda batch: compiled(batch)["probabilities"]


def litert(clf: kbert.Classifier, length: int) -> Callable:
    """LiteRT with dynamic-range weights: a text at a time, of one length."""
    from ai_edge_litert.interpreter import Interpreter

    model = portable._answers(clf)
    spec = {
        name: tf.TensorSpec((1, length), tensor.dtype, name)
        for name, tensor in model.input.items()
    }

    @tf.function(input_signature=[spec])
    def graph(batch):
        return {"probabilities": model(batch)["probabilities"]}

    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [graph.get_concrete_function()], model
    )
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    interpreter = Interpreter(model_content=converter.convert(), num_threads=1)
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


def keras_int8(path: Path) -> Callable:
    """Keras's own `quantize`, of every dense layer of the backbone."""
    clf = kbert.load(path)
    for layer in clf.backbone._flatten_layers():
        if isinstance(layer, keras.layers.Dense) and layer.built:
            layer.quantize("int8")
    clf.build_serving()
    return lambda batch: clf._compute(batch)["probabilities"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rows", type=int, default=256, help="for speed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--without", nargs="*", default=[], metavar="WAY")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)

    clf = kbert.load(arguments.model)
    texts, labels = real_data.sst2("dev")
    targets = clf.head.encode(labels)
    table = clf.tokenize([texts])
    batches = length_batches(table.lengths, arguments.batch_size)
    examples = clf.tokenize([real_data.sst2("train")[0][:CALIBRATION]])
    calibration = [
        examples.take(rows, False)
        for rows in length_batches(examples.lengths, 16)
    ]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        clf.export(folder / "fp32", format="onnx")
        clf.export(folder / "int8", format="int8")
        clf.export(folder / "saved")
        fp32 = folder / "fp32" / "model.onnx"
        makers = {
            "kbert float32": lambda: lambda b: clf._compute(b)["probabilities"],
            "kbert int8": lambda: onnx_session(folder / "int8/model.onnx"),
            "onnxruntime float32": lambda: onnx_session(fp32),
            "onnxruntime int8, dynamic": lambda: onnx_dynamic(fp32, folder),
            "OpenVINO float32": lambda: openvino(fp32),
            "OpenVINO int8, NNCF": lambda: openvino(fp32, calibration),
            "LiteRT int8, dynamic": lambda: litert(clf, 64),
            "Keras quantize int8": lambda: keras_int8(arguments.model),
        }
        ways = {
            name: make()
            for name, make in makers.items()
            if name not in arguments.without
        }
        strings = texts[:: max(len(texts) // arguments.rows, 1)]
        served = tf.saved_model.load(str(folder / "saved" / "1"))
        serve = served.signatures["serving_default"]
        model = kbert.OnnxModel(folder / "int8", threads=1)
        raw = {
            "SavedModel, 64 strings as they come": lambda part: serve(
                text=tf.constant(part)
            ),
            "OnnxModel, 64 strings as they come": lambda part: model.answers(
                part, batch_size=32
            ),
        }
        report(arguments, table, batches, targets, ways, strings, raw)


def report(arguments, table, batches, targets, ways, strings, raw) -> None:
    accuracy = {}
    tokens = [table.take(rows, False) for rows in batches]
    for name, way in ways.items():
        answers = np.concatenate([way(batch) for batch in tokens])
        right = answers.argmax(axis=1) == targets[np.concatenate(batches)]
        accuracy[name] = 100 * right.mean()
    # Some batches of every length.
    few = tokens[:: max(len(targets) // arguments.rows, 1)]
    rows = sum(len(batch["token_ids"]) for batch in few)
    seconds = {name: [] for name in [*ways, *raw]}
    for _ in range(arguments.rounds):
        for name, way in ways.items():
            started = time.process_time()
            for batch in few:
                way(batch)
            seconds[name].append(time.process_time() - started)
        for name, way in raw.items():
            started = time.process_time()
            for i in range(0, len(strings), 64):
                way(strings[i : i + 64])
            seconds[name].append(time.process_time() - started)
    screen = Table(
        title=machine("tensorflow", "onnxruntime", "openvino", "nncf")
        + f"; {' '.join(cpu_flags())}; batch {arguments.batch_size}"
    )
    for name in ("what", "texts/CPU-s", "ratio", "accuracy", "points"):
        screen.add_column(name, justify="left" if name == "what" else "right")
    for group, count in ((ways, rows), (raw, len(strings))):
        first = next(iter(group))
        for name in group:
            speed = count / statistics.median(seconds[name])
            base = count / statistics.median(seconds[first])
            cells = [f"{speed:.0f}", f"{speed / base:.2f}"]
            if name in accuracy:
                lost = accuracy[name] - accuracy[first]
                cells += [f"{accuracy[name]:.2f}", f"{lost:+.2f}"]
            screen.add_row(name, *cells)
    Console(width=110).print(screen)


def cpu_flags() -> list[str]:
    """What the processor has that 8-bit products use."""
    known = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "amx_int8")
    flags = set(Path("/proc/cpuinfo").read_text().split())
    return [flag for flag in known if flag in flags]


if __name__ == "__main__":
    main()
