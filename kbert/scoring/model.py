"""Moved to `kbert.exported.model`; this name goes with the next release."""

from kbert.exported.model import *  # noqa: F403
from kbert.exported.names import DEFAULT_SIGNATURE as SIGNATURE  # noqa: F401
