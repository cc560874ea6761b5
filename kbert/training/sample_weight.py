"""Weights of rows: what `fit(sample_weight=)` takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from kbert.errors import InputError
from kbert.errors import short
from kbert.finite import is_number
from kbert.row_names import row_name


def read_sample_weight(sample_weight: Any, rows: int) -> np.ndarray:
    """Weights of rows as float32 `(rows,)`.

    Raises:
        InputError: another number of them than of rows, one that is missing
            or no number of 0 or more, or all are 0; the message names the
            row.
    """
    if hasattr(sample_weight, "numpy"):
        sample_weight = sample_weight.numpy()
    values = np.asarray(sample_weight)
    if values.shape != (rows,):
        raise InputError(
            f"Expected one weight a text, shape ({rows},). Received: shape "
            f"{values.shape}."
        )
    if values.dtype.kind == "b":
        values = values.astype("float32")
    for row, value in enumerate(values.tolist()):
        if not is_number(value, least=0):
            raise InputError(
                f"Expected weights that are numbers of 0 or more. Received: "
                f"{short(value)} in {row_name(row)}. Remove the row, or "
                f"correct its weight."
            )
    if not values.any():
        raise InputError(
            f"Expected a weight above 0, or there is nothing to learn. "
            f"Received: 0 for each of {rows} texts."
        )
    return values.astype("float32")
