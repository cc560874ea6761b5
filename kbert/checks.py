"""Arguments that many functions take, checked in one place."""

from __future__ import annotations

import operator
from typing import Any

from kbert.errors import ConfigError


def check_integer(
    name: str, value: Any, least: int, most: int | None = None
) -> int:
    """An integer argument as `int`; NumPy's integers are taken too.

    Raises:
        ConfigError: it is none, or out of range. True and False are none.

    Example:

    >>> check_integer("version", np.int64(3), least=0)
    3
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < least or most is not None and number > most:
        upper = "or more" if most is None else f"to {most}"
        raise ConfigError(
            f"`{name}` must be an integer of {least} {upper}. Received: "
            f"{name}={value!r}"
        )
    return number
