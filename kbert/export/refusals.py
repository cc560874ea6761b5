"""What only a SavedModel can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kbert.errors import ExportError

if TYPE_CHECKING:
    from kbert.task import Task


def refuse_told(task: Task) -> None:
    """Raise `ExportError` if the model is told more of a text than its tokens.

    For forms whose users tokenize by themselves.
    """
    for option, told in (
        ("casing", task.tokenizer.casing),
        ("ngrams", task.head.ngrams),
    ):
        if told:
            raise ExportError(
                f"Expected a model that takes what any tokenizer gives. "
                f"Received: {option}={told!r}, which only kbert's tells it. "
                f"Export a SavedModel, or train without it."
            )
