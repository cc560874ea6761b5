"""Moved to `kbert.data.sentences`; this name goes with the next release."""

from kbert.data.sentences import *  # noqa: F403
