"""Which rows are set aside for validation.

scikit-learn's stratified splits refuse a label of one row, and more labels
than rows that are set aside; real data have both.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection
from collections.abc import Sequence

import numpy as np

from kbert.errors import InputError
from kbert.training.examples import Rows


def split(
    rows: Rows, strata: list | None, fraction: float, seed: int
) -> tuple[Rows, Rows | None]:
    """A part for training, and one for validation if there is to be one.

    Args:
        rows: all of them.
        strata: what the head's `strata` gave.
        fraction: part of the rows for validation.
        seed: which of them.
    """
    if not fraction:
        return rows, None
    aside = set_aside(strata or [()] * len(rows), fraction, seed)
    return rows.take(np.flatnonzero(~aside)), rows.take(np.flatnonzero(aside))


def set_aside(
    strata: Sequence[Collection], fraction: float, seed: int
) -> np.ndarray:
    """Rows to validate on, some of each label.

    Every label keeps a row to train on, so that one of a single row is not
    validated on. Of the others as many rows are taken as their share is, to
    less than one; where not all can have one, those come first that are
    nearest to it. A row of several labels counts as one of its rarest.

    Args:
        strata: the labels of each row, one, several or none.
        fraction: part of the rows to take, above 0 and below 1.
        seed: which of them.

    Returns:
        bool `(rows,)`.

    Raises:
        InputError: no row can be taken.

    Example:

    >>> int(set_aside([("a",)] * 4 + [("b",)] * 2 + [("c",)], 0.5, 0).sum())
    3
    """
    strata = [tuple(labels) or (None,) for labels in strata]
    order = np.random.default_rng(seed).permutation(len(strata))
    counts = Counter(label for labels in strata for label in labels)
    rarest = [
        min(labels, key=lambda label: (counts[label], str(label)))
        for labels in strata
    ]
    seen, free = set(), []
    for row in order:
        if seen.issuperset(strata[row]):
            free.append(row)
        seen.update(strata[row])
    wanted = _shares(
        Counter(rarest[row] for row in order),  # In an order of chance.
        Counter(rarest[row] for row in free),
        fraction,
    )
    aside = np.zeros(len(strata), bool)
    for row in free:
        if wanted[rarest[row]]:
            wanted[rarest[row]] -= 1
            aside[row] = True
    if not aside.any():
        raise InputError(
            f"Expected enough rows to set {fraction:.0%} aside for "
            f"validation, two or more of a label. Received: {len(strata)} "
            f"rows. Pass `validation_data`, or more rows."
        )
    return aside


def _shares(sizes: Counter, free: Counter, fraction: float) -> Counter:
    """How many rows to take of each stratum; no more than are free."""
    shares = {
        stratum: min(fraction * size, free[stratum])
        for stratum, size in sizes.items()
    }
    taken = Counter({s: int(share + 1e-9) for s, share in shares.items()})
    rest = {s: share - taken[s] for s, share in shares.items()}
    rest = {s: part for s, part in rest.items() if part > 1e-9}
    left = math.ceil(sum(shares.values()) - taken.total() - 1e-9)
    # Whoever has none yet, then whoever is nearest to another row.
    first = sorted(rest, key=lambda s: (taken[s] > 0, -rest[s]))
    taken.update(first[:left])
    return taken
