"""How a model is trained, as settings that are checked when they are made."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import fields
from functools import partial
from typing import Any

import keras

from kbert.errors import ConfigError
from kbert.errors import short
from kbert.training.callbacks import refuse
from kbert.training.optimizer import RATES
from kbert.training.optimizer import check_optimizer
from kbert.utils.checks import check_flag
from kbert.utils.checks import check_integer
from kbert.utils.checks import check_number
from kbert.utils.checks import check_seed
from kbert.utils.scratch import check_room


def check_callbacks(name: str, value: Any) -> list:
    """Callbacks of Keras as a list; Keras takes one by itself, too.

    Raises:
        ConfigError: there is something else among them.
    """
    callbacks = list(value) if isinstance(value, list | tuple) else [value]
    for callback in callbacks:
        if not isinstance(callback, keras.callbacks.Callback):
            what = short(callback)
            if isinstance(callback, type):
                what = f"the class {callback.__name__}, without ()"
            raise ConfigError(
                f"`{name}` must be a list of keras.callbacks.Callback. "
                f"Received: {what}"
            )
    return callbacks


def check_verbose(name: str, value: Any) -> str | int:
    """`"auto"`, or a number as Keras takes it."""
    if value == "auto":
        return value
    if isinstance(value, bool):
        return int(value)
    return check_integer(name, value, 0, 2, ', or "auto"')


def check_path(name: str, value: Any) -> str:
    """A path, as a string."""
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise ConfigError(
            f"`{name}` must be the path of a folder. Received: "
            f"{name}={short(value)}"
        )
    return os.fspath(value)


def check_jit_compile(name: str, value: Any) -> bool | str:
    """True, false or `"auto"`, as Keras's `compile` takes it."""
    return value if value == "auto" else check_flag(name, value)


CHECKS: dict[str, Callable[..., Any]] = RATES | {
    "epochs": check_integer,
    "batch_size": check_integer,
    "validation_split": partial(check_number, least=0, below=1),
    "r_drop": partial(check_number, least=0),
    "scale": partial(check_number, above=0),
    "early_stopping": partial(check_integer, least=0),
    "callbacks": check_callbacks,
    "verbose": check_verbose,
    "run_dir": check_path,
    "seed": check_seed,
    # Of pretraining.
    "optimizer": check_optimizer,
    "steps": check_integer,
    "accumulate": check_integer,
    "save_every": check_integer,
    "validation_steps": check_integer,
    "jit_compile": check_jit_compile,
}

# What does not decide how a run ends.
UNDECIDING = (
    *("callbacks", "verbose", "run_dir"),
    *("validation_steps", "jit_compile"),
)


def checked(name: str, value: Any, optional: bool = False) -> Any:
    """An argument as its check gives it.

    Args:
        name: of `CHECKS`.
        value: what was given.
        optional: whether it may be None.

    Raises:
        ConfigError: it is no such value.
    """
    return value if optional and value is None else CHECKS[name](name, value)


@dataclass(frozen=True, kw_only=True)
class CommonSettings:
    """What every way of training is told besides its data.

    Args: see `kbert.Classifier.fit`.

    Raises:
        ConfigError: one is no such value.
    """

    batch_size: int = 32
    learning_rate: float = 5e-5
    warmup: float = 0.1
    weight_decay: float = 0.01
    early_stopping: int | None = None
    callbacks: list | None = None
    run_dir: str | os.PathLike | None = None
    verbose: str | int = "auto"

    def __post_init__(self):
        for field in fields(self):
            if field.name in CHECKS:
                value = getattr(self, field.name)
                self._set(
                    field.name,
                    checked(field.name, value, field.default is None),
                )

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def check(
        self,
        validates: bool,
        keeps_best: bool | None = None,
        needs: str = "`validation_data` or `validation_split`",
    ) -> None:
        """Refuse, before texts are read, what cannot go together.

        Args:
            validates: whether there is validation data.
            keeps_best: whether the best epoch's weights are kept; by default
                if it validates.
            needs: what gives validation data.

        Raises:
            ConfigError: names the arguments, and what to leave out.
            CheckpointError: there is no room in `run_dir`.
        """
        if self.early_stopping is not None and not validates:
            raise ConfigError(
                "`early_stopping` watches validation data. Received: "
                f"early_stopping={self.early_stopping} without {needs}."
            )
        keeps_best = validates if keeps_best is None else keeps_best
        refuse(self.callbacks or (), keeps_best, self.run_dir)
        if self.run_dir is not None:
            check_room(self.run_dir)

    def deciding(self) -> dict[str, Any]:
        """Those that decide how a run ends, as JSON can hold them."""
        named = {f.name: getattr(self, f.name) for f in fields(self)}
        return {k: v for k, v in named.items() if k not in UNDECIDING}


@dataclass(frozen=True, kw_only=True)
class Settings(CommonSettings):
    """What every fine-tuning is told besides its data.

    Example:

    >>> Settings(epochs=2, learning_rate=3e-5).warmup
    0.1
    """

    epochs: int = 3
    layer_decay: float = 1.0
    r_drop: float = 0.0
    layout: str = "auto"
    seed: int = 0
