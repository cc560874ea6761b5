"""Arguments of a backbone, as a file gives them, checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kbert.errors import CheckpointError
from kbert.errors import short
from kbert.models.layers import ACTIVATIONS

# No BERT is near these. Memory is bounded by comparing with the weights; these
# bound the time that the comparison takes.
LIMITS = {
    "vocabulary_size": 2**24,
    "num_layers": 1000,
    "num_heads": 2**16,
    "hidden_dim": 2**16,
    "embedding_dim": 2**16,
    "intermediate_dim": 2**20,
    "max_sequence_length": 2**20,
    "num_segments": 2**16,
}
_RATES = ("dropout", "attention_dropout")
_FLOATS = ("layer_norm_epsilon", "initializer_range")
_FLAGS = ("output_hidden_states", "output_attentions")
_OPTIONAL = ("embedding_dim",)

# What configurations may leave out, as Hugging Face's and keras_hub's do.
_DEFAULTS = {"max_sequence_length": 512, "num_segments": 2}
_REQUIRED = (
    *("vocabulary_size", "num_layers", "num_heads"),
    *("hidden_dim", "intermediate_dim"),
)


def check_config(config: dict, path: Path) -> dict:
    """`config`, if a backbone can be made of it, with sizes left out.

    Raises:
        CheckpointError: names everything that is wrong in it: a name that is
            no argument of `kbert.Backbone`, one that is missing, a value of
            another kind, a size beyond `LIMITS`.
    """
    config = _DEFAULTS | config
    wrong = [_wrong(name, value) for name, value in config.items()]
    wrong += [f"{n} is missing" for n in _REQUIRED if n not in config]
    if not any(wrong):
        hidden, heads = config["hidden_dim"], config["num_heads"]
        if hidden % heads:
            wrong = [f"hidden_dim {hidden} is no multiple of num_heads {heads}"]
    if any(wrong):
        raise CheckpointError(
            f"Expected the configuration of a BERT in {path}. Received: "
            f"{'; '.join(filter(None, wrong))}."
        )
    return config


def _wrong(name: str, value: Any) -> str | None:
    if name in _OPTIONAL and value is None:
        return None
    if name in LIMITS:
        if type(value) is int and 1 <= value <= LIMITS[name]:
            return None
        return f"{name} is no integer of 1 to {LIMITS[name]:,}: {short(value)}"
    if name in _RATES:
        if type(value) in (int, float) and 0 <= value < 1:
            return None
        return f"{name} is no rate of 0 to 1: {short(value)}"
    if name in _FLOATS:
        if type(value) in (int, float) and 1e-20 <= value < 10:
            return None
        return f"{name} is no small positive number: {short(value)}"
    if name in _FLAGS:
        if type(value) is bool:
            return None
        return f"{name} is neither true nor false: {short(value)}"
    if name == "activation":
        if isinstance(value, str) and value in ACTIVATIONS:
            return None
        known = ", ".join(ACTIVATIONS)
        return f"activation is none of {known}: {short(value)}"
    return f"{short(name)} is no argument of a backbone"
