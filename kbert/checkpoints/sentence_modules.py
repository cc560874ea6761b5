"""The modules of sentence-transformers that make a vector of tokens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from kbert.errors import CheckpointError
from kbert.errors import short
from kbert.formats import safetensors_form
from kbert.formats import torch_form
from kbert.formats.tensors import as_float
from kbert.utils.untrusted import has_member
from kbert.utils.untrusted import listed
from kbert.utils.untrusted import member
from kbert.utils.untrusted import read_object

# Names of poolings, in the order in which the vectors of several lie.
POOLINGS = (
    *("cls", "max", "mean", "mean_sqrt_len_tokens"),
    *("weightedmean", "lasttoken"),
)

# Before version 6 of sentence-transformers each way had a flag of its own.
FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}

# Torch's module -> Keras's activation, by the names that
# `kbert.models.layers.ACTIVATIONS` has.
ACTIVATIONS = {
    "Tanh": "tanh",
    "Identity": "linear",
    "ReLU": "relu",
    "GELU": "gelu",
    "Sigmoid": "sigmoid",
    "SiLU": "silu",
}

MAX_UNITS = 2**16


@dataclass(frozen=True)
class DenseModule:
    """A dense layer on a text's vector.

    Attributes:
        units: size of what it gives.
        activation: Keras's name of it.
        bias: whether it has one.
        weights: kernel `(in, units)` and bias `(units,)`.
    """

    units: int
    activation: str
    bias: bool
    weights: tuple[np.ndarray, ...] = field(default=(), repr=False)

    def config(self) -> dict[str, Any]:
        """All but the weights, as JSON can hold it."""
        return {
            "units": self.units,
            "activation": self.activation,
            "bias": self.bias,
        }


def refuse_others(config: dict, known: Iterable[str], path: Path) -> None:
    """Raise `CheckpointError` that names the keys that are not known."""
    if unknown := config.keys() - {*known}:
        raise CheckpointError(
            f"Expected the keys of sentence-transformers in {path}. Received "
            f"also: {listed(sorted(unknown))}, which kbert does not know, so "
            f"that vectors could be others than that library's. Delete them "
            f"if they do not matter."
        )


def read_pooling(
    config: dict, path: Path, strict: bool = True
) -> tuple[str, ...]:
    """The poolings that a Pooling's config.json asks for.

    Raises:
        CheckpointError: it asks for one that kbert has not, or has other
            keys. Without `strict` the answer is empty then.
    """
    modes = config.get("pooling_mode")
    if modes is None:
        modes = [mode for flag, mode in FLAGS.items() if config.get(flag)]
        modes = modes or ["mean"]
    modes = [modes] if isinstance(modes, str) else modes
    fits = (
        isinstance(modes, list) and modes and {*map(str, modes)} <= {*POOLINGS}
    )
    if not strict:
        return tuple(modes) if fits else ()
    sizes = ("word_embedding_dimension", "embedding_dimension")
    known = {*sizes, *FLAGS, "pooling_mode", "include_prompt"}
    refuse_others(config, known, path)
    if not fits:
        raise CheckpointError(
            f"Expected the poolings {', '.join(POOLINGS)} in {path}. "
            f"Received: {short(modes)}. Give `pooling` to overrule it."
        )
    if config.get("include_prompt") is False:
        raise CheckpointError(
            f"Expected include_prompt true in {path}. Received: false. kbert "
            f"pools all tokens of a text, those of its prompt too."
        )
    return tuple(modes)


def read_dense(folder: Path, place: str) -> DenseModule:
    """A Dense's config.json and weights.

    Raises:
        CheckpointError: a file is missing or corrupt, or asks for what kbert
            does not compute.
    """

    def inside(name: str) -> str:
        return str(PurePosixPath(place, name))

    path = member(folder, inside("config.json"))
    config = read_object(path)
    names = ("module_input_name", "module_output_name")
    refuse_others(
        config,
        {
            *("in_features", "out_features", "bias", "activation_function"),
            *(*names, "use_residual"),
        },
        path,
    )
    units: Any = config.get("out_features")
    size = config.get("in_features")
    bias = config.get("bias", True)
    full = config.get("activation_function", "torch.nn.modules.Tanh")
    kind = str(full).rpartition(".")[2]
    wrong = None
    if not all(type(n) is int and 1 <= n <= MAX_UNITS for n in (units, size)):
        wrong = f"in_features {short(size)}, out_features {short(units)}"
    elif not isinstance(bias, bool):
        wrong = f"bias {short(bias)}"
    elif kind not in ACTIVATIONS or not full.startswith("torch.nn."):
        wrong = (
            f"activation_function {short(full)}, none of "
            f"{', '.join(ACTIVATIONS)} of torch.nn"
        )
    elif config.get("use_residual"):
        wrong = "use_residual true"
    elif any(config.get(n) not in (None, "sentence_embedding") for n in names):
        wrong = f"{names[0]} {short(config.get(names[0]))}"
    if wrong is not None:
        raise CheckpointError(
            f"Expected a Dense that kbert computes in {path}. Received: "
            f"{wrong}."
        )
    if has_member(folder, inside(safetensors_form.WEIGHTS)):
        source = member(folder, inside(safetensors_form.WEIGHTS))
        tensors = safetensors_form.open_tensors(source)
    else:
        source = member(folder, inside(torch_form.WEIGHTS))
        tensors = torch_form.open_tensors(source)
    shapes: dict[str, tuple] = {"linear.weight": (units, size)}
    if bias:
        shapes["linear.bias"] = (units,)
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if found != shapes:
        raise CheckpointError(
            f"Expected {shapes} in {source}. Received: {short(found)}."
        )
    weights = tuple(as_float(tensors[name].read()).T for name in shapes)
    return DenseModule(units, ACTIVATIONS[kind], bias, weights)


def read_normalize(folder: Path, place: str) -> None:
    """Check the config.json of a Normalize, which older ones have not."""
    name = str(PurePosixPath(place, "config.json"))
    if not has_member(folder, name):
        return
    path = member(folder, name)
    names = ("module_input_name", "module_output_name")
    config: dict[str, Any] = read_object(path)
    refuse_others(config, names, path)
    for key in names:
        if config.get(key) not in (None, "sentence_embedding"):
            raise CheckpointError(
                f"Expected {key} 'sentence_embedding' in {path}. Received: "
                f"{short(config[key])}."
            )
