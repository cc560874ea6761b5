"""How a checkpoint makes sentence embeddings, in sentence-transformers' form.

modules.json                  the steps: Transformer, Pooling, Normalize
1_Pooling/config.json         how tokens become one vector
sentence_bert_config.json     how many tokens a text is truncated to
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from pathlib import PurePosixPath
from typing import Any

from kbert.errors import CheckpointError
from kbert.untrusted import member
from kbert.untrusted import read_json

POOLINGS = ("mean", "cls")

MODULES = "modules.json"
POOLING = "1_Pooling"
NORMALIZE = "2_Normalize"
TRANSFORMER = "sentence_bert_config.json"

# Before version 6 of sentence-transformers each way had a flag of its own.
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


@dataclass(frozen=True)
class SentenceConfig:
    """How a checkpoint makes a vector of a text.

    The defaults are sentence-transformers' own for a checkpoint that says
    nothing.

    Attributes:
        pooling: `"mean"` of the tokens or `"cls"`, the first one.
        normalize: whether the vector is scaled to length 1.
        max_length: tokens a text is truncated to, special ones included;
            None for as many as the backbone has positions.
    """

    pooling: str = "mean"
    normalize: bool = False
    max_length: int | None = None


def read_sentence_config(
    folder: Path | None, pooling: str | None = None
) -> SentenceConfig:
    """What the files in a checkpoint's folder say.

    Args:
        folder: of the checkpoint; None for one that has none.
        pooling: overrules what the files say, if not None.

    Raises:
        CheckpointError: a file is no JSON, or asks for a step or a pooling
            that kbert does not have.
    """
    if folder is None or not (folder / MODULES).is_file():
        return SentenceConfig(pooling or "mean")
    normalize = False
    for number, module in enumerate(_read(folder, MODULES, list)):
        try:
            kind = module["type"].rpartition(".")[2]
            name = str(PurePosixPath(module["path"], "config.json"))
        except (KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"Expected modules with a type and a path in "
                f"{folder / MODULES}. Received: {module!r}."
            ) from error
        if kind == "Pooling":
            pooling = pooling or _pooling(folder, name)
        elif kind == "Normalize":
            normalize = True
        elif kind != "Transformer" or number:
            raise CheckpointError(
                f"Expected the modules Transformer, Pooling and Normalize in "
                f"{folder / MODULES}. Received: {kind}. kbert cannot compute "
                f"this checkpoint's embeddings."
            )
    return SentenceConfig(pooling or "mean", normalize, _max_length(folder))


def _pooling(folder: Path, name: str) -> str:
    config = _read(folder, name, dict)
    modes = config.get("pooling_mode") or [
        mode for flag, mode in _FLAGS.items() if config.get(flag)
    ]
    modes = [modes] if isinstance(modes, str) else modes or ["mean"]
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise CheckpointError(
            f"Expected the pooling 'mean' or 'cls' in {name}. Received: "
            f"{', '.join(map(repr, modes))}. Give `pooling` to overrule it."
        )
    return modes[0]


def _max_length(folder: Path) -> int | None:
    """As `max_seq_length` says; newer files leave it to the tokenizer."""
    for name, key in (
        (TRANSFORMER, "max_seq_length"),
        ("tokenizer_config.json", "model_max_length"),
    ):
        if (folder / name).is_file():
            value = _read(folder, name, dict).get(key)
            if isinstance(value, int) and value >= 3:
                return value
    return None


def write_sentence_config(
    config: SentenceConfig, hidden_dim: int, folder: Path
) -> None:
    """Write the files that sentence-transformers opens the folder by."""
    path = "sentence_transformers.models"
    modules = [("Transformer", ""), ("Pooling", POOLING)]
    if config.normalize:
        modules.append(("Normalize", NORMALIZE))
    _write(
        [
            {"idx": i, "name": str(i), "path": at, "type": f"{path}.{name}"}
            for i, (name, at) in enumerate(modules)
        ],
        folder / MODULES,
    )
    _write(
        {"max_seq_length": config.max_length, "do_lower_case": False},
        folder / TRANSFORMER,
    )
    (folder / POOLING).mkdir()
    _write(
        {
            "word_embedding_dimension": hidden_dim,
            "pooling_mode_cls_token": config.pooling == "cls",
            "pooling_mode_mean_tokens": config.pooling == "mean",
        },
        folder / POOLING / "config.json",
    )


def _read(folder: Path, name: str, kind: type) -> Any:
    # The folder may be anyone's, and so may the names in it.
    path = member(folder, name)
    value = read_json(path)
    if not isinstance(value, kind):
        raise CheckpointError(
            f"Expected a JSON {kind.__name__} in {path}. Received: "
            f"{type(value).__name__}."
        )
    return value


def _write(value: Any, path: Path) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
