"""`load`: a saved model as what it was saved from."""

from __future__ import annotations

from pathlib import Path

from kbert.classifier import Classifier
from kbert.embedder import Embedder
from kbert.multitask import MultiTask
from kbert.pipeline.saved_folder import saved_front
from kbert.utils.checks import suggests


@suggests
def load(path: str | Path) -> Classifier | Embedder | MultiTask:
    """Load what `save` of a classifier, an embedder or several tasks saved.

    Nothing in the folder is run or unpickled.

    Returns:
        A `kbert.Classifier`, or what else the model's head belongs to.

    Raises:
        CheckpointError: the folder is missing, incomplete or corrupt.
        PluginError: the plugin of its head is not installed.

    Example:

    >>> clf.save("saved_models/spam")
    >>> kbert.load("saved_models/spam").predict(["Win a prize!"])
    ['spam']
    """
    doors = (Classifier, Embedder, MultiTask)
    named = {door.__name__: door for door in doors}
    return named[saved_front(path)].load(path)
