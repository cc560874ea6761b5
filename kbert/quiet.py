"""Moved to `kbert.utils.tensorflow`; this name goes with the next release."""

from kbert.utils.tensorflow import import_tensorflow as import_tensorflow
