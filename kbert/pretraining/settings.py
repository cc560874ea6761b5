"""How a model is pretrained: settings that are checked when they are made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from kbert.errors import ConfigError
from kbert.training.settings import CommonSettings


@dataclass(frozen=True, kw_only=True)
class PretrainingSettings(CommonSettings):
    """What pretraining is told besides its corpus.

    Args: see `kbert.Pretrainer.fit`; `steps` are then rounded up.

    Raises:
        ConfigError: one is no such value, or two cannot go together.

    Example:

    >>> PretrainingSettings(steps=20_001).steps
    20100
    """

    steps: int
    batch_size: int = 64
    accumulate: int = 1
    optimizer: str = "adamw"
    learning_rate: float = 1e-4
    save_every: Any = None  # By default of `steps`, an integer.
    validation_steps: int = 50
    jit_compile: bool | str = "auto"

    def __post_init__(self):
        super().__post_init__()
        steps, save_every = self.steps, self.save_every
        if save_every is None:
            save_every = min(steps, max(100, math.ceil(steps / 100)))
        if save_every > steps:
            raise ConfigError(
                f"`save_every` must be no more than `steps`, or nothing is "
                f"saved on the way. Received: save_every={save_every}, "
                f"steps={steps}"
            )
        if self.batch_size % self.accumulate:
            raise ConfigError(
                "`batch_size` must be a multiple of `accumulate`. Received: "
                f"batch_size={self.batch_size}, accumulate={self.accumulate}"
            )
        self._set("save_every", save_every)
        self._set("steps", save_every * math.ceil(steps / save_every))
