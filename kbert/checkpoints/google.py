"""Google's checkpoints: TensorFlow 1, and TensorFlow 2's Model Garden.

    bert_config.json, vocab.txt, bert_model.ckpt.index and .data-...

References: google-research/bert modeling.py; the Model Garden's
official/nlp/modeling/networks/bert_encoder.py and
official/nlp/modeling/layers/transformer_encoder_block.py.

Departures: Hugging Face computes `gelu` in these configurations by erf.
Google's code, here too, takes the tanh form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from kbert.checkpoints import huggingface
from kbert.errors import CheckpointError
from kbert.formats.tensor_bundle import open_tensors
from kbert.formats.tensors import Tensor

CONFIG = "bert_config.json"

_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"

# TF 1's name of a part -> Hugging Face's.
_PARTS = {
    "embedding_hidden_mapping_in": "embeddings_project",
    "encoder/embedding_hidden_mapping_in": "embeddings_project",
    "cls/seq_relationship": "cls.seq_relationship",
}

# The Model Garden's name of a part of a layer -> Hugging Face's.
_GARDEN = {
    "_attention_layer/_query_dense": "attention.self.query",
    "_attention_layer/_key_dense": "attention.self.key",
    "_attention_layer/_value_dense": "attention.self.value",
    "_attention_layer/_output_dense": "attention.output.dense",
    "_attention_output_dense": "attention.output.dense",
    "_attention_layer_norm": "attention.output.LayerNorm",
    "_intermediate_dense": "intermediate.dense",
    "_output_dense": "output.dense",
    "_output_layer_norm": "output.LayerNorm",
}
_GARDEN_FIRST = {
    "_embedding_layer": "embeddings.word_embeddings",
    "_position_embedding_layer": "embeddings.position_embeddings",
    "_type_embedding_layer": "embeddings.token_type_embeddings",
    "_embedding_norm_layer": "embeddings.LayerNorm",
    "_embedding_projection": "embeddings_project",
    "_pooler_layer": "pooler.dense",
}
_KINDS = {
    "kernel": "weight",
    "gamma": "weight",
    "bias": "bias",
    "beta": "bias",
    "embeddings": "weight",
}


def read_config(folder: Path) -> dict:
    """Backbone arguments from bert_config.json.

    Raises:
        CheckpointError: as `huggingface.read_config`.
    """
    config = huggingface.read_config(folder, CONFIG)
    if config.get("activation", "gelu") == "gelu":
        config["activation"] = "gelu_new"
    return config


def find(folder: Path) -> list[str]:
    """Names of the TensorFlow checkpoints in a folder."""
    return sorted(path.name[:-6] for path in folder.glob("*.index"))


def open_weights(folder: Path, config: dict) -> tuple[dict[str, Tensor], str]:
    """The tensors of a folder under `BertModel`'s names, and their file.

    Raises:
        CheckpointError: there is not just one checkpoint, or it is corrupt.
    """
    names = find(folder)
    if len(names) != 1:
        raise CheckpointError(
            f"Expected one TensorFlow checkpoint in {folder}. Received: "
            f"{', '.join(names) or 'none'}. Put the one to read into a folder "
            f"with {CONFIG} and vocab.txt."
        )
    tensors = open_tensors(folder, names[0])
    if any(name.endswith(_VALUE) for name in tensors):
        found = _garden(tensors, config)
    else:
        found = huggingface.canonical_tensors(_tf1(tensors))
    return found, f"{names[0]}.index"


# === TensorFlow 1 ===


def _tf1(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    for name, tensor in tensors.items():
        parts = name.removeprefix("bert/")
        # The optimizer's moments, and counters.
        if parts.endswith(("/adam_m", "/adam_v")) or "/" not in parts:
            continue
        if parts.endswith("/kernel"):
            tensor = tensor.T
        found[_tf1_name(parts)] = tensor
    return found


def _tf1_name(name: str) -> str:
    part, _, kind = name.rpartition("/")
    if kind.endswith("_embeddings"):
        part, kind = name, "weight"
    elif kind.startswith("output_"):  # Of the heads, such as output_bias.
        kind = kind.removeprefix("output_").replace("weights", "weight")
    part = _PARTS.get(part, part).replace("/layer_", "/layer/")
    return f"{part.replace('/', '.')}.{_KINDS.get(kind, kind)}"


# === TensorFlow 2 ===


def _garden(tensors: Mapping[str, Tensor], config: dict) -> dict[str, Tensor]:
    found = {}
    for name, tensor in tensors.items():
        if not name.endswith(_VALUE) or "optimizer" in name.lower():
            continue
        path = re.sub(r"^(model/)?(encoder/)?", "", name.removesuffix(_VALUE))
        part, _, kind = path.rpartition("/")
        known = _garden_name(part, config["num_layers"])
        if known is None or kind not in _KINDS:
            continue
        found[f"{known}.{_KINDS[kind]}"] = _flat(known, kind, tensor, config)
    return found


def _garden_name(part: str, layers: int) -> str | None:
    """A part by its attribute's name, or by its number in a Keras model."""
    if part in _GARDEN_FIRST:
        return _GARDEN_FIRST[part]
    match = re.fullmatch(
        r"(layer_with_weights-|_transformer_layers/)(\d+)(?:/(.+))?", part
    )
    if match is None:
        return None
    number, rest = int(match[2]), match[3]
    if match[1] == "layer_with_weights-":
        first = (
            *("embeddings.word_embeddings", "embeddings.position_embeddings"),
            *("embeddings.token_type_embeddings", "embeddings.LayerNorm"),
        )
        if rest is None and number < len(first):
            return first[number]
        number -= len(first)
        if rest is None and number == layers:
            return "pooler.dense"
    if rest not in _GARDEN or number < 0:
        return None
    return f"encoder.layer.{number}.{_GARDEN[rest]}"


def _flat(known: str, kind: str, tensor: Tensor, config: dict) -> Tensor:
    """Heads side by side, and kernels as Torch has them."""
    hidden = config["hidden_dim"]
    if ".attention." in known and kind == "bias":
        return tensor.reshape(hidden)
    if ".attention." in known and kind == "kernel":
        return tensor.reshape(hidden, hidden).T
    return tensor.T if kind == "kernel" else tensor
