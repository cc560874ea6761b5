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
from kbert.training.used_rows import widen

# Up to so many steps TensorFlow is quicker without making a graph first.
EAGER_STEPS = 6


def compile_for(
    model: keras.Model,
    steps: int,
    learning_rate: float,
    warmup: float,
    weight_decay: float,
    layer_decay: float,
    layout: str = "padded",
    eager_steps: int = EAGER_STEPS,
    callbacks: Iterable = (),
    used_rows: Iterable[int] | None = None,
    **compiled: Any,
) -> None:
    """Compile a model for so many steps.

    Args:
        model: the model.
        steps: batches of the whole training.
        learning_rate: see `kbert.training.optimizer.make_optimizer`, as for
            `warmup`, `weight_decay` and `layer_decay`.
        layout: that of the form it trains in, as `choose_layout` gave it.
        eager_steps: up to so many steps no graph is made on TensorFlow.
        callbacks: those of the training, see
            `kbert.training.optimizer.make_optimizer`.
        used_rows: ids of the tokens that its texts have, see `TokenTable.ids`;
            None for all.
        **compiled: loss and metrics, as `keras.Model.compile` takes them.
    """
    check_trained(model)
    optimizer = make_optimizer(
        "adamw",
        learning_rate,
        steps,
        warmup,
        weight_decay,
        layer_decay=layer_decay,
        callbacks=callbacks,
        # Keras's loss scaling knows of no files of its inner optimizer's.
        used_rows=None if computes_in(model, "float16") else used_rows,
    )
    model.compile(
        scale_losses(optimizer, model),
        run_eagerly=steps <= eager_steps and not static_shapes(),
        # XLA would compile anew for every number of tokens.
        jit_compile=False if layout == "flat" else "auto",
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


def run(
    model: keras.Model,
    batches: Batches,
    validation: Batches | None,
    *,
    form: Any = None,
    tokens: int,
    epochs: int,
    initial_epoch: int = 0,
    callbacks: list,
    verbose: str | int,
) -> keras.callbacks.History:
    """`model.fit` with kbert's display.

    Args:
        model: what `compile_for` compiled.
        batches: those of an epoch.
        validation: the batches to validate on after each.
        form: what computes in the model's place, see
            `kbert.training.form.trained_as`.
        tokens: real tokens in an epoch, which the display counts.
        epochs: number of the epoch at which to end.
        initial_epoch: number of the first.
        callbacks: list of `keras.callbacks.Callback`.
        verbose: `"auto"` for the display, else as Keras.
    """
    display = TrainingDisplay(tokens)
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
