"""What the page shows of a model.

kbert.json lies in a version's folder, which anyone may have written: only what
is as kbert writes it comes to the page, which can then trust it.
"""

from __future__ import annotations

import json
import math
from itertools import islice
from pathlib import Path
from typing import Any

from kbert.errors import UnsafeFileError
from kbert.exported.names import CARD
from kbert.serving.core import Core
from kbert.serving.models import Version
from kbert.utils.untrusted import read_limited

# Bytes of a kbert.json, and tasks of it that are shown.
MAX_CARD = 1024 * 1024
MAX_TASKS = 1000


def _is_integer(value: Any) -> bool:
    return type(value) is int


def _is_number(value: Any) -> bool:
    return _is_integer(value) or (type(value) is float and math.isfinite(value))


# What the page shows of kbert.json: what a value is, `[...]` for a list of it.
_TASK = {
    "head": {
        "name": str,
        "plugin": str,
        "version": str,
        "config": {
            "labels": [object],
            "positive": object,
            "threshold": float,
            "thresholds": [float],
            "overlap": int,
        },
    },
    "inputs": [str],
    "max_length": int,
    "training": {
        "date": str,
        "rows": int,
        "validation": {"accuracy": float, "macro_f1": float},
        "validation_rows": int,
    },
}
_CARD = _TASK | {
    "kbert_version": str,
    "backbone": {"num_layers": int, "hidden_dim": int},
    "default": str,
}


def model_card(core: Core, name: str) -> dict[str, Any]:
    """What the page shows of a model, as JSON can hold it."""
    versions = core.models.versions(name)
    card: dict[str, Any] = {
        "name": name,
        "labels": core.models.configs[name].labels,
        "figures": core.metrics.summary(name),
        "versions": [_version(version) for version in versions],
    }
    served = next((v for v in versions if v.state == "AVAILABLE"), None)
    if served is not None:
        signatures = served.servable.signatures
        card["signatures"] = {
            key: {
                "inputs": sorted(signature.inputs),
                "outputs": sorted(signature.outputs),
            }
            for key, signature in signatures.items()
        }
        card["examples"] = served.servable.examples
        card["model"] = read_card(served.path / CARD)
    return card


def _version(version: Version) -> dict[str, Any]:
    return {
        "version": version.number,
        "state": version.state,
        "loaded": version.loaded,
        "error": version.failure and _text(str(version.failure)),
    }


def read_card(path: Path) -> dict[str, Any] | None:
    """kbert.json beside the graph; None for a SavedModel of others."""
    try:
        if not path.is_file():  # A pipe or a device may have no end.
            return None
        content = read_limited(path, MAX_CARD, "a model's card")
        card = json.loads(content.decode())
    except (OSError, ValueError, RecursionError, UnsafeFileError):
        return None
    return _tidy(card) if isinstance(card, dict) else None


def _tidy(card: dict) -> dict[str, Any]:
    tidy = _pick(card, _CARD)
    tasks = card.get("tasks")
    if isinstance(tasks, dict) and tasks:
        tidy["tasks"] = {
            _text(name): _pick(task, _TASK)
            for name, task in islice(tasks.items(), MAX_TASKS)
        }
        if tidy.get("default") not in tidy["tasks"]:
            tidy["default"] = next(iter(tidy["tasks"]))
    for task in (tidy, *tidy.get("tasks", {}).values()):
        config = task["head"]["config"]
        if len(config.get("thresholds", ())) != len(config.get("labels", ())):
            config.pop("thresholds", None)
    return tidy


def _pick(value: Any, form: Any) -> Any:
    """What of a value has the form; a dict always, else None."""
    if isinstance(form, dict):
        given = value if isinstance(value, dict) else {}
        picked = {
            key: _pick(given.get(key), each) for key, each in form.items()
        }
        return {key: x for key, x in picked.items() if x is not None}
    if isinstance(form, list):
        if not isinstance(value, list):
            return None
        items = [_pick(item, form[0]) for item in value]
        return None if any(item is None for item in items) else items
    if form is int:
        return value if _is_integer(value) else None
    if form is float:
        return value if _is_number(value) else None
    # A label may be a number; the graph answers its name.
    if isinstance(value, str) or (form is object and _is_label(value)):
        return _text(str(value))
    return None


def _is_label(value: Any) -> bool:
    return isinstance(value, bool) or _is_number(value)


def _text(value: str) -> str:
    """Half a surrogate pair, which cannot be sent, is replaced."""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
