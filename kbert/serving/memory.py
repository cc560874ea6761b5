"""Memory of models that were unloaded, given back to the system."""

from __future__ import annotations

import ctypes
import gc


def give_back() -> None:
    """Free what only cycles keep, and have the allocator return its pages.

    A TensorFlow graph is full of cycles, which Python looks through in its
    own time, and glibc keeps freed pages for what may come. It takes tens of
    milliseconds where `kbert serve` has frozen what TensorFlow's import made.
    """
    gc.collect()
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # Not glibc.
        return
    trim(0)
