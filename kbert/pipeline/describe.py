"""What a checkpoint or a saved model is, without its weights in memory."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from kbert.checkpoints.loading import open_checkpoint
from kbert.errors import CheckpointError
from kbert.formats.tensors import BACKBONE
from kbert.formats.tensors import check_backbone
from kbert.pipeline.saved_config import CONFIG
from kbert.pipeline.saved_config import read_saved_config
from kbert.utils.atomic import file_digest
from kbert.utils.untrusted import member

# Files of a folder that are told of; a folder may hold anything.
MAX_FILES = 200


def describe(path: str | os.PathLike) -> dict[str, Any]:
    """Facts about a model, as JSON can hold them.

    Only the names and shapes of the weights are read, and every file for its
    SHA-256.

    Args:
        path: a folder that `Classifier.save` wrote, or what
            `Classifier(preset=...)` takes.

    Returns:
        A dict: `form`; `architecture`, the backbone's arguments;
        `parameters` of backbone and heads; `vocabulary`; for a saved model
        `head` with its plugin, and `training`, or these for each task;
        `files` with size and SHA-256.

    Raises:
        CheckpointError: the files are missing, corrupt, or do not fit each
            other.
    """
    checkpoint = open_checkpoint(path)
    tensors = checkpoint.tensors()
    if checkpoint.folder is not None:
        check_backbone(checkpoint.config, tensors, checkpoint.folder)
    found = {
        "path": str(checkpoint.folder or path),
        "form": checkpoint.form,
        "architecture": checkpoint.config,
        "parameters": _parameters(tensors),
        "vocabulary": {
            "tokens": len(checkpoint.vocabulary),
            **checkpoint.text.said(),
        },
    }
    if dtypes := sorted({t.dtype for t in tensors.values()}):
        found["dtypes"] = dtypes
    if checkpoint.head_options:
        found["head options"] = dict(checkpoint.head_options)
    if checkpoint.folder is not None:
        if (checkpoint.folder / CONFIG).is_file():
            found |= _saved(checkpoint.folder)
        found["files"] = _files(checkpoint.folder)
    return found


def _parameters(tensors) -> dict[str, int]:
    counts = {"backbone": 0, "heads": 0}
    for name, tensor in tensors.items():
        place = "backbone" if name.startswith(BACKBONE) else "heads"
        counts[place] += math.prod(tensor.shape)
    return counts


def _saved(folder: Path) -> dict[str, Any]:
    config = read_saved_config(folder)
    found = {"form": "kbert", "kbert": config["kbert_version"]}
    if "tasks" not in config:
        return found | _task(config)
    return found | {f"task {n}": _task(t) for n, t in config["tasks"].items()}


def _task(config: dict) -> dict[str, Any]:
    head = config["head"]
    return {
        "head": {
            "name": head["name"],
            "plugin": f"{head['plugin']} {head['version']}",
            **head["config"],
        },
        "inputs": config["inputs"],
        "max_length": config["max_length"],
        "training": config["training"],
    }


def _files(folder: Path) -> dict[str, str]:
    found = {}
    for name in sorted(os.listdir(folder))[:MAX_FILES]:
        try:
            path = member(folder, name)
        except CheckpointError:
            continue  # A folder, or a link that leads out.
        size, digest = path.stat().st_size, file_digest(path)
        found[name] = f"{size:,} bytes, sha256 {digest}"
    return found
