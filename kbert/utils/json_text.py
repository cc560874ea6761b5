"""JSON as the standard has it: without NaN and infinities."""

from __future__ import annotations

import json
import math
from typing import Any


def dumps(value: Any, **options: Any) -> str:
    """`json.dumps`, with null for numbers that JSON cannot hold.

    Example:

    >>> dumps({"f1": 0.5, "kappa": float("nan")})
    '{"f1": 0.5, "kappa": null}'
    """
    try:
        return json.dumps(value, allow_nan=False, **options)
    except ValueError:
        return json.dumps(_held(value), allow_nan=False, **options)


def _held(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _held(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_held(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
