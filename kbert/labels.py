"""Moved to `kbert.data.labels`; this name goes with the next release."""

from kbert.data.labels import *  # noqa: F403
