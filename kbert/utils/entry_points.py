"""Plugins as packages declare them, none of them imported."""

from __future__ import annotations

import importlib.metadata
import os

GROUP = "kbert"


def installed_plugins() -> list[importlib.metadata.EntryPoint]:
    """Those of this environment, or what `KBERT_LOAD_PLUGINS` names of them."""
    found = sorted(
        importlib.metadata.entry_points(group=GROUP), key=lambda e: e.name
    )
    wanted = os.environ.get("KBERT_LOAD_PLUGINS")
    if wanted is None:
        return found
    names = {name.strip() for name in wanted.split(",")}
    return [e for e in found if source_of(e)[0] in names]


def source_of(entry_point: importlib.metadata.EntryPoint) -> tuple[str, str]:
    """Name and version of what installed a plugin; some say neither."""
    dist = entry_point.dist
    return ("?", "0") if dist is None else (dist.name, dist.version)
