"""What kbert's training does for the callbacks that it is given."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
from keras import callbacks as known

from kbert.errors import ConfigError

# They set the rate, and Keras refuses that where there is a schedule.
SET_THE_RATE = (known.LearningRateScheduler, known.ReduceLROnPlateau)


def sets_the_rate(callbacks: Iterable[Any]) -> bool:
    """Whether the rate is a callback's to set, and so begins at its highest
    and stays there until then."""
    return any(isinstance(c, SET_THE_RATE) for c in callbacks)


def averages_weights(callbacks: Iterable[Any]) -> bool:
    """Whether the optimizer has to keep an average of the weights."""
    return any(isinstance(c, known.SwapEMAWeights) for c in callbacks)


def refuse(
    callbacks: Iterable[keras.callbacks.Callback],
    keeps_best: bool = False,
    run_dir: Any = None,
) -> None:
    """Refuse, before training, what would go wrong or be lost in it.

    Args:
        callbacks: those that were given.
        keeps_best: whether the best epoch's weights are kept.
        run_dir: as `fit` takes it.

    Raises:
        ConfigError: names the callback, and what to use.
    """
    for callback in callbacks:
        name = type(callback).__name__
        if run_dir is not None and isinstance(
            callback, known.BackupAndRestore | known.SwapEMAWeights
        ):
            raise ConfigError(
                f"`run_dir` keeps all that a run needs to go on, and {name} "
                f"changes that under it. Received: both. Leave one out."
            )
        if (
            isinstance(callback, known.SwapEMAWeights)
            and keeps_best
            and not callback.swap_on_epoch
        ):
            raise ConfigError(
                f"With validation data the best epoch's weights are kept, "
                f"as they are at its end. Received: {name} without "
                f"swap_on_epoch=True, which has the average in place while "
                f"it validates only. Pass SwapEMAWeights(swap_on_epoch=True)."
            )
        if (
            isinstance(callback, known.ModelCheckpoint)
            and not callback.save_weights_only
            and str(callback.filepath).endswith((".h5", ".hdf5"))
        ):
            raise ConfigError(
                f"Keras's HDF5 form of whole models cannot hold a kbert "
                f"model. Received: {name} with the file "
                f"{callback.filepath}. Name it .keras, or pass "
                f"save_weights_only=True and name it .weights.h5."
            )
