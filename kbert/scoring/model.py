"""Moved to `kbert.exported.model`; this name goes with the next release."""

from kbert.exported.model import *  # noqa: F403
