"""Moved to `kbert.utils.tensorflow`; this name goes with the next release."""

from kbert.utils.registration import later as later
from kbert.utils.tensorflow import LEVEL as LEVEL
from kbert.utils.tensorflow import import_tensorflow as import_tensorflow
from kbert.utils.tensorflow import left_out as left_out
