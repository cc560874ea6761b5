"""The heads of pretraining in Hugging Face form, `BertForPreTraining`'s."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from kbert.checkpoints.huggingface import tensors_of
from kbert.formats.tensors import Tensor
from kbert.formats.tensors import assign_tensors
from kbert.formats.tensors import dense
from kbert.formats.tensors import norm

# Head of the pretraining model -> what its tensors' names begin with.
PREFIXES = {
    "mlm": "cls.predictions",
    "nsp": "cls.seq_relationship",
    "sop": "cls.sentence_order",  # kbert's own: Hugging Face's BERT has none.
}


def _named_variables(
    layer: keras.layers.Layer,
) -> Iterator[tuple[str, keras.Variable, bool]]:
    prefix = PREFIXES[layer.name]
    if layer.name == "mlm":
        yield from dense(f"{prefix}.transform.dense", layer.dense)
        yield from norm(f"{prefix}.transform.LayerNorm", layer.norm)
        yield f"{prefix}.bias", layer.bias, False
    else:
        yield from dense(prefix, layer)


def _heads(model: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in model.layers if layer.name in PREFIXES]


def head_tensors(model: keras.Model) -> dict[str, np.ndarray]:
    """Weights of a pretraining model's heads under Hugging Face's names.

    The output weights of `"mlm"` are the token embeddings and not repeated.
    """
    return {
        name: value
        for layer in _heads(model)
        for name, value in tensors_of(_named_variables(layer)).items()
    }


def assign_heads(
    model: keras.Model, tensors: Mapping[str, Tensor], source: Path | str
) -> list[str]:
    """Set the heads of a pretraining model that a checkpoint has.

    Args:
        model: of `kbert.pretraining.heads.pretraining_model`.
        tensors: those of a checkpoint, see `Checkpoint.tensors`.
        source: where they come from, for errors.

    Returns:
        Names of the heads that were set; others keep their weights.

    Raises:
        CheckpointError: a head is there in part or in another shape.
    """
    found = [
        layer
        for layer in _heads(model)
        if any(name.startswith(f"{PREFIXES[layer.name]}.") for name in tensors)
    ]
    assign_tensors(
        [named for layer in found for named in _named_variables(layer)],
        tensors,
        source,
    )
    return [layer.name for layer in found]
