"""The folder of a saved task: its files, and how its configuration is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kbert.errors import CheckpointError
from kbert.errors import PluginError
from kbert.errors import UnknownNameError
from kbert.plugins import Registered
from kbert.plugins import get_plugins

CONFIG = "kbert.json"
WEIGHTS = "model.safetensors"
VOCABULARY = "vocab.txt"

# Version of the form of a saved folder.
FORMAT = 1


def check_target(path: Path) -> None:
    """Raise `CheckpointError` where saving would replace something else."""
    if path.exists() and not (path / CONFIG).is_file():
        if not path.is_dir() or any(path.iterdir()):
            raise CheckpointError(
                f"Expected a new folder, or one that kbert saved before. "
                f"Received: {path}, which holds something else."
            )


def find_head(head: dict, path: Path) -> Registered:
    """The head that a configuration names.

    Raises:
        PluginError: its plugin is not installed.
    """
    try:
        return get_plugins().heads.get(head["name"])
    except UnknownNameError as error:
        raise PluginError(
            f"{path} needs the head {head['name']!r} of the plugin "
            f"{head['plugin']} {head['version']}, which is not installed. "
            f"Install it: pip install '{head['plugin']}>={head['version']}'."
        ) from error


def read_config(path: Path) -> dict:
    """What `write_json` wrote of a task.

    Raises:
        CheckpointError: it is missing, or of another form.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"Expected a folder that kbert saved. Received: {path.parent}, "
            f"whose {path.name} cannot be read: {error}."
        ) from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        received = config.get("format") if isinstance(config, dict) else config
        raise CheckpointError(
            f"Expected format {FORMAT} in {path}. Received: {received!r}. "
            f"Install the kbert that saved it, or a later one."
        )
    return config


def write_json(value: Any, path: Path) -> None:
    """Write one JSON document, for people to read too."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
