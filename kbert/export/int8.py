"""Export for fast answers on a CPU: ONNX whose backbone is in 8 bits.

    DIR/model.onnx
    DIR/vocab.txt, tokenizer_config.json, kbert.json

`kbert.OnnxModel` answers raw strings with such a folder, with onnxruntime and
`tokenizers` alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from kbert.errors import ExportError
from kbert.export import portable
from kbert.export.onnx_encoder import FUSED
from kbert.export.onnx_encoder import encoder_graph
from kbert.models.graphs import later_part
from kbert.utils.atomic import new_folder

if TYPE_CHECKING:
    from kbert.pipeline.text_model import TextModel


def export_int8(
    task: TextModel, path: str | Path, replace: bool = False
) -> None:
    """Write `path/model.onnx`, whose dense layers multiply 8-bit integers.

    Weights are quantized symmetrically with a scale a column, activations as
    they come with a scale a batch, so that an answer depends a little on
    what else is in its batch. Norms, the softmax of the attention and the
    head stay in float32. Only onnxruntime runs it: it has operations of
    onnxruntime's own.

    References: Zafrir et al. 2019, Q8BERT, https://arxiv.org/abs/1910.06188

    Inputs:
        `input_ids`, `attention_mask` and `token_type_ids` int64 `(batch_size,
        sequence_length)`, as transformers' `AutoTokenizer` gives them.

    Raises:
        ExportError: the extra is not installed, Keras does not run on
            TensorFlow, the head answers tokens or cuts the middle out of
            long texts, or the export does not answer nearly as the model.
        CheckpointError: the folder exists, or cannot be written.

    Departures: Q8BERT trains with the rounding; this quantizes what was
    trained. Weights have 7 bits, so that no processor overflows.
    """
    task.require_model()
    head = task.head
    if not portable.answers_whole_texts(head):
        raise ExportError(
            f"Expected a head that answers whole texts, cut at their end. "
            f"Received: the head {head.name!r}. Export a SavedModel."
        )
    portable.require_portable(task, "onnx", "onnx", "onnxruntime", "tf2onnx")
    from onnx import compose
    from onnx import helper

    with new_folder(path, replace) as folder:
        task = portable.in_float32(task)
        top = _head(task, folder)
        top = compose.add_prefix(top, "head/", rename_outputs=False)
        encoder = helper.make_model(
            encoder_graph(task.backbone),
            opset_imports=[*top.opset_import, helper.make_opsetid(FUSED, 1)],
            ir_version=top.ir_version,
        )
        taken = {value.name for value in top.graph.input}
        names = {
            output.name: f"head/{output.name}"
            for output in encoder.graph.output
        }
        model = compose.merge_models(
            encoder,
            top,
            io_map=[pair for pair in names.items() if pair[1] in taken],
            outputs=[output.name for output in top.graph.output],
        )
        portable.write_onnx(task, model, folder, _nearly)


def _nearly(received: np.ndarray, expected: np.ndarray) -> bool:
    """Whether 8 bits are all that differs."""
    error = np.abs(received - expected).mean()
    return bool(error <= 0.1 * np.abs(expected).max() + 0.05)


def _head(task: TextModel, folder: Path):
    """Features to answers, as an ONNX model in float32."""
    answers = task.head.serve(task.model.output)
    mask = task.model.input["padding_mask"]
    features = task.backbone.output | {"real_tokens": mask}
    # Only of some heads is there a path from each of them.
    names = ["sequence_output", "real_tokens"]
    if task.backbone.pooler in task.model.layers:
        names.append("pooled_output")
    inner = later_part(
        task.model.input, [features[name] for name in names], answers
    )
    inputs = {
        name: keras.Input(
            features[name].shape[1:], dtype=features[name].dtype, name=name
        )
        for name in names
    }
    model = keras.Model(inputs, inner([inputs[name] for name in names]))
    # Keras exports a model that was called only.
    model(
        {
            name: keras.ops.ones([d or 3 for d in x.shape], x.dtype)
            for name, x in inputs.items()
        }
    )
    return portable.to_onnx(model, folder)
