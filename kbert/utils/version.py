"""The version of kbert, and what it is installed as."""

# PyPI's `kbert` is another project.
DISTRIBUTION = "kbert-keras"
__version__ = "0.1.0"
