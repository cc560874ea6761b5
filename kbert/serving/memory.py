"""Memory of models and requests, given back to the system."""

from __future__ import annotations

import ctypes
import gc
import os

# glibc's malloc.h; the number of heaps that threads share.
M_ARENA_MAX = -8


def share_heaps() -> None:
    """Let glibc make a heap for each core, before there are threads.

    By default it makes eight times as many, and what a thread has freed in one
    is of no use to the others: hostile requests had a server grow by 40 MB a
    thousand.
    """
    _glibc("mallopt", M_ARENA_MAX, max(2, os.cpu_count() or 2))


def give_back() -> None:
    """Free what only cycles keep, and have the allocator return its pages.

    A TensorFlow graph is full of cycles, which Python looks through in its
    own time. It takes tens of milliseconds where `kbert serve` has frozen
    what TensorFlow's import made.
    """
    gc.collect()
    trim()


def trim() -> None:
    """Have glibc return freed pages, which it keeps for what may come."""
    _glibc("malloc_trim", 0)


def _glibc(name: str, *numbers: int) -> None:
    """Call a function of glibc's; with another C library do nothing."""
    try:
        function = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):
        return
    function(*numbers)
