"""The folder of a saved task: its files, and the head that it needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kbert.errors import CheckpointError
from kbert.errors import PluginError
from kbert.errors import UnknownNameError
from kbert.plugins import Registered
from kbert.plugins import get_plugins
from kbert.saved_config import CONFIG
from kbert.saved_config import read_saved_config

VOCABULARY = "vocab.txt"


def check_target(path: Path) -> None:
    """Raise `CheckpointError` where saving would replace something else."""
    if path.exists() and not (path / CONFIG).is_file():
        if not path.is_dir() or any(path.iterdir()):
            raise CheckpointError(
                f"Expected a new folder, or one that kbert saved before. "
                f"Received: {path}, which holds something else."
            )


def find_head(head: dict, path: Path) -> Registered:
    """What the registry says of the head in a configuration.

    Raises:
        PluginError: the head's plugin is not installed.
    """
    try:
        return get_plugins().heads.get(head["name"])
    except UnknownNameError as error:
        raise PluginError(
            f"{path} needs the head {head['name']!r} of the plugin "
            f"{head['plugin']} {head['version']}, which is not installed. "
            f"Install it: pip install '{head['plugin']}>={head['version']}'."
        ) from error


def saved_head(path: str | Path) -> Registered:
    """What the registry says of the head of a saved model.

    Raises:
        CheckpointError: the folder is missing or none that kbert saved.
        PluginError: the head's plugin is not installed.
    """
    path = Path(path)
    return find_head(read_saved_config(path)["head"], path)


def write_json(value: Any, path: Path) -> None:
    """Write a JSON file that people can read."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
