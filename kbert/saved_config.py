"""kbert.json, the configuration of a saved model, in every version so far.

A version of the form is never taken back: `UPGRADES` has a step from each to
the next, so that a model of any released kbert stays loadable.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import kbert
from kbert.checkpoints.configs import check_config
from kbert.errors import CheckpointError
from kbert.errors import UnsafeFileError
from kbert.untrusted import member
from kbert.untrusted import read_object
from kbert.untrusted import short

CONFIG = "kbert.json"

# Version of the form that is written.
FORMAT = 2

MAX_BYTES = 16 * 2**20

# A layer of so many labels on BERT-large has 1 GB.
MAX_LABELS = 2**18

_KINDS = {
    "kbert_version": str,
    "head": dict,
    "backbone": dict,
    "tokenizer": dict,
    "inputs": list,
    "max_length": int,
    "training": dict,
}
_HEAD_KINDS = {"name": str, "plugin": str, "version": str, "config": dict}


def _one_to_two(config: dict) -> dict:
    """kbert 0.1.0 had no size of embeddings other than H."""
    return config | {
        "backbone": {"embedding_dim": None} | config["backbone"],
    }


# Version -> what makes the next one of it.
UPGRADES: dict[int, Callable[[dict], dict]] = {1: _one_to_two}


def read_saved_config(folder: Path) -> dict[str, Any]:
    """What kbert.json holds, in today's form and checked.

    Raises:
        CheckpointError: it is missing, corrupt, or of a later kbert.
        UnsafeFileError: it leads out of the folder or asks for too much.
    """
    path = folder / CONFIG
    try:
        config = read_object(member(folder, CONFIG), MAX_BYTES)
    except UnsafeFileError:
        raise
    except CheckpointError as error:
        raise CheckpointError(
            f"Expected a folder that kbert saved. Received: {folder}, whose "
            f"{CONFIG} cannot be read: {error}"
        ) from error
    version = config.get("format")
    if type(version) is not int or not min(UPGRADES) <= version <= FORMAT:
        raise CheckpointError(
            f"Expected format {min(UPGRADES)} to {FORMAT} in {path}. "
            f"Received: {short(version)}. Install the kbert that saved it, or "
            f"a later one."
        )
    _check(config, path)
    for number in range(version, FORMAT):
        config = UPGRADES[number](config)
    backbone = check_config(config["backbone"], path)
    return config | {"format": FORMAT, "backbone": backbone}


def _check(config: dict, path: Path) -> None:
    wrong = [
        name
        for name, kind in _KINDS.items()
        if type(config.get(name)) is not kind
    ]
    if not wrong:
        head = config["head"]
        wrong = [
            f"head.{name}"
            for name, kind in _HEAD_KINDS.items()
            if type(head.get(name)) is not kind
        ]
        if not all(isinstance(name, str) for name in config["inputs"]):
            wrong.append("inputs")
    if wrong:
        raise CheckpointError(
            f"Expected a configuration as kbert {kbert.__version__} writes "
            f"it in {path}. Received: one where {', '.join(wrong)} is missing "
            f"or of another kind. Save the model again."
        )
    labels = config["head"]["config"].get("labels")
    if isinstance(labels, list) and len(labels) > MAX_LABELS:
        raise UnsafeFileError(
            f"Expected at most {MAX_LABELS:,} labels in {path}. Received: "
            f"{len(labels):,}. Do not use this model."
        )
