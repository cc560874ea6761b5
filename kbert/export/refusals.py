"""What only a SavedModel can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kbert.errors import ExportError

if TYPE_CHECKING:
    from kbert.task import Task


def refuse_casing(task: Task) -> None:
    """Raise `ExportError` if the model is told how words are written.

    For forms whose users tokenize by themselves.
    """
    if task.tokenizer.casing:
        raise ExportError(
            "Expected a model that takes what any tokenizer gives. Received: "
            "casing=True, which only kbert's tells it. Export a SavedModel, "
            "or train without it."
        )
