"""The version of kbert."""

__version__ = "0.1.0"
