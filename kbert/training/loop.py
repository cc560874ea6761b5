"""What every fine-tuning does between its data and its `History`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
from keras import ops

from kbert.data.batching import Batches
from kbert.data.batching import static_shapes
from kbert.models.precision import check_trained
from kbert.models.precision import computes_in
from kbert.report.display import TrainingDisplay
from kbert.training.form import trained_as
from kbert.training.guard import FiniteTraining
from kbert.training.optimizer import make_optimizer
from kbert.training.optimizer import scale_losses
from kbert.training.resume import BestWeights
from kbert.training.resume import RunFolder
from kbert.training.resume import SaveState
from kbert.training.resume import restore
from kbert.training.settings import Settings
from kbert.training.used_rows import widen

# Up to so many steps TensorFlow is quicker without making a graph first.
EAGER_STEPS = 6


def compile_for(
    model: keras.Model,
    steps: int,
    settings: Settings,
    eager_steps: int = EAGER_STEPS,
    used_rows: Iterable[int] | None = None,
    **compiled: Any,
) -> None:
    """Compile a model for so many steps.

    Args:
        model: the model.
        steps: batches of the whole training.
        settings: `Settings`; its layout is one that `choose_layout` gave.
        eager_steps: up to so many steps no graph is made on TensorFlow.
        used_rows: ids of the tokens that its texts have, see `TokenTable.ids`;
            None for all.
        **compiled: loss and metrics, as `keras.Model.compile` takes them.
    """
    check_trained(model)
    optimizer = make_optimizer(
        "adamw",
        settings.learning_rate,
        steps,
        settings.warmup,
        settings.weight_decay,
        layer_decay=settings.layer_decay,
        callbacks=settings.callbacks or (),
        # Keras's loss scaling knows of no files of its inner optimizer's.
        used_rows=None if computes_in(model, "float16") else used_rows,
    )
    model.compile(
        scale_losses(optimizer, model),
        run_eagerly=steps <= eager_steps and not static_shapes(),
        # XLA would compile anew for every number of tokens.
        jit_compile=False if settings.layout == "flat" else "auto",
        **compiled,
    )
    # Variables made while a graph is traced would have it traced twice.
    model.optimizer.build(model.trainable_variables)


def build_losses(model: keras.Model, targets: Any, outputs: Any) -> None:
    """Have Keras make the variables that add up the losses of a dict.

    Variables made while a graph is traced would have it traced twice.

    Args:
        model: a compiled model.
        targets: targets of any values, as the model's losses take them.
        outputs: what has `shape` and `dtype` of the outputs to these targets.
    """
    zeros = keras.tree.map_structure(
        lambda output: ops.zeros(output.shape, output.dtype), outputs
    )
    model.compute_loss(y=targets, y_pred=zeros)
    model.reset_metrics()


def train(
    model: keras.Model,
    settings: Settings,
    batches: Batches,
    validation: Batches | None = None,
    *,
    form: Any = None,
    tokens: int,
    decided: dict[str, Any],
    monitor: tuple[str, str] | None = None,
    several: bool = False,
    **compiled: Any,
) -> keras.callbacks.History:
    """Train a model, or go on with the run that `settings.run_dir` holds.

    Args:
        model: the model that people have.
        settings: `Settings`; its layout is one that `choose_layout` gave.
        batches: those of an epoch.
        validation: the batches to validate on after each.
        form: what computes in the model's place, see
            `kbert.training.form.trained_as`.
        tokens: real tokens in an epoch, which the display counts.
        decided: what decides the run besides `settings`, as JSON can hold it.
        monitor: metric of validation, and `"max"` or `"min"`, by which the
            best epoch's weights are kept and training stops early; None to
            keep the last.
        several: whether the model has a loss for each of several outputs.
        **compiled: what `compile_for` takes.

    Returns:
        Keras's `History`, of the whole run.

    Raises:
        ConfigError: `run_dir` holds a run with other settings.
        CheckpointError: a checkpoint is corrupt or cannot be written.
        NotFiniteError: a loss or weights became NaN or infinite.
    """
    run = state = best = save = None
    if settings.run_dir is not None:
        made_by = {
            "backend": keras.backend.backend(),
            "keras": keras.__version__,
        }
        facts = decided | settings.deciding() | made_by
        run = RunFolder(settings.run_dir, facts)
        state = run.latest()
    done = 0 if state is None else len(state.facts["logs"])
    batches.begin_at(done)
    compile_for(model, len(batches) * settings.epochs, settings, **compiled)
    if several:
        inputs, targets, *_ = batches[0]
        build_losses(model, targets, model.compute_output_spec(inputs))
    if state is not None:
        restore(model, state)
    callbacks = list(settings.callbacks or ())
    if validation is not None and monitor is not None:
        patience = settings.early_stopping
        patience = settings.epochs if patience is None else patience
        best = BestWeights(*monitor, patience, state)
        callbacks.append(best)
    if run is not None:
        kept = {}
        if best is not None:
            kept = {"facts": best.facts, "tensors": best.tensors}
        save = SaveState(run, state, **kept)
        callbacks.append(save)
    if state is not None and (
        done == settings.epochs or state.facts.get("stopped")
    ):
        if best is not None:  # What the end of `model.fit` does.
            best.set_model(model)
            best.on_train_begin()
            best.on_train_end()
        widen(model)
        return save.history(model)
    history = _run(
        model,
        batches,
        validation,
        form=form,
        display=TrainingDisplay(tokens),
        initial_epoch=done,
        epochs=settings.epochs,
        callbacks=callbacks,
        verbose=settings.verbose,
    )
    return history if save is None else save.history(model)


def _run(
    model: keras.Model,
    batches: Batches,
    validation: Batches | None,
    *,
    form: Any,
    display: TrainingDisplay,
    initial_epoch: int,
    epochs: int,
    callbacks: list,
    verbose: str | int,
) -> keras.callbacks.History:
    """`model.fit` with kbert's display."""
    if verbose == "auto":
        callbacks = [*callbacks, display]
    try:
        with trained_as(model, form):
            return model.fit(
                batches.for_fit(),
                initial_epoch=initial_epoch,
                epochs=epochs,
                validation_data=None
                if validation is None
                else validation.for_fit(),
                callbacks=[FiniteTraining(), *callbacks],
                verbose=0 if verbose == "auto" else verbose,
                shuffle=False,  # The batches shuffle themselves, by length.
            )
    finally:
        display.close()  # Keras calls nothing after a Ctrl-C.
        model.run_eagerly = False
        widen(model)
        # Where `BackupAndRestore` began; Keras would keep to it.
        model._initial_epoch = None
