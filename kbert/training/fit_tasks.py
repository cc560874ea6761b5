"""Fine-tuning of several tasks at once.

One `keras.Model` has the outputs of all heads. A batch has rows of one task;
what the other heads answer for them weighs 0, so plain `model.fit` does it on
every backend.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Any

import keras

from kbert.models.layout import choose_layout
from kbert.models.precision import check_trained
from kbert.training.calibrate import calibrate
from kbert.training.examples import Examples
from kbert.training.loop import train
from kbert.training.reading import unpack
from kbert.training.rows import labelled_rows
from kbert.training.settings import Settings
from kbert.training.settings import checked
from kbert.training.task_batches import AllBatches
from kbert.training.task_batches import TaskBatches
from kbert.training.task_batches import share_steps
from kbert.training.task_data import by_task
from kbert.training.task_data import naming

if TYPE_CHECKING:
    from kbert.pipeline.multi_model import MultiModel


def fit_tasks(
    multi: MultiModel,
    data: Mapping[str, Any],
    settings: Settings,
    *,
    validation_data: Mapping[str, Any] | None = None,
    validation_split: float = 0.0,
    sampling: str | Mapping[str, float] = "proportional",
    class_weight: Mapping[str, Any] | None = None,
) -> keras.callbacks.History:
    """Fine-tune; see `kbert.MultiTask.fit`, which documents it."""
    check_trained(multi.backbone)
    split = checked("validation_split", validation_split)
    settings = replace(settings, layout=choose_layout(settings.layout))
    stops = settings.early_stopping is not None
    tasks = multi.tasks.values()
    settings.check(
        bool(validation_data or split)
        or any(task.head.needs_validation for task in tasks),
        keeps_best=stops,
    )
    started = time.perf_counter()
    data = by_task("data", data, multi.tasks, every=True)
    validation_data = by_task("validation_data", validation_data, multi.tasks)
    class_weight = by_task("class_weight", class_weight, multi.tasks)
    share_steps(sampling, dict.fromkeys(multi, 1))  # Before texts are read.
    rows, held_out = {}, {}
    for name, task in multi.tasks.items():
        with naming(name):
            x, y, weight = unpack(data[name], "data")
            rows[name], held_out[name] = labelled_rows(
                task,
                (x, y),
                validation_data.get(name),
                split,
                class_weight.get(name),
                weight,
                settings.seed,
            )
    examples = {n: Examples.of(multi[n], part) for n, part in rows.items()}
    watched = {
        name: Examples.of(multi[name], part)
        for name, part in held_out.items()
        if part is not None
    }
    sizes = {
        name: math.ceil(len(part.table) / settings.batch_size)
        for name, part in examples.items()
    }
    steps = share_steps(sampling, sizes)
    multi.build()  # Anew: a task may have been given another head since.
    history = train(
        multi.model,
        settings,
        TaskBatches(examples, steps, settings.batch_size, settings.seed),
        # A task that has none is there for the form of its targets.
        AllBatches(
            examples | watched, dict.fromkeys(watched, 0), settings.batch_size
        )
        if watched
        else None,
        form=multi.laid_out(settings.layout),
        tokens=sum(
            len(part.table.token_ids) * steps[name] // sizes[name]
            for name, part in examples.items()
        ),
        decided=lambda: {
            "steps": steps,
            "tasks": {
                name: multi[name].identity()
                | {
                    "data": part.digest(),
                    "validation": name in watched and watched[name].digest(),
                }
                for name, part in examples.items()
            },
        },
        monitor=("val_loss", "min") if stops else None,
        several=True,
        used_rows=sorted(
            set().union(*(part.table.ids() for part in examples.values()))
        ),
        loss={name: task.head.loss() for name, task in multi.tasks.items()},
        weighted_metrics={
            name: task.head.metrics() for name, task in multi.tasks.items()
        },
    )
    seconds = time.perf_counter() - started
    for name, task in multi.tasks.items():
        facts = {
            "epochs": len(history.epoch),
            "steps_per_epoch": steps[name],
            "trained_with": [other for other in multi if other != name],
        }
        if held_out[name] is not None:
            facts |= calibrate(task, held_out[name])
        task.note_training(len(rows[name]), seconds, **facts)
    return history
