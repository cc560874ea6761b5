"""Export to ONNX and LiteRT: token ids in, the head's answers out.

    DIR/model.onnx or DIR/model.tflite
    DIR/vocab.txt, tokenizer_config.json, kbert.json

The tokenizer's ops exist in TensorFlow only; vocab.txt is what any WordPiece
tokenizer needs, and `kbert.OnnxModel` brings one. The answers are what the
head's `serve` gives, labels as indices of those in kbert.json, -1 for none;
LiteRT leaves labels to whoever reads the scores.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from kbert.checkpoints.vocabularies import write_tokenizer
from kbert.errors import ExportError
from kbert.export.refusals import refuse_not_finite
from kbert.export.refusals import refuse_told
from kbert.folders import new_folder
from kbert.json_text import dumps

if TYPE_CHECKING:
    from onnx import ModelProto

    from kbert.heads.base import Head
    from kbert.task import Task


# What tf2onnx writes by default, and what `onnx_encoder` writes in.
OPSET = 15


def export_onnx(task: Task, path: str | Path, replace: bool = False) -> None:
    """Write `path/model.onnx`, for batches and lengths of any size.

    It has ONNX's own operations only, for any runtime. `kbert.OnnxModel`
    answers raw strings with it, if the head answers whole texts.

    Inputs:
        `token_ids` and `segment_ids` int32 `(B, T)`, `padding_mask` bool
        `(B, T)`.

    Raises:
        ExportError: the extra is not installed, or Keras does not run on
            TensorFlow.
        CheckpointError: the folder exists, or cannot be written.
    """
    require_portable(task, "onnx", "onnx", "tf2onnx")
    task = in_float32(task)
    import onnx

    with new_folder(Path(path), replace) as folder:
        model = to_onnx(_answers(task))
        if answers_whole_texts(task.head):
            add_facts(task, model)
        onnx.save(model, folder / "model.onnx")
        write_companions(task, folder)


def answers_whole_texts(head: Head) -> bool:
    """Whether a text is one row, whose end alone is cut off."""
    return head.overlap is None and head.truncation == "head"


def add_facts(task: Task, model: ModelProto) -> None:
    """Tell an ONNX model what `kbert.OnnxModel` asks of it."""
    from onnx import helper

    facts = {
        "inputs": task.inputs,
        "labels": task.head.labels,
        "label_outputs": task.head.label_outputs,
        "lowercase": task.tokenizer.lowercase,
        "strip_accents": task.tokenizer.strip_accents,
        "added_tokens": task.tokenizer.added_tokens,
        "prompt": task.prompt,
        "max_length": task.max_length,
    }
    helper.set_model_props(model, {"kbert": dumps(facts)})


def export_litert(task: Task, path: str | Path, replace: bool = False) -> None:
    """Write `path/model.tflite`, for one text of `max_length` tokens.

    Shapes are fixed, `(1, max_length)`: with others, the model would need
    TensorFlow's own ops on the device.

    Raises:
        ExportError: the extra is not installed, Keras does not run on
            TensorFlow, or the head needs ops that LiteRT has not.
        CheckpointError: the folder exists, or cannot be written.
    """
    require_portable(task, "litert", "ai_edge_litert")
    task = in_float32(task)
    from ai_edge_litert.interpreter import Interpreter

    with new_folder(Path(path), replace) as folder:
        file = folder / "model.tflite"
        write_litert(task, file, task.max_length)
        try:
            Interpreter(str(file)).allocate_tensors()
        except RuntimeError as error:
            raise ExportError(
                f"Expected a head that LiteRT's own ops compute. Received: "
                f"the head {task.head.name!r}: {error}"
            ) from error
        write_companions(task, folder)


def write_litert(task: Task, path: Path, length: int, **options) -> None:
    """Write the answers to one text of `length` tokens.

    Args:
        task: the model.
        path: the file.
        length: tokens, with padding.
        **options: of TensorFlow's converter, such as `optimizations`.
    """
    model = _answers(task, without=task.head.label_outputs)
    signature = {
        name: keras.InputSpec(shape=(1, length), dtype=tensor.dtype, name=name)
        for name, tensor in model.input.items()
    }
    model.export(
        str(path),
        format="litert",
        input_signature=[signature],
        verbose=False,
        **options,
    )


def to_onnx(model: keras.Model) -> ModelProto:
    """The ONNX form of a model that was called before.

    Raises:
        ExportError: the head's `serve` holds tensors of the backend.
    """
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "model.onnx"))
        with _silent("tf2onnx", "tf2onnx.tfonnx"):
            model.export(
                path, format="onnx", opset_version=OPSET, verbose=False
            )
        graph = onnx.load(path)
    names = {tensor.name for tensor in model.inputs}
    extra = [i.name for i in graph.graph.input if i.name not in names]
    if extra:
        raise ExportError(
            f"Expected a head whose constants are numbers or NumPy arrays. "
            f"Received: one whose `serve` makes tensors, which became the "
            f"inputs {', '.join(extra)}. Write numpy.array(...) in place of "
            f"keras.ops.convert_to_tensor(...)."
        )
    _replace_erfc(graph.graph)
    _replace_sign_bit(graph.graph)
    onnx.checker.check_model(graph)
    return graph


def require_portable(task: Task, extra: str, *modules: str) -> None:
    """Raise what keeps a model from the formats that take token ids.

    Args:
        task: the model.
        extra: what installs the modules.
        *modules: what writes the format.

    Raises:
        ConfigError: there is no model yet.
        ExportError: it is told what no other tokenizer knows, Keras does not
            run on TensorFlow, or a module is missing.
    """
    task.require_model()
    if keras.backend.backend() != "tensorflow":
        raise ExportError(
            "Expected Keras on TensorFlow. Received: the backend "
            f"{keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow."
        )
    refuse_told(task)
    refuse_not_finite(task.weights())
    _require(extra, *modules)


def in_float32(task: Task) -> Task:
    """The task in float32, which these formats are written in."""
    if task.backbone.embeddings.dtype_policy.name == "float32":
        return task
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        with tempfile.TemporaryDirectory() as folder:
            saved = Path(folder, "model")
            task.save(saved)
            return type(task).load(saved)
    finally:
        keras.config.set_dtype_policy(before)


def _answers(task: Task, without: tuple[str, ...] = ()) -> keras.Model:
    """Token ids to answers, with padding: both formats want fixed rows."""
    answers = task.head.serve(task.model.output)
    model = keras.Model(
        task.model.input,
        {key: value for key, value in answers.items() if key not in without},
        name="answers",
    )
    # Keras exports a model that was called only.
    ones = np.ones((1, task.max_length), "int32")
    model({name: ones.astype(t.dtype) for name, t in model.input.items()})
    return model


def _replace_erfc(graph) -> None:
    """1 - erf(x) for erfc(x), which the exact GELU has and ONNX has not."""
    from onnx import helper
    from onnx import numpy_helper

    nodes = []
    for node in graph.node:
        if node.op_type != "Erfc":
            nodes.append(node)
            continue
        one, erf = f"{node.name}/one", f"{node.name}/erf"
        value = numpy_helper.from_array(np.float32(1), one)
        graph.initializer.append(value)
        nodes.append(helper.make_node("Erf", node.input, [erf], erf))
        nodes.append(
            helper.make_node("Sub", [one, erf], node.output, node.name)
        )
    del graph.node[:]
    graph.node.extend(nodes)


def _replace_sign_bit(graph) -> None:
    """Arithmetic for the bits by which Keras's argmax tells -0.0 from 0.0.

    It asks `x == 0 and bits(x) & sign`. With a cast for the bits and a
    product for `&` no zero is negative, which leaves the order of scores.
    """
    from onnx import TensorProto
    from onnx import helper

    for node in graph.node:
        names = (node.input, node.output, node.name)
        if node.op_type == "Bitcast":
            node.CopyFrom(
                helper.make_node("Cast", *names, to=TensorProto.INT32)
            )
        elif node.op_type == "BitwiseAnd":
            node.CopyFrom(helper.make_node("Mul", *names))


def write_companions(task: Task, folder: Path) -> None:
    """Write what an application needs beside the graph."""
    write_tokenizer(task.tokenizer, folder, model_max_length=task.max_length)
    text = dumps(task.config(), indent=2, ensure_ascii=False)
    (folder / "kbert.json").write_text(text + "\n", encoding="utf-8")


def _require(extra: str, *modules: str) -> None:
    """Raise `ExportError` if a module of an extra is missing."""
    for module in modules:
        try:
            __import__(module)
        except ImportError as error:
            raise ExportError(
                f"Expected the package {module!r}. Received: {error}. Install "
                f"it: pip install 'kbert[{extra}]'."
            ) from error


@contextlib.contextmanager
def _silent(*names: str) -> Iterator[None]:
    """Without the logs of a converter, which complain of what is cured."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
