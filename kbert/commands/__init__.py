"""The commands of `kbert`, a function each; see `kbert.cli`.

They import Keras and TensorFlow only when they run, so that `kbert --help`
is there at once.
"""
