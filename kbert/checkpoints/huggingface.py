"""Hugging Face form of a BERT: config.json, model.safetensors, vocab.txt."""

from __future__ import annotations

import json
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import safetensors
from safetensors.numpy import save_file

from kbert.backbone import Backbone
from kbert.errors import CheckpointError
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
}
_REQUIRED = ("vocab_size", "num_hidden_layers", "hidden_size")


def read_config(folder: Path) -> dict:
    """Backbone arguments from a folder's config.json.

    Raises:
        CheckpointError: the file is missing or no JSON, or is not a BERT's.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"Expected a BERT configuration in {path}. Received: {error}."
        ) from error
    if not isinstance(config, dict):
        raise CheckpointError(
            f"Expected a JSON object in {path}. Received: "
            f"{type(config).__name__}."
        )
    kind = config.get("model_type", "bert")
    if kind != "bert":
        raise CheckpointError(
            f"Expected model_type 'bert' in {path}. Received: {kind!r}. "
            f"kbert reads BERT checkpoints only."
        )
    if missing := [key for key in _REQUIRED if key not in config]:
        raise CheckpointError(f"{path} lacks {', '.join(missing)}.")
    hidden = config["hidden_size"]
    config.setdefault("num_attention_heads", hidden // 64)
    config.setdefault("intermediate_size", 4 * hidden)
    return {ours: config[hf] for hf, ours in _CONFIG.items() if hf in config}


def write_config(
    backbone: Backbone, folder: Path, architecture: str = "BertModel"
) -> None:
    """Write a backbone's config.json in Hugging Face's form."""
    config = {hf: backbone.config[ours] for hf, ours in _CONFIG.items()}
    config = {"model_type": "bert", "architectures": [architecture], **config}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def write_tokenizer(
    vocabulary: Sequence[str], lowercase: bool, folder: Path
) -> None:
    """Write vocab.txt and the tokenizer_config.json that says its case."""
    write_vocabulary(vocabulary, folder / "vocab.txt")
    config = {"do_lower_case": lowercase, "tokenizer_class": "BertTokenizer"}
    (folder / "tokenizer_config.json").write_text(
        json.dumps(config, indent=2) + "\n"
    )


def dense(
    name: str, layer: keras.layers.Dense
) -> Iterator[tuple[str, keras.Variable, bool]]:
    """The weights of a dense layer, as `named_variables` gives them."""
    yield f"{name}.weight", layer.kernel, True
    yield f"{name}.bias", layer.bias, False


def norm(
    name: str, layer: keras.layers.LayerNormalization
) -> Iterator[tuple[str, keras.Variable, bool]]:
    """The weights of a layer normalization, the same way."""
    yield f"{name}.weight", layer.gamma, False
    yield f"{name}.bias", layer.beta, False


def named_variables(
    backbone: Backbone,
) -> Iterator[tuple[str, keras.Variable, bool]]:
    """Every weight as `(name, variable, transposed)`.

    The name is that of Hugging Face's `BertModel`; `transposed` says that
    Torch keeps a dense kernel as (out, in) where Keras keeps (in, out).
    """

    e = backbone.embeddings
    yield (
        "embeddings.word_embeddings.weight",
        e.token_embedding.embeddings,
        False,
    )
    yield (
        "embeddings.position_embeddings.weight",
        e.position_embedding.embeddings,
        False,
    )
    yield (
        "embeddings.token_type_embeddings.weight",
        e.segment_embedding.embeddings,
        False,
    )
    yield from norm("embeddings.LayerNorm", e.norm)
    for i, layer in enumerate(backbone.encoder):
        name, attention = f"encoder.layer.{i}", layer.attention
        yield from dense(f"{name}.attention.self.query", attention.query)
        yield from dense(f"{name}.attention.self.key", attention.key)
        yield from dense(f"{name}.attention.self.value", attention.value)
        yield from dense(
            f"{name}.attention.output.dense", attention.output_dense
        )
        yield from norm(
            f"{name}.attention.output.LayerNorm", layer.attention_norm
        )
        yield from dense(f"{name}.intermediate.dense", layer.intermediate)
        yield from dense(f"{name}.output.dense", layer.output_dense)
        yield from norm(f"{name}.output.LayerNorm", layer.output_norm)
    yield from dense("pooler.dense", backbone.pooler)


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """All tensors of a safetensors file, by name.

    Raises:
        CheckpointError: the file is missing, truncated or corrupt.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, safetensors.SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"Expected weights in safetensors form in {path}. Received a file "
            f"that is missing, truncated or corrupt: {error}. Fetch or save "
            f"it again."
        ) from error


def write_tensors(tensors: dict[str, np.ndarray], path: Path) -> None:
    """Write tensors, by name, to a safetensors file.

    Raises:
        OSError: the file cannot be written, as on a full disk.
    """
    try:
        save_file(
            {k: np.asarray(v, order="C") for k, v in tensors.items()},
            path,
            metadata={"format": "pt"},  # Hugging Face asks for it.
        )
        path.chmod(0o644)  # Its 0600 would hide it from a server.
    except safetensors.SafetensorError as error:
        raise OSError(str(error)) from error


def backbone_tensors(backbone: Backbone) -> dict[str, np.ndarray]:
    """A backbone's weights under Hugging Face's names."""
    return tensors_of(named_variables(backbone))


def tensors_of(
    named: Iterable[tuple[str, keras.Variable, bool]],
) -> dict[str, np.ndarray]:
    """Arrays of what `named_variables` and its like give."""
    return {
        name: variable.numpy().T if transposed else variable.numpy()
        for name, variable, transposed in named
    }


def assign_backbone(
    backbone: Backbone, tensors: dict[str, np.ndarray], source: Path
) -> None:
    """Set a backbone's weights from tensors under Hugging Face's names.

    A `bert.` before every name, and the older `gamma` and `beta`, are
    understood. A missing pooler keeps its random weights, since checkpoints
    made without NSP have none. Nothing is changed unless everything fits.

    Raises:
        CheckpointError: names every tensor that is missing or has another
            shape than the configuration says.
    """
    assign_tensors(
        named_variables(backbone),
        {canonical(name): value for name, value in tensors.items()},
        source,
        optional="pooler.",
    )


def assign_tensors(
    named: Iterable[tuple[str, keras.Variable, bool]],
    tensors: dict[str, np.ndarray],
    source: Path,
    optional: str | None = None,
) -> None:
    """Set variables from tensors of the same names, all of them or none.

    Args:
        named: what `named_variables` and its like give.
        tensors: arrays by name.
        source: where they come from, for errors.
        optional: how the names of those begin that may be missing.

    Raises:
        CheckpointError: as `assign_backbone`.
    """
    wrong, values = [], []
    for name, variable, transposed in named:
        if name not in tensors:
            if optional is None or not name.startswith(optional):
                wrong.append(f"{name} is missing")
            continue
        value = tensors[name].T if transposed else tensors[name]
        if value.shape != tuple(variable.shape):
            wrong.append(
                f"{name} has shape {tensors[name].shape}, not "
                f"{tuple(variable.shape)[:: -1 if transposed else 1]}"
            )
        values.append((variable, value))
    if wrong:
        raise CheckpointError(
            f"The weights in {source} do not fit its configuration: "
            f"{'; '.join(wrong)}."
        )
    for variable, value in values:
        variable.assign(value)


def canonical(name: str) -> str:
    """A tensor's name without `bert.`, in today's spelling."""
    name = name.removeprefix("bert.")
    if name.endswith(".gamma"):
        return name.removesuffix("gamma") + "weight"
    if name.endswith(".beta"):
        return name.removesuffix("beta") + "bias"
    return name
