"""KerasHub's presets, by name and from a folder.

    config.json, tokenizer.json, assets/tokenizer/vocabulary.txt,
    model.weights.h5, or model.weights.json and model_00000.weights.h5 ...

A folder is read here and not by keras_hub: its configurations can name any
class that Keras knows. Only fetching by name takes keras_hub.

Reference: keras_hub/src/models/bert/bert_backbone.py.

Departures: keras_hub folds case by NFKC, which spells out characters such as
a half, and leaves control characters in; kbert does as BERT's own tokenizer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kbert.errors import CheckpointError
from kbert.errors import DownloadError
from kbert.errors import UnknownNameError
from kbert.errors import short
from kbert.utils.untrusted import has_member
from kbert.utils.untrusted import listed
from kbert.utils.untrusted import member
from kbert.utils.untrusted import read_object

# Imported when needed: they import Keras, and to fetch a preset needs none.
if TYPE_CHECKING:
    from kbert.formats.tensors import Tensor

SCHEME = "kerashub:"
CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
VOCABULARY = "assets/tokenizer/vocabulary.txt"
WEIGHTS = "model.weights.h5"
INDEX = "model.weights.json"

BACKBONE = "keras_hub>BertBackbone"

_ARGUMENTS = (
    *("vocabulary_size", "num_layers", "num_heads", "hidden_dim"),
    *("intermediate_dim", "dropout", "max_sequence_length", "num_segments"),
)
BERT_TOKENIZER = "keras_hub>BertTokenizer"
_CASE = ("lowercase", "strip_accents")
# Options of the tokenizer -> the values that leave ids as BERT's.
_TOKENIZER = {
    "split": (True,),
    "split_on_cjk": (True,),
    "suffix_indicator": ("##",),
    "oov_token": ("[UNK]",),
    "special_tokens_in_strings": (False,),
    "special_tokens": (None, []),
    "sequence_length": (None,),
}
# What every layer of Keras has, and where files of the preset were.
_KERAS = ("name", "trainable", "dtype", "vocabulary", "config_file")

# What keras_hub fixes.
_FIXED = {"activation": "gelu_new", "layer_norm_epsilon": 1e-12}

# Names of layers -> Hugging Face's.
_LAYERS = {
    "token_embedding": "embeddings.word_embeddings",
    "position_embedding": "embeddings.position_embeddings",
    "segment_embedding": "embeddings.token_type_embeddings",
    "embeddings_layer_norm": "embeddings.LayerNorm",
    "pooled_dense": "pooler.dense",
}
_PARTS = {
    "self_attention_layer/query": "attention.self.query",
    "self_attention_layer/key": "attention.self.key",
    "self_attention_layer/value": "attention.self.value",
    "self_attention_layer/attention_output": "attention.output.dense",
    "self_attention_layer_norm": "attention.output.LayerNorm",
    "feedforward_intermediate_dense": "intermediate.dense",
    "feedforward_output_dense": "output.dense",
    "feedforward_layer_norm": "output.LayerNorm",
    # Where a file names no layers, the attributes that hold them.
    "self_attention_layer/query_dense": "attention.self.query",
    "self_attention_layer/key_dense": "attention.self.key",
    "self_attention_layer/value_dense": "attention.self.value",
    "self_attention_layer/output_dense": "attention.output.dense",
}


def is_preset(config: dict) -> bool:
    """Whether a config.json is one that keras_hub wrote."""
    return "registered_name" in config or "class_name" in config


def read_config(folder: Path) -> dict:
    """Backbone arguments from a preset's config.json.

    Raises:
        CheckpointError: it is missing or corrupt, or not a BERT's.
    """
    from kbert.checkpoints.configs import check_config

    path = member(folder, CONFIG)
    config = read_object(path)
    name = config.get("registered_name")
    if name != BACKBONE:
        raise CheckpointError(
            f"Expected a preset of {BACKBONE} in {path}. Received: "
            f"{short(name)}. kbert reads KerasHub's BERT only, and makes no "
            f"other class."
        )
    arguments = config.get("config")
    if not isinstance(arguments, dict):
        raise CheckpointError(f"Expected `config`, an object, in {path}.")
    known = {k: arguments[k] for k in _ARGUMENTS if k in arguments}
    _refuse_others(arguments, {*_ARGUMENTS, *_KERAS}, path)
    if missing := [k for k in _ARGUMENTS[:5] if k not in known]:
        raise CheckpointError(f"{path} lacks {', '.join(missing)}.")
    return check_config(known | _FIXED, path)


def read_tokenizer(folder: Path) -> dict | None:
    """Arguments of `kbert.Tokenizer`; None if the preset has no tokenizer.

    Raises:
        CheckpointError: it is corrupt, or asks for other ids than BERT's
            tokenizer makes.
    """
    if not has_member(folder, TOKENIZER):
        return None
    path = member(folder, TOKENIZER)
    facts = read_object(path)
    options = facts.get("config")
    name = facts.get("registered_name")
    if name != BERT_TOKENIZER or not isinstance(options, dict):
        raise CheckpointError(
            f"Expected a {BERT_TOKENIZER} in {path}. Received: {short(name)}."
        )
    _refuse_others(options, {*_TOKENIZER, *_KERAS, *_CASE}, path)
    for key, allowed in _TOKENIZER.items():
        if key in options and options[key] not in allowed:
            raise CheckpointError(
                f"Expected {key} {allowed[0]!r} in {path}. Received: "
                f"{short(options[key])}. kbert cuts text as BERT's own "
                f"tokenizer does."
            )
    case = {key: options.get(key, False) for key in _CASE}
    if not all(isinstance(value, bool) for value in case.values()):
        raise CheckpointError(
            f"Expected {' and '.join(_CASE)}, true or false, in {path}. "
            f"Received: {short(case)}."
        )
    return case


def _refuse_others(options: dict, known: set[str], path: Path) -> None:
    if unknown := options.keys() - known:
        raise CheckpointError(
            f"Expected the keys of KerasHub's BERT in {path}. Received also: "
            f"{listed(sorted(unknown))}, which kbert does not know."
        )


def open_weights(folder: Path) -> tuple[dict[str, Tensor], str]:
    """The tensors of a folder under `BertModel`'s names, and their file.

    Raises:
        CheckpointError: a file is missing or corrupt.
        UnsafeFileError: a file refers to others, or asks for too much.
    """
    config = read_config(folder)
    if has_member(folder, WEIGHTS):
        return _open([member(folder, WEIGHTS)], config), WEIGHTS
    table = read_object(member(folder, INDEX)).get("weight_map")
    names = []  # Of a file, or of all files that have parts of a layer.
    for value in table.values() if isinstance(table, dict) else ():
        names += value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) for name in names):
        raise CheckpointError(
            f"Expected a `weight_map` of weights to files in "
            f"{folder / INDEX}. Received: something else. Fetch it again."
        )
    return _open([member(folder, n) for n in sorted(set(names))], config), INDEX


def _open(paths: list[Path], config: dict) -> dict[str, Tensor]:
    from kbert.formats.hdf5 import open_arrays

    files = [open_arrays(path) for path in paths]
    # A file that continues a layer need not repeat its name.
    names = {k: v for file in files for k, v in file.names.items()}
    found = {}
    for file in files:
        for place, tensor in file.tensors.items():
            if known := _name(place, names):
                found[known] = _flat(known, tensor, config)
    return found


def _name(place: str, names: Mapping[str, str]) -> str | None:
    """Hugging Face's name of the array at a place such as

    /layers/transformer_encoder_1/_feedforward_layer_norm/vars/0
    """
    # Before Keras 3.5, the first part was _layer_checkpoint_dependencies.
    parts = place.split("/")
    *groups, number = (
        names.get("/".join(parts[:i]), parts[i - 1]).lstrip("_")
        for i in range(3, len(parts) + 1)
        if parts[i - 1] != "vars"
    )
    kind = {"0": "weight", "1": "bias"}.get(number)
    if not groups or kind is None:
        return None
    first, *rest = groups
    if first in _LAYERS:
        return f"{_LAYERS[first]}.{kind}"
    found = re.fullmatch(r"transformer_layer_(\d+)", first)
    part = _PARTS.get("/".join(rest))
    if found is None or part is None:
        return None
    return f"encoder.layer.{found[1]}.{part}.{kind}"


def _flat(known: str, tensor: Tensor, config: dict) -> Tensor:
    """Heads side by side, and kernels as Torch has them."""
    hidden = config["hidden_dim"]
    if "attention.self" in known or "attention.output.dense" in known:
        if known.endswith(".bias"):
            return tensor.reshape(hidden)
        return tensor.reshape(hidden, hidden).T
    return tensor.T if "dense.weight" in known else tensor


def fetch(name: str) -> Path:
    """The folder of a preset of keras_hub, fetched by it.

    Raises:
        UnknownNameError: keras_hub has no BERT of that name.
        DownloadError: it cannot be fetched.
    """
    from kbert.utils.tensorflow import import_tensorflow

    import_tensorflow()
    import kagglehub
    from keras_hub.models import BertBackbone

    presets = BertBackbone.presets
    if name not in presets:
        raise UnknownNameError("KerasHub preset of BERT", name, presets)
    handle = presets[name]["kaggle_handle"].removeprefix("kaggle://")
    try:
        return Path(kagglehub.model_download(handle))
    except Exception as error:  # It raises what its transport does.
        raise DownloadError(
            f"Expected to fetch the KerasHub preset {name!r} from {handle}. "
            f"Received: {type(error).__name__}: {error}. Fetch it where there "
            f"is a network, and give its folder."
        ) from error
