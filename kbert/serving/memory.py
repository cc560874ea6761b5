"""Memory of models and requests, given back to the system."""

from __future__ import annotations

import gc

from kbert.utils.glibc import trim


def give_back() -> None:
    """Free what only cycles keep, and have the allocator return its pages.

    A TensorFlow graph is full of cycles, which Python looks through in its
    own time. It takes tens of milliseconds where `kbert serve` has frozen
    what TensorFlow's import made.
    """
    gc.collect()
    trim()
