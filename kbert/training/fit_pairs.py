"""Training of an embedder: rows of texts, losses on their vectors.

Shapes: B rows of a batch, C texts in a row, H size of a vector. The model's
output is `(C * B, H)`, as `kbert.training.pairs.RowTable` lays texts out.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Any

import keras
import numpy as np

from kbert.data.batching import LengthBatches
from kbert.data.batching import TokenTable
from kbert.data.row_names import rows_of
from kbert.errors import InputError
from kbert.models.layout import choose_layout
from kbert.models.precision import check_trained
from kbert.training.examples import Examples
from kbert.training.loop import train
from kbert.training.pairs import RowTable
from kbert.training.pairs import read_columns
from kbert.training.pairs import read_scores
from kbert.training.reading import no_weights
from kbert.training.reading import unpack
from kbert.training.settings import Settings
from kbert.training.settings import checked
from kbert.training.vector_losses import ContrastiveLoss
from kbert.training.vector_losses import CosineLoss
from kbert.utils.checks import check_choice

if TYPE_CHECKING:
    from kbert.pipeline.text_model import TextModel

LOSSES = ("contrastive", "cosine")


def fit_pairs(
    embedder: TextModel,
    x: Any,
    y: Any,
    settings: Settings,
    *,
    loss: str | None = None,
    scale: float = 20.0,
    validation_data: tuple | None = None,
) -> keras.callbacks.History:
    """Train an embedder; see `kbert.Embedder.fit`, which documents it."""
    check_trained(embedder.backbone)
    scale = checked("scale", scale)
    if loss is None:
        loss = "contrastive" if y is None else "cosine"
    check_choice("loss", loss, LOSSES)
    settings = replace(settings, layout=choose_layout(settings.layout))
    settings.check(validation_data is not None)
    batch_size = settings.batch_size
    started = time.perf_counter()
    table, targets = tokenized_pairs(embedder, x, y, loss)
    if loss == "contrastive" and min(len(table), batch_size) < 2:
        raise InputError(
            f"Expected at least two rows in a batch: each is told from the "
            f"others. Received: {len(table)} rows, batch_size={batch_size}."
        )
    validation = held_out = None
    if validation_data is not None:
        x, y, weight = unpack(validation_data, "`validation_data`")
        if weight is not None:
            raise no_weights("validation")
        with rows_of(x, "validation_data"):
            held_out = tokenized_pairs(embedder, x, y, loss=loss)
        validation = LengthBatches(
            *held_out, batch_size=batch_size, shuffle=False
        )
    history = train(
        embedder.model,
        settings,
        LengthBatches(
            table, targets, batch_size=batch_size, seed=settings.seed
        ),
        validation,
        form=embedder.laid_out(settings.layout),
        tokens=len(table.table.token_ids),
        decided=lambda: {
            "data": _digest(table, targets),
            "validation": held_out and _digest(*held_out),
            "loss": loss,
            "scale": scale,
            **embedder.identity(),
        },
        monitor=("val_loss", "min"),
        eager_steps=0,
        used_rows=table.table.ids(),
        loss=CosineLoss() if loss == "cosine" else ContrastiveLoss(scale),
    )
    facts = {"epochs": len(history.epoch), "loss": loss}
    if validation is not None:
        facts["validation_loss"] = min(history.history["val_loss"])
    embedder.note_training(len(table), time.perf_counter() - started, **facts)
    return history


def _digest(table: RowTable, targets: np.ndarray) -> str:
    return Examples(table.table, targets).digest()


def tokenized_pairs(
    embedder: TextModel, x: Any, y: Any = None, loss: str = "contrastive"
) -> tuple[RowTable, np.ndarray]:
    """Tokenized rows and what the loss takes as their targets.

    Raises:
        InputError: texts or similarities are not as expected.
    """
    if loss == "contrastive":
        if y is not None:
            raise InputError(
                "The loss 'contrastive' takes rows that belong together and "
                "no similarities. Leave out y, or use loss='cosine'."
            )
        columns = read_columns(x)
        numbers: dict = {}
        targets = np.array(
            [
                [numbers.setdefault(text, len(numbers)) for text in column]
                for column in columns
            ],
            "float32",  # Keras casts targets to it; exact to 16.7 million.
        ).T  # (rows, C)
    else:
        if y is None:
            raise InputError(
                "Expected a similarity for each pair with loss='cosine'. "
                "Received: y=None."
            )
        columns = read_columns(x, most=2)
        targets = read_scores(y, len(columns[0]), (-1.0, 1.0))
    tables = [embedder.tokenize([column]) for column in columns]
    return RowTable(TokenTable.concatenate(tables), len(columns)), targets
