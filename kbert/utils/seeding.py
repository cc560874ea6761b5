"""Random numbers of a model's own, out of generators that all share."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from kbert.utils.checks import check_seed

_shared = threading.RLock()


class Draws:
    """What Python's and NumPy's global generators give to one model.

    Keras draws the seeds of initializers and of dropout from Python's. Within
    `own` they come from where this model left off, whatever was drawn since;
    models of other threads wait, and behind it the generators are as they
    were. Only who draws from them in another thread at this very moment, and
    is no model, is in the way.

    Args:
        seed: int; None for the generators as they are.

    Raises:
        ConfigError: the seed is no integer that generators take.

    Example:

    >>> draws = Draws(seed=0)
    >>> with draws.own():
    ...     layer = keras.layers.Dropout(0.1)
    """

    def __init__(self, seed: int | None):
        self.seed = None if seed is None else check_seed("seed", seed)
        self.state: tuple[Any, dict] | None = None

    @contextlib.contextmanager
    def own(self) -> Iterator[None]:
        """Only one model at a time is in here, of those that have a seed."""
        if self.seed is None:
            yield
            return
        with _shared:
            outside = _get()
            if self.state is None:
                random.seed(self.seed)
                np.random.seed(self.seed)
            else:
                _set(self.state)
            try:
                yield
            finally:
                self.state = _get()
                _set(outside)


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Behind it the generators are as they were, whatever it drew."""
    with _shared:
        outside = _get()
        try:
            yield
        finally:
            _set(outside)


def _get() -> tuple[Any, dict]:
    return random.getstate(), np.random.get_state(legacy=False)


def _set(state: tuple[Any, dict]) -> None:
    random.setstate(state[0])
    np.random.set_state(state[1])
