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
from collections.abc import Callable
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import keras
import numpy as np

from kbert.checkpoints.vocabularies import write_tokenizer
from kbert.errors import ExportError
from kbert.export.ask import ask_tokens
from kbert.export.checks import check_finite_weights
from kbert.export.checks import check_plain_tokens
from kbert.export.onnx_graph import replace_erfc
from kbert.export.onnx_graph import replace_sign_bit
from kbert.export.onnx_graph import take_tokenizers_inputs
from kbert.exported.onnx_session import FEATURES
from kbert.exported.onnx_session import feed_of
from kbert.exported.onnx_session import open_session
from kbert.utils.atomic import CONFIG
from kbert.utils.atomic import new_folder
from kbert.utils.extras import need
from kbert.utils.json_text import dumps
from kbert.utils.scratch import scratch_folder

if TYPE_CHECKING:
    from onnx import ModelProto

    from kbert.heads.base import Head
    from kbert.pipeline.text_model import TextModel


# What tf2onnx writes by default, and what `onnx_encoder` writes in.
OPSET = 15


def export_onnx(
    task: TextModel, path: str | Path, replace: bool = False
) -> None:
    """Write `path/model.onnx`, for batches and lengths of any size.

    It has ONNX's own operations only, for any runtime. `kbert.OnnxModel`
    answers raw strings with it, if the head answers whole texts.

    Inputs:
        `input_ids`, `attention_mask` and `token_type_ids` int64 `(batch_size,
        sequence_length)`, as transformers' `AutoTokenizer` gives them.

    Raises:
        ExportError: the extra is not installed, Keras does not run on
            TensorFlow, or the export does not answer as the model does.
        CheckpointError: the folder exists, or cannot be written.
    """
    require_portable(task, "onnx", "onnx", "onnxruntime", "tf2onnx")
    with new_folder(path, replace) as folder:
        task = in_float32(task)
        write_onnx(task, to_onnx(_answers(task), folder), folder)


def write_onnx(
    task: TextModel,
    model: ModelProto,
    folder: Path,
    check: Callable[..., bool] | None = None,
) -> None:
    """Write an ONNX model of the answers into a folder, and ask it.

    Args:
        task: what it was made of.
        model: with the inputs of the backbone.
        folder: where to.
        check: see `ask_tokens`.
    """
    import onnx

    take_tokenizers_inputs(model)
    if answers_whole_texts(task.head):
        add_facts(task, model)
    onnx.checker.check_model(model)
    onnx.save(model, str(folder / "model.onnx"))
    write_companions(task, folder)

    def answer(batch):
        session = open_session(folder / "model.onnx")
        names = [output.name for output in session.get_outputs()]
        feed = feed_of(session, *(batch[name] for name in FEATURES))
        return dict(zip(names, session.run(None, feed), strict=True))

    ask_tokens(task, "ONNX model", answer, check)


def answers_whole_texts(head: Head) -> bool:
    """Whether a text is one row, whose end alone is cut off."""
    return not head.by_token and head.truncation == "head"


def add_facts(task: TextModel, model: ModelProto) -> None:
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


def export_litert(
    task: TextModel, path: str | Path, replace: bool = False
) -> None:
    """Write `path/model.tflite`, for one text of `max_length` tokens.

    Shapes are fixed, `(1, max_length)`: with others, the model would need
    TensorFlow's own ops on the device.

    Raises:
        ExportError: the extra is not installed, Keras does not run on
            TensorFlow, the head needs ops that LiteRT has not, or the export
            does not answer as the model does.
        CheckpointError: the folder exists, or cannot be written.
    """
    require_portable(task, "litert", "ai_edge_litert")
    from ai_edge_litert.interpreter import Interpreter

    with new_folder(path, replace) as folder:
        task = in_float32(task)
        file = folder / "model.tflite"
        write_litert(task, file, task.max_length)
        try:
            model = Interpreter(str(file))
            model.allocate_tensors()
        except RuntimeError as error:
            raise ExportError(
                f"Expected a head that LiteRT's own ops compute. Received: "
                f"the head {task.head.name!r}: {error}"
            ) from error
        write_companions(task, folder)
        ask_tokens(task, "LiteRT model", partial(_ask_litert, task, model))


def _ask_litert(task: TextModel, model, batch) -> dict[str, np.ndarray]:
    """Answers to a batch, a row at a time, as wide as the batch is."""
    run = model.get_signature_runner()
    width = batch["padding_mask"].shape[1]
    room = [(0, 0), (0, task.max_length - width)]
    batch = {name: np.pad(value, room) for name, value in batch.items()}
    rows = [
        run(**{name: value[i : i + 1] for name, value in batch.items()})
        for i in range(len(batch["padding_mask"]))
    ]
    answers = {k: np.concatenate([row[k] for row in rows]) for k in rows[0]}
    if task.head.by_token:  # A token each.
        answers = {key: value[:, :width] for key, value in answers.items()}
    return answers


def write_litert(task: TextModel, path: Path, length: int, **options) -> None:
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
    with _converting("LiteRT"):
        model.export(
            str(path),
            format="litert",
            input_signature=[signature],
            verbose=False,
            **options,
        )


def to_onnx(model: keras.Model, folder: Path) -> ModelProto:
    """The ONNX form of a model that was called before.

    Args:
        model: a functional model.
        folder: where its form is written to and read from.

    Raises:
        ExportError: the head's `serve` holds tensors of the backend.
    """
    import onnx

    path = folder / "converted.onnx"
    with _converting("ONNX"), _silent("tf2onnx", "tf2onnx.tfonnx"):
        model.export(
            str(path), format="onnx", opset_version=OPSET, verbose=False
        )
    graph = onnx.load(path)
    path.unlink()
    names = {tensor.name for tensor in model.inputs}
    extra = [i.name for i in graph.graph.input if i.name not in names]
    if extra:
        raise ExportError(
            f"Expected a head whose constants are numbers or NumPy arrays. "
            f"Received: one whose `serve` makes tensors, which became the "
            f"inputs {', '.join(extra)}. Write numpy.array(...) in place of "
            f"keras.ops.convert_to_tensor(...)."
        )
    replace_erfc(graph.graph)
    replace_sign_bit(graph.graph)
    onnx.checker.check_model(graph)
    return graph


def require_portable(task: TextModel, extra: str, *modules: str) -> None:
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
    check_plain_tokens(task)
    check_finite_weights(task.weights())
    need(extra, *modules, purpose="this form", error=ExportError)


def in_float32(task: Any) -> Any:
    """The task in float32, which these formats are written in."""
    if task.backbone.embeddings.dtype_policy.name == "float32":
        return task
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        with scratch_folder(Path(tempfile.gettempdir())) as folder:
            saved = folder / "model"
            task.save(saved)
            return type(task).load(saved)
    finally:
        keras.config.set_dtype_policy(before)


def _answers(task: TextModel, without: tuple[str, ...] = ()) -> keras.Model:
    """Token ids to answers, with padding: both formats want fixed rows."""
    answers = task.head.serve(task.model.output)
    model = keras.Model(
        task.model.input,
        {key: value for key, value in answers.items() if key not in without},
        name="answers",
    )
    # Keras exports a model that was called only.
    zeros = np.zeros((1, task.max_length), "int32")
    model({name: zeros.astype(t.dtype) for name, t in model.input.items()})
    return model


def write_companions(task: TextModel, folder: Path) -> None:
    """Write what an application needs beside the graph."""
    write_tokenizer(task.tokenizer, folder, model_max_length=task.max_length)
    text = dumps(task.config(), indent=2, ensure_ascii=False)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


@contextlib.contextmanager
def _converting(form: str) -> Iterator[None]:
    """What a converter cannot do is an `ExportError`; a full disk is none."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # Each converter has its own, without a base.
        raise ExportError(
            f"Expected a model that has a form in {form}. Received from the "
            f"converter: {' '.join(str(error).split())[-500:]}. Export to "
            f"another format."
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
