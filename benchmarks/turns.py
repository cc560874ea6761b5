"""Times of several things, taken in turn: a noisy machine is so to all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def interleaved(rounds: int, *runs: Callable) -> list[float]:
    """Median seconds of each, one after the other in every round."""
    seconds = [[] for _ in runs]
    for run in runs:
        run()  # Traces, and fills caches.
    for _ in range(rounds):
        for run, times in zip(runs, seconds, strict=True):
            started = time.perf_counter()
            run()
            times.append(time.perf_counter() - started)
    return [statistics.median(times) for times in seconds]
