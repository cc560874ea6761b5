"""`load`: a saved model as what it was saved from."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from typing import TypeVar
from typing import overload

from kbert.classifier import Classifier
from kbert.embedder import Embedder
from kbert.errors import CheckpointError
from kbert.multitask import MultiTask
from kbert.pipeline.saved_folder import saved_model_class
from kbert.utils.checks import suggests

Door = TypeVar("Door", Classifier, Embedder, MultiTask)


@overload
def load(path: str | Path) -> Classifier: ...
@overload
def load(path: str | Path, kind: type[Door]) -> Door: ...
@suggests
def load(
    path: str | Path, kind: type | None = None
) -> Classifier | Embedder | MultiTask:
    """Load what `save` of a classifier, an embedder or several tasks saved.

    Nothing in the folder is run or unpickled.

    Args:
        path: the folder.
        kind: `kbert.Classifier`, `kbert.Embedder` or `kbert.MultiTask`, what
            it has to be; by default whatever it is. Editors take it for a
            classifier where nothing is said.

    Returns:
        A `kbert.Classifier`, or what else the model's head belongs to.

    Raises:
        CheckpointError: the folder is missing, incomplete or corrupt, or
            holds something of another kind.
        PluginError: the plugin of its head is not installed.

    Example:

    >>> clf.save("saved_models/spam")
    >>> kbert.load("saved_models/spam").predict(["Win a prize!"])
    ['spam']
    >>> embedder = kbert.load("saved_models/vectors", kbert.Embedder)
    """
    doors = (Classifier, Embedder, MultiTask)
    named = {door.__name__: door for door in doors}
    door: Any = named[saved_model_class(path)]
    if kind is not None and not issubclass(door, kind):
        raise CheckpointError(
            f"Expected a model of kbert.{kind.__name__} in {path}. Received: "
            f"one of kbert.{door.__name__}."
        )
    return door.load(path)
