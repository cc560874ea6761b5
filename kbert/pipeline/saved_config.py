"""kbert.json, the configuration of a saved model, in every version so far.

A version of the form is never taken back: `UPGRADES` has a step from each to
the next, so that a model of any released kbert stays loadable.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kbert.checkpoints.configs import check_config
from kbert.errors import CheckpointError
from kbert.errors import UnsafeFileError
from kbert.errors import short
from kbert.utils.atomic import CONFIG as CONFIG
from kbert.utils.paths import as_path
from kbert.utils.untrusted import member
from kbert.utils.untrusted import read_object
from kbert.utils.version import __version__

# Version of the form that is written.
FORMAT = 2

MAX_BYTES = 16 * 2**20

# A layer of so many labels on BERT-large has 1 GB.
MAX_LABELS = 2**18

_KINDS = {
    "kbert_version": str,
    "backbone": dict,
    "tokenizer": dict,
}
# Of a task; where there are several, each has them under its name in `tasks`.
_TASK_KINDS = {
    "head": dict,
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
    folder = as_path(folder)
    path = folder / CONFIG
    if not os.path.lexists(path):
        raise CheckpointError(
            f"Expected a folder that kbert saved. Received: {folder}, "
            f"{'without' if folder.is_dir() else 'a folder without'} {CONFIG}."
        )
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
    wrong = _misfits(config, _KINDS)
    tasks = {"": config}
    if "tasks" in config:
        tasks = config["tasks"] if type(config["tasks"]) is dict else {}
        if not tasks or not all(type(t) is dict for t in tasks.values()):
            wrong.append("tasks")
            tasks = {}
        tasks = {f"tasks.{name}.": task for name, task in tasks.items()}
    for place, task in tasks.items():
        wrong += _misfits(task, _TASK_KINDS, place)
        head, inputs = task.get("head"), task.get("inputs")
        if type(head) is dict:
            wrong += _misfits(head, _HEAD_KINDS, f"{place}head.")
        if type(inputs) is list and not all(type(x) is str for x in inputs):
            wrong.append(f"{place}inputs")
    if wrong:
        raise CheckpointError(
            f"Expected a configuration as kbert {__version__} writes "
            f"it in {path}. Received: one where {', '.join(wrong)} is missing "
            f"or of another kind. Save the model again."
        )
    for task in tasks.values():
        labels = task["head"]["config"].get("labels")
        if isinstance(labels, list) and len(labels) > MAX_LABELS:
            raise UnsafeFileError(
                f"Expected at most {MAX_LABELS:,} labels in {path}. "
                f"Received: {len(labels):,}. Do not use this model."
            )


def _misfits(values: dict, kinds: dict, place: str = "") -> list[str]:
    return [
        f"{place}{name}"
        for name, kind in kinds.items()
        if type(values.get(name)) is not kind
    ]
