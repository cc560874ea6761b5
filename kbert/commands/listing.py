"""`kbert heads`, `kbert presets` and `kbert version`."""

from __future__ import annotations

import importlib.metadata
import inspect
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from kbert.commands import common
from kbert.utils.version import __version__

if TYPE_CHECKING:
    from kbert.checkpoints.presets import Preset


def heads(as_json: common.AsJson = False) -> None:
    """List the task heads and the plugins they come from.

    [bold]Examples[/bold]

      kbert heads
      kbert heads --json
    """
    found = [
        {
            "name": name,
            "plugin": entry.plugin,
            "version": entry.version,
            "description": _first_line(entry.value),
        }
        for name, entry in _plugins().heads.items()
    ]
    _show(found, as_json)


def presets(as_json: common.AsJson = False) -> None:
    """List the pretrained checkpoints, and where their weights are.

    Weights are bundled with kbert, or fetched already, or still to fetch,
    which happens at first use.

    [bold]Examples[/bold]

      kbert presets
      kbert train reviews.tsv -o saved_models/reviews --preset NAME
    """
    found = [
        {
            "name": name,
            "parameters": entry.value.parameters,
            "languages": list(entry.value.languages),
            "description": entry.value.description,
            "weights": _where(entry.value),
        }
        for name, entry in _plugins().presets.items()
    ]
    _show(found, as_json)


def version(as_json: common.AsJson = False) -> None:
    """Show the versions of kbert and of what it runs on.

    [bold]Examples[/bold]

      kbert version --json
    """
    names = ("keras", "tensorflow", "tensorflow-text")
    found = {"kbert": __version__, "python": platform.python_version()}
    found |= {name: importlib.metadata.version(name) for name in names}
    if as_json:
        common.print_json(found)
        return
    for name, value in found.items():
        print(f"{name} {value}")


def _plugins():
    common.start()
    from kbert.plugins import get_plugins

    return get_plugins()


def _first_line(value: type) -> str:
    return (inspect.getdoc(value) or "").partition("\n")[0]


def _where(preset: Preset) -> str:
    """Whether the weights are on this machine: none of it asks a network."""
    from kbert.checkpoints.mirrors import BundledMirror

    for mirror in preset.mirrors:
        if isinstance(mirror, BundledMirror) and mirror.holds(preset.files):
            return "bundled"
    home = os.environ.get("KBERT_HOME") or "~/.cache/kbert"
    folder = Path(home).expanduser() / "presets" / preset.name
    here = all((folder / name).is_file() for name in preset.files)
    return "fetched" if here else "to fetch"


def _show(rows: list[dict], as_json: bool) -> None:
    if as_json:
        common.print_json(rows)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in rows[0] if rows else ():
        right = isinstance(rows[0][name], int)
        table.add_column(
            name,
            justify="right" if right else "left",
            overflow="fold",
            no_wrap=name == "name",
        )
    for row in rows:
        table.add_row(*map(_cell, row.values()))
    Console(highlight=False).print(table)


def _cell(value) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    return f"{value:,}" if isinstance(value, int) else str(value)
