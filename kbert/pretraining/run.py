"""A pretraining run: one `model.fit` that can be killed and continued."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

import keras

from kbert.pretraining.batches import Position
from kbert.pretraining.batches import PretrainingBatches
from kbert.pretraining.feed import Feed
from kbert.pretraining.feed import Meter
from kbert.report.display import TrainingDisplay
from kbert.training.guard import FiniteTraining
from kbert.training.resume import RunFolder
from kbert.training.resume import SaveState
from kbert.training.resume import restore
from kbert.training.throughput import matmul_ceiling
from kbert.training.throughput import training_flops


def run(
    model: keras.Model,
    batches: PretrainingBatches,
    run_dir: str | os.PathLike,
    settings: dict[str, Any],
    steps: int,
    epoch_steps: int,
    backbone_config: dict[str, Any],
    validation: Any = None,
    callbacks: list | None = None,
    verbose: str | int = "auto",
) -> keras.callbacks.History:
    """Train a compiled model from the newest checkpoint to the last step.

    Args:
        model: compiled; see `pretraining_model`.
        batches: `PretrainingBatches`.
        run_dir: folder of the checkpoints.
        settings: what must not change when the run goes on.
        steps: batches in all, a multiple of `epoch_steps`.
        epoch_steps: batches between checkpoints, an epoch to Keras.
        backbone_config: arguments of the `kbert.Backbone`.
        validation: what `model.evaluate` takes.
        callbacks: list of `keras.callbacks.Callback`.
        verbose: `"auto"` for kbert's display, else as Keras.

    Returns:
        The `History` of the whole run.

    Raises:
        ConfigError: the folder holds a run with other settings.
        CheckpointError: a checkpoint is corrupt or cannot be written.
    """
    folder = RunFolder(run_dir, settings)
    done, position = 0, Position()
    state = folder.latest()
    if state is not None:
        restore(model, state)
        done = state.step
        position = Position(**state.facts["position"])

    feed = Feed(batches, position, done)
    meter = Meter(feed)
    save = SaveState(
        folder,
        state,
        lambda step: {"position": asdict(feed.mark(step).position)},
    )
    # Before the user's: what it measures is theirs to show.
    all_callbacks = [FiniteTraining(), meter, *(callbacks or []), save]
    display = PretrainingDisplay(meter, backbone_config, batches)
    if verbose == "auto":
        all_callbacks.insert(0, display)
    try:
        if done < steps:
            model.fit(
                feed.for_fit(),
                initial_epoch=done // epoch_steps,
                epochs=steps // epoch_steps,
                steps_per_epoch=epoch_steps,
                validation_data=validation,
                callbacks=all_callbacks,
                verbose=0 if verbose == "auto" else verbose,
                shuffle=False,  # The batches are shuffled already.
            )
    finally:
        display.close()  # Keras calls nothing after a Ctrl-C.
    return save.history(model)


class PretrainingDisplay(TrainingDisplay):
    """The live display, with the share of the machine's matmul ceiling.

    Args:
        meter: `Meter`, which is called too.
        config: arguments of the `kbert.Backbone`.
        batches: `PretrainingBatches`.
    """

    def __init__(self, meter, config, batches):
        super().__init__()
        self.meter = meter
        self.flops = training_flops(
            config,
            batches.sequence_length,
            batches.mask_rate if "mlm" in batches.objectives else 0.0,
        )

    def on_train_begin(self, logs=None):
        self.ceiling = matmul_ceiling(self.model.layers[-1].compute_dtype)
        super().on_train_begin(logs)

    def _rate(self):
        if rate := self.meter.rate:
            yield f"{rate:,.0f} tokens/s"
            yield f"{rate * self.flops / self.ceiling:.0%} of matmul ceiling"
