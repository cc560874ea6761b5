"""Fine-tuning of several tasks at once.

One `keras.Model` has the outputs of all heads. A batch has rows of one task;
what the other heads answer for them weighs 0, so plain `model.fit` does it on
every backend.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

import keras

from kbert.models.layout import choose_layout
from kbert.models.precision import check_trained
from kbert.training.calibrate import calibrate
from kbert.training.callbacks import refuse
from kbert.training.examples import Examples
from kbert.training.loop import build_losses
from kbert.training.loop import compile_for
from kbert.training.loop import run
from kbert.training.options import checked
from kbert.training.reading import unpack
from kbert.training.rows import read_rows
from kbert.training.task_batches import AllBatches
from kbert.training.task_batches import TaskBatches
from kbert.training.task_batches import share_steps
from kbert.training.task_data import by_task
from kbert.training.task_data import naming

if TYPE_CHECKING:
    from kbert.pipeline.multi_model import MultiModel


@checked("`fit`")
def fit(
    multi: MultiModel,
    data: Mapping[str, Any],
    *,
    validation_data: Mapping[str, Any] | None = None,
    validation_split: float = 0.0,
    sampling: str | Mapping[str, float] = "proportional",
    epochs: int = 3,
    batch_size: int = 32,
    learning_rate: float = 5e-5,
    warmup: float = 0.1,
    weight_decay: float = 0.01,
    layer_decay: float = 1.0,
    class_weight: Mapping[str, Any] | None = None,
    callbacks: list | None = None,
    layout: str = "auto",
    verbose: str | int = "auto",
    seed: int = 0,
) -> keras.callbacks.History:
    """Fine-tune; see `kbert.MultiTask.fit`, which documents it."""
    check_trained(multi.backbone)
    layout = choose_layout(layout)
    callbacks = list(callbacks or [])
    refuse(callbacks)
    started = time.perf_counter()
    data = by_task("data", data, multi, every=True)
    validation_data = by_task("validation_data", validation_data, multi)
    class_weight = by_task("class_weight", class_weight, multi)
    share_steps(sampling, dict.fromkeys(multi, 1))  # Before texts are read.
    rows, held_out = {}, {}
    for name, task in multi.tasks.items():
        with naming(name):
            x, y, weight = unpack(data[name], "data")
            rows[name], held_out[name] = read_rows(
                task,
                (x, y),
                validation_data.get(name),
                validation_split,
                class_weight.get(name),
                weight,
                seed,
            )
    examples = {n: Examples.of(multi[n], part) for n, part in rows.items()}
    sizes = {
        name: math.ceil(len(part.table) / batch_size)
        for name, part in examples.items()
    }
    batches = TaskBatches(
        examples, share_steps(sampling, sizes), batch_size, seed
    )
    validation = _validation(multi, held_out, examples, batch_size)
    multi.build()  # Anew: a task may have been given another head since.
    model = multi.model
    compile_for(
        model,
        len(batches) * epochs,
        learning_rate,
        warmup,
        weight_decay,
        layer_decay,
        layout,
        callbacks=callbacks,
        used_rows=sorted(
            set().union(*(part.table.ids() for part in examples.values()))
        ),
        loss={name: task.head.loss() for name, task in multi.tasks.items()},
        weighted_metrics={
            name: task.head.metrics() for name, task in multi.tasks.items()
        },
    )
    inputs, targets, _ = batches[0]
    build_losses(model, targets, model.compute_output_spec(inputs))
    tokens = sum(
        len(part.table.token_ids) * batches.steps[name] / sizes[name]
        for name, part in examples.items()
    )
    history = run(
        model,
        batches,
        validation,
        form=multi.laid_out(layout),
        tokens=tokens,
        epochs=epochs,
        callbacks=callbacks,
        verbose=verbose,
    )
    seconds = time.perf_counter() - started
    for name, task in multi.tasks.items():
        facts = {
            "epochs": len(history.epoch),
            "steps_per_epoch": batches.steps[name],
            "trained_with": [other for other in multi if other != name],
        }
        if held_out[name] is not None:
            facts |= calibrate(task, held_out[name])
        task.note_training(len(rows[name]), seconds, **facts)
    return history


def _validation(multi, held_out, examples, batch_size) -> AllBatches | None:
    """Batches of all rows that are set aside; None if there are none."""
    found = {
        name: Examples.of(multi[name], part)
        for name, part in held_out.items()
        if part is not None
    }
    if not found:
        return None
    # A task that has none is there for the form of its targets.
    return AllBatches(examples | found, dict.fromkeys(found, 0), batch_size)
