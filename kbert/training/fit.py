"""Fine-tuning: from texts and labels to `model.fit`."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import keras

from kbert.data.batching import LengthBatches
from kbert.data.packing import PackedBatches
from kbert.errors import ConfigError
from kbert.models.layout import choose_layout
from kbert.models.precision import check_trained
from kbert.pipeline.text_model import TextModel
from kbert.training.calibrate import calibrate
from kbert.training.examples import Examples
from kbert.training.loop import train
from kbert.training.r_drop import RDrop
from kbert.training.rows import labelled_rows
from kbert.training.settings import Settings
from kbert.training.settings import checked


def fit(
    task: TextModel,
    x: Any,
    y: Any,
    settings: Settings,
    *,
    validation_data: Any = None,
    validation_split: float = 0.0,
    class_weight: dict | str | None = None,
    sample_weight: Any = None,
) -> keras.callbacks.History:
    """Fine-tune a task; see `kbert.Classifier.fit`, which documents it."""
    check_trained(task.backbone)
    split = checked("validation_split", validation_split)
    r_drop = settings.r_drop
    if settings.layout == "packed" and r_drop:
        raise ConfigError(
            "`r_drop` takes each row twice, and cannot take packed rows. "
            "Received: layout='packed'. Leave one of the two out."
        )
    layout = choose_layout(settings.layout, packed=not r_drop)
    settings = replace(settings, layout=layout)
    validates = validation_data is not None or bool(split)
    settings.check(validates or task.head.needs_validation)
    started = time.perf_counter()
    rows, held_out = labelled_rows(
        task,
        (x, y),
        validation_data,
        split,
        class_weight,
        sample_weight,
        settings.seed,
    )
    unseen = None
    if task.ngrams is not None:
        unseen = task.ngrams.fit(rows.columns, rows.targets, rows.sample_weight)
    examples = Examples.of(task, rows, unseen)
    validation = None if held_out is None else Examples.of(task, held_out)
    make_batches = PackedBatches if layout == "packed" else LengthBatches
    history = train(
        task.model,
        settings,
        make_batches(
            examples.table,
            examples.targets,
            examples.sample_weight,
            settings.batch_size,
            seed=settings.seed,
        ),
        None
        if validation is None
        else make_batches(
            validation.table,
            validation.targets,
            batch_size=settings.batch_size,
            shuffle=False,
        ),
        form=RDrop(task, r_drop, layout) if r_drop else task.laid_out(layout),
        tokens=len(examples.table.token_ids),
        decided=lambda: {
            "data": examples.digest(),
            "validation": None if validation is None else validation.digest(),
            **task.identity(),
        },
        monitor=task.head.monitor,
        used_rows=examples.table.ids(),
        loss=task.head.loss(),
        metrics=task.head.metrics(),
    )
    facts = {"epochs": len(history.epoch)}
    if held_out is not None:
        facts |= calibrate(task, held_out)
    task.note_training(len(rows), time.perf_counter() - started, **facts)
    return history
