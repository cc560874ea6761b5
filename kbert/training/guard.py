"""Stops a training whose numbers are none any more."""

from __future__ import annotations

import math
from typing import Any

import keras

from kbert.errors import NotFiniteError
from kbert.utils.finite import weights_not_finite
from kbert.utils.notes import notes

# A loss scale is 32768 at first, and halved with each step that overflows.
LEAST_SCALE = 1.0


class FiniteTraining(keras.callbacks.Callback):
    """Raises `NotFiniteError` for a loss or a weight that is not finite.

    It goes before the callbacks that keep weights, which then never see such.
    Steps that loss scaling skips are none: their loss is finite.
    """

    def set_params(self, params):
        super().set_params(params)
        self.steps = (params or {}).get("steps")

    def on_train_begin(self, logs=None):
        self.epoch = self.step = 0
        if self._scaled():
            self.before = int(self._scaled().iterations)
        if names := weights_not_finite(self.model.weights):
            raise NotFiniteError(
                f"Expected finite weights to train. Received: NaN or "
                f"infinity in {names}. Load the model again, or make a new "
                f"one."
            )

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch, self.step = epoch, 0

    def on_train_batch_end(self, batch, logs=None):
        self.step = batch + 1
        self._check(logs, "loss")

    def on_epoch_end(self, epoch, logs=None):
        # What the last step made of the weights has no loss yet.
        if names := weights_not_finite(self.model.weights):
            self._stop(f"NaN or infinity in {names}")
        self._check(logs, "val_loss")
        scale = float(self._scaled().dynamic_scale) if self._scaled() else 1.0
        if scale < LEAST_SCALE:
            self._stop(
                f"gradients that float16 does not hold, even with the loss "
                f"scaled by {scale:g}"
            )

    def on_train_end(self, logs=None):
        if self._scaled() and int(self._scaled().iterations) == self.before:
            notes().print(
                "Note: nothing was learned. Each step's gradients were beyond "
                "float16, and it was skipped; with more steps the loss would "
                "be scaled to fit. mixed_bfloat16 needs no scale."
            )

    def _scaled(self) -> Any:
        """The optimizer, if it scales the loss; else None."""
        optimizer = self.model.optimizer
        scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        return optimizer if scales else None

    def _check(self, logs, name):
        loss = (logs or {}).get(name)
        if loss is not None and not math.isfinite(loss):
            self._stop(f"{name} {float(loss)}")

    def _stop(self, received):
        steps = "" if self.steps is None else f" of {self.steps}"
        raise NotFiniteError(
            f"Expected a finite loss. Received: {received} in epoch "
            f"{self.epoch + 1}, at step {self.step}{steps}. Training has "
            f"ended and nothing of it was saved; make or load the model "
            f"again, as its weights are of no use now. Try a lower "
            f"learning_rate, or float32 or mixed_bfloat16 in place of "
            f"float16; look for targets and weights of rows that are far "
            f"from the others."
        )
