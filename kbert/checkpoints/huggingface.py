"""Hugging Face form: config.json, weights, vocabulary.

BERT, and its kin where only names differ: DistilBERT (Sanh et al. 2019,
arXiv:1910.01108), whose missing segment embeddings are zeros here, and
ELECTRA (Clark et al. 2020, arXiv:2003.10555).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from kbert.backbone import Backbone
from kbert.checkpoints import torch_form
from kbert.checkpoints.configs import check_config
from kbert.checkpoints.safetensors_form import INDEX
from kbert.checkpoints.safetensors_form import WEIGHTS
from kbert.checkpoints.safetensors_form import open_shards
from kbert.checkpoints.safetensors_form import open_tensors
from kbert.checkpoints.tensors import Named
from kbert.checkpoints.tensors import Tensor
from kbert.checkpoints.tensors import named_variables
from kbert.errors import CheckpointError
from kbert.errors import short
from kbert.untrusted import has_member
from kbert.untrusted import member
from kbert.untrusted import read_object
from kbert.vocabulary import write_vocabulary

# Hugging Face's config.json key -> Backbone argument.
_CONFIG = {
    "vocab_size": "vocabulary_size",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "hidden_size": "hidden_dim",
    "intermediate_size": "intermediate_dim",
    "hidden_act": "activation",
    "hidden_dropout_prob": "dropout",
    "attention_probs_dropout_prob": "attention_dropout",
    "max_position_embeddings": "max_sequence_length",
    "type_vocab_size": "num_segments",
    "layer_norm_eps": "layer_norm_epsilon",
    "initializer_range": "initializer_range",
    "embedding_size": "embedding_dim",
}
_REQUIRED = ("vocab_size", "num_hidden_layers", "hidden_size")

# DistilBERT's key -> BERT's.
_DISTILBERT_CONFIG = {
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "hidden_dim": "intermediate_size",
    "activation": "hidden_act",
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
}
_DISTILBERT_NAMES = {
    "attention.q_lin": "attention.self.query",
    "attention.k_lin": "attention.self.key",
    "attention.v_lin": "attention.self.value",
    "attention.out_lin": "attention.output.dense",
    "sa_layer_norm": "attention.output.LayerNorm",
    "ffn.lin1": "intermediate.dense",
    "ffn.lin2": "output.dense",
    "output_layer_norm": "output.LayerNorm",
}

TYPES = ("bert", "distilbert", "electra")

# What transformers and Google's code take where a config.json says nothing.
# Shapes do not tell the number of heads.
_LEFT_OUT = {
    "bert": {"num_attention_heads": 12, "intermediate_size": 3072},
    "electra": {
        "num_attention_heads": 4,
        "intermediate_size": 1024,
        "embedding_size": 128,
    },
}

# Ways to compute that a config.json may ask for and kbert has not.
_ONLY = {
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
}


# === Configuration ===


def read_config(folder: Path, name: str = "config.json") -> dict:
    """Backbone arguments from a folder's config.json.

    Raises:
        CheckpointError: the file is missing or no JSON, is not a BERT's or
            its kin's, or has values that no BERT has.
    """
    path = member(folder, name)
    config = read_object(path)
    kind = config.get("model_type", "bert")
    if kind not in TYPES:
        raise CheckpointError(
            f"Expected one of the model types {', '.join(TYPES)} in {path}. "
            f"Received: {short(kind)}. kbert reads BERT and its close kin only."
        )
    for key, value in _ONLY.items():
        if config.get(key, value) != value:
            raise CheckpointError(
                f"Expected {key} {value!r} in {path}. Received: "
                f"{short(config[key])}. kbert computes BERT as its paper has "
                f"it."
            )
    if kind == "distilbert":
        config = {
            _DISTILBERT_CONFIG.get(k, k): v for k, v in config.items()
        } | {"type_vocab_size": 2}
    if missing := [key for key in _REQUIRED if key not in config]:
        raise CheckpointError(f"{path} lacks {', '.join(missing)}.")
    config = _LEFT_OUT.get(kind, _LEFT_OUT["bert"]) | config
    known = {ours: config[hf] for hf, ours in _CONFIG.items() if hf in config}
    return check_config(known, path)


def hf_config(backbone: Backbone) -> dict:
    """A backbone's arguments under the names of `BertConfig`."""
    config = {hf: backbone.config[ours] for hf, ours in _CONFIG.items()}
    if config["embedding_size"] is None:
        del config["embedding_size"]
    return config


def write_config(
    backbone: Backbone, folder: Path, architecture: str = "BertModel", **more
) -> None:
    """Write a backbone's config.json in Hugging Face's form."""
    config = {
        "model_type": "bert",
        "architectures": [architecture],
        **hf_config(backbone),
        **more,
    }
    text = json.dumps(config, indent=2, ensure_ascii=False)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")


def write_tokenizer(
    vocabulary: Sequence[str], lowercase: bool, folder: Path, **more
) -> None:
    """Write vocab.txt and the tokenizer_config.json that says its case."""
    write_vocabulary(vocabulary, folder / "vocab.txt")
    config = {
        "do_lower_case": lowercase,
        "tokenizer_class": "BertTokenizer",
        **more,
    }
    (folder / "tokenizer_config.json").write_text(
        json.dumps(config, indent=2) + "\n"
    )


# === Tensors ===


def open_weights(folder: Path) -> tuple[dict[str, Tensor], str]:
    """The tensors of a folder under `BertModel`'s names, and their file.

    Raises:
        CheckpointError: there is no file of weights, or it is corrupt.
    """
    if has_member(folder, WEIGHTS):
        name, tensors = WEIGHTS, open_tensors(member(folder, WEIGHTS))
    elif has_member(folder, INDEX):
        name, tensors = INDEX, open_shards(folder)
    else:
        name, tensors = torch_form.open_folder(folder)
    return canonical_tensors(tensors), name


def canonical_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under the names of today's `BertModel`."""
    found = {canonical(name): tensor for name, tensor in tensors.items()}
    if any(name.startswith("distilbert.") for name in tensors) or any(
        name.startswith("transformer.layer.") for name in tensors
    ):
        table = found.get("embeddings.word_embeddings.weight")
        if table is not None and len(table.shape) == 2:
            zeros = np.zeros((2, table.shape[1]), "float32")
            found["embeddings.token_type_embeddings.weight"] = Tensor.of(zeros)
    return found


def canonical(name: str) -> str:
    """A tensor's name as today's `BertModel` spells it.

    Without `bert.`, `electra.` or `distilbert.`, with `weight` and `bias` of
    the older `gamma` and `beta`, and with BERT's parts of a layer.
    """
    name = re.sub(r"^(bert|electra|distilbert)\.", "", name)
    if found := re.fullmatch(r"transformer\.(layer\.\d+)\.(.+)\.(\w+)", name):
        layer, part, kind = found.groups()
        name = f"encoder.{layer}.{_DISTILBERT_NAMES.get(part, part)}.{kind}"
    if name.endswith(".gamma"):
        return name.removesuffix("gamma") + "weight"
    if name.endswith(".beta"):
        return name.removesuffix("beta") + "bias"
    return name


def backbone_tensors(backbone: Backbone) -> dict[str, np.ndarray]:
    """A backbone's weights under Hugging Face's names."""
    return tensors_of(named_variables(backbone))


def tensors_of(named: Sequence[Named]) -> dict[str, np.ndarray]:
    """Arrays of what `named_variables` and its like give."""

    def array(variable: keras.Variable) -> np.ndarray:
        return keras.ops.convert_to_numpy(variable)

    return {
        name: array(variable).T if transposed else array(variable)
        for name, variable, transposed in named
    }
