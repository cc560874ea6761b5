"""Fine-tuning: from texts and labels to `model.fit`."""

from __future__ import annotations

import os
import time
from typing import Any

import keras

from kbert.data.batching import LengthBatches
from kbert.data.packing import PackedBatches
from kbert.errors import ConfigError
from kbert.models.layout import choose_layout
from kbert.models.precision import check_trained
from kbert.pipeline.text_model import TextModel
from kbert.training.calibrate import calibrate
from kbert.training.callbacks import refuse
from kbert.training.examples import Examples
from kbert.training.loop import compile_for
from kbert.training.loop import run as run_epochs
from kbert.training.options import checked
from kbert.training.r_drop import RDrop
from kbert.training.resume import BestWeights
from kbert.training.resume import RunFolder
from kbert.training.resume import SaveState
from kbert.training.resume import restore
from kbert.training.rows import read_rows
from kbert.training.used_rows import widen
from kbert.utils.scratch import check_room


@checked("`fit`", "method")
def fit(
    task: TextModel,
    x: Any,
    y: Any = None,
    *,
    validation_data: Any = None,
    validation_split: float = 0.0,
    epochs: int = 3,
    batch_size: int = 32,
    learning_rate: float = 5e-5,
    warmup: float = 0.1,
    weight_decay: float = 0.01,
    layer_decay: float = 1.0,
    r_drop: float = 0.0,
    class_weight: dict | str | None = None,
    sample_weight: Any = None,
    early_stopping: int | None = None,
    callbacks: list | None = None,
    layout: str = "auto",
    verbose: str | int = "auto",
    run_dir: str | os.PathLike | None = None,
    seed: int = 0,
) -> keras.callbacks.History:
    """Fine-tune a task; see `kbert.Classifier.fit`, which documents it."""
    check_trained(task.backbone)
    if layout == "packed" and r_drop:
        raise ConfigError(
            "`r_drop` takes each row twice, and cannot take packed rows. "
            "Received: layout='packed'. Leave one of the two out."
        )
    layout = choose_layout(layout, packed=not r_drop)
    callbacks = list(callbacks or [])
    keeps_best = validation_data is not None or validation_split
    refuse(callbacks, keeps_best or task.head.needs_validation, run_dir)
    if run_dir is not None:
        check_room(run_dir)
    started = time.perf_counter()
    rows, held_out = read_rows(
        task,
        (x, y),
        validation_data,
        validation_split,
        class_weight,
        sample_weight,
        seed,
    )
    unseen = None
    if task.ngrams is not None:
        unseen = task.ngrams.fit(rows.columns, rows.targets, rows.sample_weight)
    examples = Examples.of(task, rows, unseen)
    validation = None if held_out is None else Examples.of(task, held_out)

    run = state = None
    if run_dir is not None:
        settings = {
            "data": examples.digest(),
            "validation": None if validation is None else validation.digest(),
            "head": {"name": task.head.name} | task.head.get_config(),
            "backbone": task.backbone.config,
            "policy": task.backbone.embeddings.dtype_policy.name,
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "warmup": warmup,
            "weight_decay": weight_decay,
            "layer_decay": layer_decay,
            "r_drop": r_drop,
            "early_stopping": early_stopping,
            "layout": layout,
            "seed": seed,
            "backend": keras.backend.backend(),
            "keras": keras.__version__,
        }
        run = RunFolder(run_dir, settings)
        state = run.latest()
    done = 0 if state is None else len(state.facts["logs"])
    make_batches = PackedBatches if layout == "packed" else LengthBatches
    batches = make_batches(
        examples.table,
        examples.targets,
        examples.sample_weight,
        batch_size,
        seed=seed,
        epoch=done,
    )
    model = task.model
    form = RDrop(task, r_drop, layout) if r_drop else task.laid_out(layout)
    compile_for(
        model,
        len(batches) * epochs,
        learning_rate,
        warmup,
        weight_decay,
        layer_decay,
        layout,
        callbacks=callbacks,
        used_rows=examples.table.ids(),
        loss=task.head.loss(),
        metrics=task.head.metrics(),
    )
    if state is not None:
        restore(model, state)
    best, save = None, None
    if validation is not None:
        patience = epochs if early_stopping is None else early_stopping
        best = BestWeights(*task.head.monitor, patience, state)
        callbacks.append(best)
    elif early_stopping is not None:
        raise ConfigError(
            "`early_stopping` watches validation data. Received: "
            f"early_stopping={early_stopping} without `validation_data` or "
            "`validation_split`."
        )
    if run is not None:
        kept = (
            {}
            if best is None
            else {"facts": best.facts, "tensors": best.tensors}
        )
        save = SaveState(run, state, **kept)
        callbacks.append(save)
    if state is not None and (done == epochs or state.facts.get("stopped")):
        _take_best(model, best)
    else:
        history = run_epochs(
            model,
            batches,
            None
            if validation is None
            else make_batches(
                validation.table,
                validation.targets,
                batch_size=batch_size,
                shuffle=False,
            ),
            form=form,
            tokens=len(examples.table.token_ids),
            initial_epoch=done,
            epochs=epochs,
            callbacks=callbacks,
            verbose=verbose,
        )
    if save is not None:
        history = save.history(model)
    facts = {"epochs": len(history.epoch)}
    if held_out is not None:
        facts |= calibrate(task, held_out)
    task.note_training(len(rows), time.perf_counter() - started, **facts)
    return history


def _take_best(model: keras.Model, best: BestWeights | None) -> None:
    """What the end of `model.fit` does, for a run that is over already."""
    if best is not None:
        best.set_model(model)
        best.on_train_begin()
        best.on_train_end()
    widen(model)
