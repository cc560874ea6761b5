"""Fine-tuning: from texts and labels to `model.fit`."""

from __future__ import annotations

import copy
import hashlib
import os
import time
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kbert.data.batching import LengthBatches
from kbert.data.batching import TokenTable
from kbert.data.batching import TokenTargets
from kbert.data.batching import static_shapes
from kbert.data.batching import take_targets
from kbert.data.labels import LabelFinder
from kbert.data.packing import PackedBatches
from kbert.data.row_names import rows_of
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.models.layout import choose_layout
from kbert.models.precision import check_trained
from kbert.pipeline.names import refuse_answers
from kbert.pipeline.text_model import TextModel
from kbert.training.callbacks import refuse
from kbert.training.class_weight import label_weights
from kbert.training.loop import compile_for
from kbert.training.loop import run as run_epochs
from kbert.training.options import checked
from kbert.training.r_drop import RDrop
from kbert.training.reading import either
from kbert.training.reading import no_weights
from kbert.training.reading import read_examples
from kbert.training.reading import unpack
from kbert.training.resume import BestWeights
from kbert.training.resume import RunFolder
from kbert.training.resume import SaveState
from kbert.training.resume import restore
from kbert.training.sample_weight import read_sample_weight
from kbert.training.split import split
from kbert.training.used_rows import widen
from kbert.utils.finite import LARGEST
from kbert.utils.scratch import check_room

# Set aside for a head that needs validation data when none is given.
HELD_OUT = 0.1


@dataclass(frozen=True)
class Rows:
    """Texts and what is known of them.

    Attributes:
        columns: texts, a list a column.
        targets: what the head's `encode` gave.
        sample_weight: float32 `(rows,)`, or None.
    """

    columns: list
    targets: Any
    sample_weight: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.columns[0])

    def take(self, rows: np.ndarray) -> Rows:
        """Some of the rows."""
        weight = self.sample_weight
        return Rows(
            [_take(column, rows) for column in self.columns],
            _take(self.targets, rows),
            None if weight is None else weight[rows],
        )


@dataclass(frozen=True)
class Examples:
    """Tokenized texts, or windows of them, and the targets of the loss."""

    table: TokenTable
    targets: Any
    sample_weight: np.ndarray | None = None

    @classmethod
    def of(
        cls, task: TextModel, rows: Rows, ngram_logits: np.ndarray | None = None
    ) -> Examples:
        """The examples of some rows; see `TextModel.tokenize`."""
        if task.head.overlap is None:
            table = task.tokenize(rows.columns, ngram_logits)
            return cls(table, rows.targets, rows.sample_weight)
        windows = task.windows(rows.columns)
        weight = rows.sample_weight
        return cls(
            windows.table,
            task.head.align(rows.targets, windows),
            None if weight is None else weight[windows.row],
        )

    def batch(self, rows: np.ndarray) -> tuple:
        """Some rows as one batch, `(inputs, targets)`."""
        return (
            self.table.take(rows, static_shapes()),
            take_targets(self.targets, rows),
        )

    def digest(self) -> str:
        """SHA-256 of all of it."""
        digest = hashlib.sha256()
        targets = [
            t.values if isinstance(t, TokenTargets) else t
            for t in keras.tree.flatten(self.targets)
        ]
        for array in (
            self.table.token_ids,
            self.table.segment_ids,
            self.table.offsets,
            *self.table.inputs.values(),
            *targets,
            self.sample_weight,
        ):
            if array is not None:
                digest.update(np.ascontiguousarray(array))
        return digest.hexdigest()


def _take(values: Any, rows: np.ndarray) -> Any:
    if isinstance(values, np.ndarray):
        return values[rows]
    return [values[i] for i in rows]


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


def read_rows(
    task: TextModel,
    data: tuple,
    validation_data: Any,
    validation_split: float,
    class_weight: dict | str | None,
    sample_weight: Any,
    seed: int,
) -> tuple[Rows, Rows | None]:
    """Rows to train and to validate on; the task's model is built by then.

    Args:
        task: the task; what its head does not know yet, it learns.
        data: `(x, y)`, of any usual form.
        validation_data: the same, or None.
        validation_split: part of the rows to set aside otherwise; a tenth
            for a head that needs some.
        class_weight: see `kbert.Classifier.fit`.
        sample_weight: see `kbert.Classifier.fit`.
        seed: which rows are set aside.
    """
    columns, labels, weight = read_examples(task, *data)
    with rows_of(data[0]):
        learn(task, labels)
        targets = task.head.encode(labels)
        weight = _weights(
            task, labels, class_weight, either(sample_weight, weight)
        )
    rows = Rows(columns, targets, weight)
    if validation_data is not None:
        return rows, read_held_out(task, validation_data)
    if not validation_split and task.head.needs_validation:
        validation_split = HELD_OUT
    return split(rows, task.head.strata(labels), validation_split, seed)


def learn(task: TextModel, labels: list) -> None:
    """Have the head learn from the labels, and build the model if there is
    none."""
    if task.model is None:
        task.head.adapt(labels)
        task.build()
        refuse_answers(task.inputs, task.serving_model.output, task.head)


def read_held_out(task: TextModel, data: Any) -> Rows:
    """Rows of `validation_data`, of a task that is built.

    Raises:
        InputError: it is no `(texts, labels)` and no dataset, or its labels
            are not those of the training data.
    """
    x, y, weight = unpack(data, "`validation_data`")
    if weight is not None:
        raise no_weights("validation")
    with rows_of(x, "validation_data"):
        columns, labels, weight = read_examples(task, x, y)
        if weight is not None:
            raise no_weights("validation")
        return Rows(columns, task.head.encode(labels))


def calibrate(task: TextModel, held_out: Rows) -> dict[str, Any]:
    """Have the head learn from validation data; what is to be noted of it."""
    answers = task.answer_columns(held_out.columns)
    # A copy, since a head may change what it holds in place.
    before = copy.deepcopy(task.head.get_config())
    task.head.calibrate(answers, held_out.targets)
    # Most heads learn nothing more; then the answers stand.
    if task.head.get_config() != before:
        task.build_serving()
        answers = task.answer_columns(held_out.columns)
    return {
        "validation_rows": len(held_out),
        "validation": task.head.report(answers, held_out.targets),
    }


def _take_best(model: keras.Model, best: BestWeights | None) -> None:
    """What the end of `model.fit` does, for a run that is over already."""
    if best is not None:
        best.set_model(model)
        best.on_train_begin()
        best.on_train_end()
    widen(model)


def _weights(task, labels, class_weight, sample_weight):
    """One weight a row, the product of both kinds, or None."""
    by_label = label_weights(task.head, labels, class_weight)
    weight = np.ones(len(labels), "float32")
    if not by_label and sample_weight is None:
        return None
    if by_label:
        find = LabelFinder(by_label)
        weight = np.array([by_label[find(label)] for label in labels])
    if sample_weight is not None:
        sample_weight = read_sample_weight(sample_weight, len(labels))
        weight = weight * sample_weight.astype("float64")
    if weight.max() > LARGEST or not weight.astype("float32").any():
        raise InputError(
            f"Expected rows to weigh more than 0, and no more than float32 "
            f"holds. Received: weights that are {weight.max():g} at most, by "
            f"row and by label together. Correct one of them."
        )
    return weight.astype("float32")
