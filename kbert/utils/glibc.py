"""Settings of glibc's allocator; with another C library they do nothing."""

from __future__ import annotations

import ctypes
import os

# malloc.h; how large a block is mapped alone, how much freed memory at the
# end of the heap is kept, the number of heaps that threads share.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
M_ARENA_MAX = -8

MIB = 1 << 20


def keep_freed() -> None:
    """Keep what is freed for what is needed next, as glibc does by itself.

    TensorFlow's generator datasets have blocks over 128 KB mapped and given
    back one by one under Python 3.11: oneDNN asks for some in each product,
    and the system clears 25 MB of pages a training step.
    """
    # Where glibc's own growing thresholds end.
    _call("mallopt", M_MMAP_THRESHOLD, 32 * MIB)
    _call("mallopt", M_TRIM_THRESHOLD, 64 * MIB)


def share_heaps() -> None:
    """Let glibc make a heap for each core, before there are threads.

    By default it makes eight times as many, and what a thread has freed in one
    is of no use to the others: hostile requests had a server grow by 40 MB a
    thousand.
    """
    _call("mallopt", M_ARENA_MAX, max(2, os.cpu_count() or 2))


def trim() -> None:
    """Have glibc return freed pages, which it keeps for what may come."""
    _call("malloc_trim", 0)


def _call(name: str, *numbers: int) -> None:
    try:
        function = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):
        return
    function(*numbers)
