"""What every training does between its data and its `History`."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from kbert.data.batching import Batches
from kbert.data.batching import static_shapes
from kbert.models.precision import check_trained
from kbert.models.precision import computes_in
from kbert.report.display import TrainingDisplay
from kbert.training.callbacks import sets_the_rate
from kbert.training.guard import FiniteTraining
from kbert.training.optimizer import make_optimizer
from kbert.training.optimizer import scale_losses
from kbert.training.resume import BestWeights
from kbert.training.resume import RunFolder
from kbert.training.resume import SaveState
from kbert.training.resume import State
from kbert.training.resume import restore
from kbert.training.settings import CommonSettings
from kbert.training.settings import Settings
from kbert.training.substitute import trained_as
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


@dataclass(frozen=True)
class Run:
    """What `run_dir` holds of a training.

    Attributes:
        folder: where each epoch is kept; None where none is.
        state: what is to go on; None for a new run.
    """

    folder: RunFolder | None = None
    state: State | None = None

    @classmethod
    def open(
        cls, settings: CommonSettings, decided: Callable[[], dict[str, Any]]
    ) -> Run:
        """The run in the folder that the settings name, if they name one.

        Args:
            settings: of the training.
            decided: gives what decides it besides them, as JSON can hold
                it; asked only if there is a folder.

        Raises:
            ConfigError: the folder holds a run with other settings.
            CheckpointError: a checkpoint is corrupt or cannot be written.
        """
        if settings.run_dir is None:
            return cls()
        made_by = {
            "backend": keras.backend.backend(),
            "keras": keras.__version__,
        }
        if sets_the_rate(settings.callbacks or ()):
            made_by["rate set by"] = "a callback"
        facts = decided() | settings.deciding() | made_by
        folder = RunFolder(settings.run_dir, facts)
        return cls(folder, folder.latest())

    @property
    def done(self) -> int:
        """Epochs that are done."""
        return 0 if self.state is None else len(self.state.facts["logs"])

    @property
    def stopped(self) -> bool:
        """Whether it was stopped before its last epoch."""
        return self.state is not None and self.state.facts.get("stopped", False)


def train(
    model: keras.Model,
    settings: Settings,
    batches: Batches,
    validation: Batches | None = None,
    *,
    form: Any = None,
    tokens: int,
    decided: Callable[[], dict[str, Any]],
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
            `kbert.training.substitute.trained_as`.
        tokens: real tokens in an epoch, which the display counts.
        decided: gives what decides the run besides `settings`, as JSON can
            hold it.
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
    run = Run.open(settings, decided)
    batches.begin_at(run.done)
    compile_for(model, len(batches) * settings.epochs, settings, **compiled)
    if several:
        inputs, targets, *_ = batches[0]
        build_losses(model, targets, model.compute_output_spec(inputs))
    return run_epochs(
        model,
        batches,
        settings,
        run,
        settings.epochs,
        TrainingDisplay(tokens),
        validation=None if validation is None else validation.for_fit(),
        monitor=None if validation is None else monitor,
        form=form,
    )


def run_epochs(
    model: keras.Model,
    data: Any,
    settings: CommonSettings,
    run: Run,
    epochs: int,
    display: TrainingDisplay,
    *,
    steps: int | None = None,
    validation: Any = None,
    monitor: tuple[str, str] | None = None,
    form: Any = None,
    first: Iterable[keras.callbacks.Callback] = (),
    facts: Callable[[int], dict] = lambda step: {},
) -> keras.callbacks.History:
    """The epochs that a run still has to do, of whatever kind it is.

    Args:
        model: compiled, with all its variables.
        data: its `for_fit()` gives what `model.fit` takes, from where the
            run is to go on.
        settings: callbacks, patience, and whether to display.
        run: what is done already.
        epochs: how many there are in all.
        display: kbert's display.
        steps: batches in an epoch; None for all of the data.
        validation: what `model.evaluate` takes.
        monitor: see `train`.
        form: see `train`.
        first: callbacks that come before the user's.
        facts: see `SaveState`.

    Returns:
        Keras's `History`, of the whole run.
    """
    if run.state is not None:
        restore(model, run.state)
    callbacks = [FiniteTraining(), *first, *(settings.callbacks or ())]
    best = save = None
    if monitor is not None:
        patience = settings.early_stopping
        patience = epochs if patience is None else patience
        best = BestWeights(*monitor, patience, run.state)
        callbacks.append(best)
    if run.folder is not None:
        save = SaveState(run.folder, run.state, best, facts)
        callbacks.append(save)
        if run.done == epochs or run.stopped:
            if best is not None:  # What the end of `model.fit` does.
                best.set_model(model)
                best.on_train_begin()
                best.on_train_end()
            widen(model)
            return save.history(model)
    if settings.verbose == "auto":
        callbacks.append(display)
    try:
        with trained_as(model, form):
            history = model.fit(
                data.for_fit(),
                initial_epoch=run.done,
                epochs=epochs,
                steps_per_epoch=steps,
                validation_data=validation,
                callbacks=callbacks,
                verbose=0 if settings.verbose == "auto" else settings.verbose,
                shuffle=False,  # Batches shuffle themselves.
            )
    finally:
        display.close()  # Keras calls nothing after a Ctrl-C.
        model.run_eagerly = False
        widen(model)
        # Where `BackupAndRestore` began; Keras would keep to it.
        model._initial_epoch = None
    return history if save is None else save.history(model)
