"""Weights of rows: what `fit(sample_weight=)` takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from kbert.data.containers import as_list
from kbert.data.containers import single
from kbert.data.row_names import row_name
from kbert.errors import InputError
from kbert.errors import short
from kbert.utils.finite import is_number


def read_sample_weight(sample_weight: Any, rows: int) -> np.ndarray:
    """Weights of rows as float32 `(rows,)`.

    Raises:
        InputError: another number of them than of rows, one that is missing
            or no number of 0 or more, or all are 0; the message names the
            row.
    """
    values = as_list(sample_weight, "weights")
    if len(values) != rows:
        raise InputError(
            f"Expected one weight a text. Received: {rows} texts and "
            f"{len(values)} weights."
        )
    weights = np.empty(rows, "float32")
    for row, value in enumerate(single(values, "the weights")):
        if not isinstance(value, bool) and not is_number(value, least=0):
            raise InputError(
                f"Expected weights that are numbers of 0 or more. Received: "
                f"{short(value)} in {row_name(row)}. Remove the row, or "
                f"correct its weight."
            )
        weights[row] = value
    # As float32 has them: 1e-50 is 0.
    if not weights.any():
        raise InputError(
            f"Expected a weight above 0, or there is nothing to learn. "
            f"Received: 0 for each of {rows} texts."
        )
    return weights
