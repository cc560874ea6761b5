"""A pretraining run: one `model.fit` that can be killed and continued."""

from __future__ import annotations

from typing import Any

import keras

from kbert.pretraining.batches import Position
from kbert.pretraining.batches import PretrainingBatches
from kbert.pretraining.feed import Feed
from kbert.pretraining.feed import Meter
from kbert.pretraining.settings import PretrainingSettings
from kbert.report.display import TrainingDisplay
from kbert.training.loop import Run
from kbert.training.loop import run_epochs
from kbert.training.throughput import matmul_ceiling
from kbert.training.throughput import training_flops


def run(
    model: keras.Model,
    batches: PretrainingBatches,
    settings: PretrainingSettings,
    decided: dict[str, Any],
    backbone_config: dict[str, Any],
    validation: Any = None,
) -> keras.callbacks.History:
    """Train a compiled model from the newest checkpoint to the last step.

    Args:
        model: compiled; see `pretraining_model`.
        batches: `PretrainingBatches`.
        settings: `PretrainingSettings`.
        decided: what must not change, besides them, when the run goes on.
        backbone_config: arguments of the `kbert.Backbone`.
        validation: what `model.evaluate` takes.

    Returns:
        The `History` of the whole run.

    Raises:
        ConfigError: the folder holds a run with other settings.
        CheckpointError: a checkpoint is corrupt or cannot be written.
    """
    past = Run.open(settings, lambda: decided)
    done, position = 0, Position()
    if past.state is not None:
        done = past.state.step
        position = Position(**past.state.facts["position"])
    feed = Feed(batches, position, done)
    meter = Meter(feed)
    return run_epochs(
        model,
        feed,
        settings,
        past,
        settings.steps // settings.save_every,
        PretrainingDisplay(meter, backbone_config, batches),
        steps=settings.save_every * settings.accumulate,
        validation=validation,
        monitor=None
        if settings.early_stopping is None
        else ("val_loss", "min"),
        # What it measures is the user's callbacks' to show.
        first=[meter],
        facts=feed.facts,
    )


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

    def on_epoch_end(self, epoch, logs=None):
        # The rate stands in the line already.
        shown = {k: v for k, v in (logs or {}).items() if k not in Meter.LOGS}
        super().on_epoch_end(epoch, shown)

    def _rate(self):
        if rate := self.meter.rate:
            yield f"{rate:,.0f} tokens/s"
            yield f"{rate * self.flops / self.ceiling:.0%} of matmul ceiling"
