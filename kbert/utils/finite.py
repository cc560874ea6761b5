"""Numbers that are none: NaN, infinities, and what float32 cannot hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from kbert.errors import listed

if TYPE_CHECKING:
    import keras

# The greatest number of float32, in which models compute.
LARGEST = float(np.finfo("float32").max)

# Once a weight is NaN, they all are soon.
MOST_NAMED = 5


def is_number(value: Any, least: float = -LARGEST) -> bool:
    """Whether a value is one finite number that float32 holds.

    Example:

    >>> is_number(0.5), is_number(float("nan")), is_number("1"), is_number(1e39)
    (True, False, False, False)
    """
    if isinstance(value, bool | np.bool_):
        return False
    if isinstance(value, np.floating):
        value = float(value)  # A long double's `item` is one again.
    elif isinstance(value, np.integer):
        value = value.item()
    # NaN is neither less nor more.
    return isinstance(value, int | float) and least <= value <= LARGEST


def not_finite(arrays: Iterable[tuple[str, np.ndarray]]) -> str:
    """Names of the arrays that hold NaN or an infinity, for a message.

    Args:
        arrays: names and arrays of any dtype.

    Returns:
        An empty string if there are none.
    """
    found = [
        name
        for name, array in arrays
        if _is_float(array) and not np.isfinite(array).all()
    ]
    return listed(found, MOST_NAMED) if found else ""


def _is_float(array: np.ndarray) -> bool:
    return array.dtype.kind == "f" or array.dtype.name == "bfloat16"


def weights_not_finite(weights: Iterable[keras.Variable]) -> str:
    """The same of Keras variables, by their paths."""
    return not_finite((weight.path, np.asarray(weight)) for weight in weights)
