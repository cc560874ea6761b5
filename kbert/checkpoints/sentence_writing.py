"""The files that sentence-transformers opens a folder by, written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kbert.checkpoints.sentence import CONFIG
from kbert.checkpoints.sentence import MODULES
from kbert.checkpoints.sentence import SentenceConfig
from kbert.checkpoints.sentence_modules import ACTIVATIONS
from kbert.checkpoints.sentence_modules import FLAGS
from kbert.checkpoints.sentence_modules import DenseModule
from kbert.formats.safetensors_form import WEIGHTS
from kbert.formats.safetensors_form import write_tensors
from kbert.utils.json_text import dumps

TRANSFORMER = "sentence_bert_config.json"

# Names that all versions of the library know.
_MODULES = "sentence_transformers.models"
_TORCH = "torch.nn.modules.activation"


def write_sentence_config(
    config: SentenceConfig, hidden_dim: int, folder: Path
) -> None:
    """Write modules.json and the files of the modules.

    Args:
        config: how a text's vector is made.
        hidden_dim: H, size of a token's features.
        folder: where the BERT is written.
    """
    kinds = ["Transformer", "Pooling", *("Dense" for _ in config.dense)]
    kinds += ["Normalize"] if config.normalize else []
    modules = [
        {
            "idx": number,
            "name": str(number),
            "path": f"{number}_{kind}" if number else "",
            "type": f"{_MODULES}.{kind}",
        }
        for number, kind in enumerate(kinds)
    ]
    _write(modules, folder / MODULES)
    _write(
        {
            "prompts": dict(config.prompts),
            "default_prompt_name": config.default_prompt_name,
            "similarity_fn_name": config.similarity,
        },
        folder / CONFIG,
    )
    # The tokenizer's files say its case.
    _write(
        {"max_seq_length": config.max_length, "do_lower_case": False},
        folder / TRANSFORMER,
    )
    pooling = folder / modules[1]["path"]
    pooling.mkdir()
    _write(_pooling(config.pooling, hidden_dim), pooling / "config.json")
    size = hidden_dim * len(config.pooling)
    for module, layer in zip(modules[2:], config.dense, strict=False):
        _write_dense(layer, size, folder / module["path"])
        size = layer.units


def _pooling(names: tuple[str, ...], hidden_dim: int) -> dict[str, Any]:
    found: dict[str, Any] = {"word_embedding_dimension": hidden_dim}
    found |= {flag: name in names for flag, name in FLAGS.items()}
    usual = [name for name in FLAGS.values() if name in names]
    if [*names] != usual:  # Flags know no other order.
        found["pooling_mode"] = [*names]
    return found


def _write_dense(layer: DenseModule, size: int, folder: Path) -> None:
    folder.mkdir()
    kinds = {ours: theirs for theirs, ours in ACTIVATIONS.items()}
    kind = kinds[layer.activation]
    place = "torch.nn.modules.linear" if kind == "Identity" else _TORCH
    _write(
        {
            "in_features": size,
            "out_features": layer.units,
            "bias": layer.bias,
            "activation_function": f"{place}.{kind}",
        },
        folder / "config.json",
    )
    names = ("linear.weight", "linear.bias")
    write_tensors(
        {n: w.T for n, w in zip(names, layer.weights, strict=False)},
        folder / WEIGHTS,
    )


def _write(value: Any, path: Path) -> None:
    text = dumps(value, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
