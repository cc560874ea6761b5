"""Moved to `kbert.data.files`; this name goes with the next release."""

from kbert.data.files import *  # noqa: F403
