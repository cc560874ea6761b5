"""Export in Hugging Face form: config.json, model.safetensors, tokenizer.

What is written loads with `AutoModel...` and `AutoTokenizer`, without code of
its own (`trust_remote_code` is not needed).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from kbert.checkpoints import huggingface
from kbert.checkpoints.vocabularies import write_tokenizer
from kbert.errors import ExportError
from kbert.export.ask import ask_backbone
from kbert.export.checks import check_plain_tokens
from kbert.formats.safetensors_form import WEIGHTS
from kbert.formats.safetensors_form import open_tensors
from kbert.formats.safetensors_form import write_tensors
from kbert.formats.tensors import build_backbone
from kbert.heads.transformers_form import TransformersForm
from kbert.utils.atomic import new_folder
from kbert.utils.checks import suggests

if TYPE_CHECKING:
    from kbert.models.backbone import Backbone
    from kbert.pipeline.text_model import TextModel
    from kbert.tokenizers.tokenizer import Tokenizer

# tanh(x) is x to float32's rounding where x is this small.
_SMALL = 1e-4

_POOLED = "pooled_output"


@suggests
def save_backbone(
    backbone: Backbone,
    path: str | Path,
    tokenizer: Tokenizer | None = None,
    replace: bool = False,
) -> None:
    """Write a backbone as `BertModel`, or with its own embedding size as
    `ElectraModel`, which has no pooler.

    Args:
        backbone: `kbert.Backbone`.
        path: the folder to make.
        tokenizer: written beside it, if given.
        replace: whether an existing folder gives way, if it holds no more
            than the new one.

    Raises:
        CheckpointError: the folder exists, or cannot be written.
        ExportError: what was written answers otherwise.

    Example:

    >>> kbert.save_backbone(clf.backbone, "presets/mine", clf.tokenizer)
    >>> kbert.load_backbone("presets/mine").config == clf.backbone.config
    True
    """
    tensors = huggingface.backbone_tensors(backbone)
    architecture, more = "BertModel", {}
    if backbone.embeddings.projection is not None:
        architecture, more = "ElectraModel", {"model_type": "electra"}
        tensors = {k: v for k, v in tensors.items() if "pooler" not in k}
    with new_folder(path, replace) as folder:
        huggingface.write_config(backbone, folder, architecture, **more)
        write_tensors(tensors, folder / WEIGHTS)
        ask_backbone(backbone, architecture, partial(_features, folder))
        if tokenizer is not None:
            limit = backbone.config["max_sequence_length"]
            write_tokenizer(tokenizer, folder, model_max_length=limit)


def save_task(task: TextModel, path: str | Path, replace: bool = False) -> None:
    """Write a model with its head, as the class that the head names.

    Args:
        task: a task that has a model.
        path: the folder to make.
        replace: whether an existing folder gives way, if it holds no more
            than the new one.

    Raises:
        ExportError: transformers has no class that computes the head.
        CheckpointError: the folder exists, or cannot be written.
    """
    form = _form(task)
    tensors = {
        f"bert.{name}": value
        for name, value in huggingface.backbone_tensors(task.backbone).items()
    }
    scale = 1.0
    if form.pooler is None:
        tensors = {k: v for k, v in tensors.items() if "pooler" not in k}
    elif form.pooler == "linear":
        size = task.backbone.config["hidden_dim"]
        eye = np.eye(size, dtype="float32")
        tensors["bert.pooler.dense.weight"] = _SMALL * eye
        tensors["bert.pooler.dense.bias"] = np.zeros(size, "float32")
        scale = 1 / _SMALL
    weights = dict(task.head_weights())
    for ours, theirs in form.layers.items():
        kernel = weights[f"head.{ours}.kernel"].numpy()
        tensors[f"{theirs}.weight"] = (kernel * scale).T
        tensors[f"{theirs}.bias"] = weights[f"head.{ours}.bias"].numpy()
    labels = [str(label) for label in form.labels or task.head.labels]
    config = {
        "id2label": dict(enumerate(labels)),
        "label2id": {label: i for i, label in enumerate(labels)},
    }
    if form.problem_type is not None:
        config["problem_type"] = form.problem_type
    with new_folder(path, replace) as folder:
        huggingface.write_config(
            task.backbone, folder, form.architecture, **config
        )
        write_tensors(tensors, folder / WEIGHTS)
        write_tokenizer(
            task.tokenizer, folder, model_max_length=task.max_length
        )
        _ask(task, form, folder)


def _features(folder: Path, batch: Mapping) -> dict[str, np.ndarray]:
    """What the backbone in a folder computes, as far as it is there."""
    tensors, name = huggingface.open_weights(folder)
    config = huggingface.read_config(folder)
    backbone = build_backbone(config, tensors, folder / name)
    features = backbone(batch, training=False)
    if not any("pooler" in key for key in tensors):
        del features["pooled_output"]
    return {k: keras.ops.convert_to_numpy(v) for k, v in features.items()}


def _ask(task: TextModel, form: TransformersForm, folder: Path) -> None:
    """Compute with what was written as the class of transformers does."""
    tensors = open_tensors(folder / WEIGHTS)

    def answer(batch):
        features = _features(folder, batch)
        x = features["sequence_output" if form.pooler is None else _POOLED]
        return {
            ours: x @ tensors[f"{theirs}.weight"].read().T
            + tensors[f"{theirs}.bias"].read()
            for ours, theirs in form.layers.items()
        }

    # The first layer takes the features themselves, or it is another head.
    outputs = {name: task.model.get_layer(name).output for name in form.layers}
    model = keras.Model(task.model.input, outputs)
    ask_backbone(task.backbone, form.architecture, answer, outputs=model)


def _form(task: TextModel) -> TransformersForm:
    task.require_model()
    check_plain_tokens(task)
    form = task.head.transformers_form()
    if form is None:
        received = f"the head {task.head.name!r} as it is configured"
    elif task.backbone.embeddings.projection is not None:
        received = "a backbone whose embeddings have a size of their own"
    else:
        found = {name for name, _ in task.head_weights()}
        known = {
            f"head.{layer}.{kind}"
            for layer in form.layers
            for kind in ("kernel", "bias")
        }
        if found == known:
            return form
        odd = ", ".join(sorted(found ^ known))
        received = f"the head {task.head.name!r} with other weights ({odd})"
    raise ExportError(
        f"Expected a head that a class of transformers computes, such as "
        f"head='classification' with pooling='pooler' or 'cls', 'ner' or "
        f"'qa'. Received: {received}. Train such a head, or export to "
        f"onnx, litert or a SavedModel, which hold any head."
    )
