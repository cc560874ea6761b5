"""Moved to `kbert.utils.checks`; this name goes with the next release."""

from kbert.utils.checks import *  # noqa: F403
