"""What only a SavedModel can hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from kbert.errors import ExportError
from kbert.utils.finite import weights_not_finite

if TYPE_CHECKING:
    import keras

    from kbert.pipeline.text_model import TextModel


def check_plain_tokens(task: TextModel) -> None:
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


def check_finite_weights(weights: Iterable[keras.Variable]) -> None:
    """Raise `ExportError` for weights whose answers are NaN."""
    if names := weights_not_finite(weights):
        raise ExportError(
            f"Expected finite weights to export. Received: NaN or infinity "
            f"in {names}. Train anew, with a lower learning_rate or in "
            f"float32."
        )
