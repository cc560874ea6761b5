"""Checks of what `fit` takes besides data, by the names of its arguments."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import keras

from kbert.errors import ConfigError
from kbert.errors import short
from kbert.training.optimizer import RATES
from kbert.utils.checks import check_integer
from kbert.utils.checks import check_number
from kbert.utils.checks import check_options
from kbert.utils.checks import check_seed


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


CHECKS: dict[str, Callable[[str, Any], Any]] = RATES | {
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
    "steps": check_integer,
    "accumulate": check_integer,
    "save_every": check_integer,
    "validation_steps": check_integer,
}


def checked(what: str, *others: str) -> Callable:
    """Have the arguments of a function checked before it is called.

    Those that have a name in `CHECKS` come as that gives them; None is taken
    where it is the default.

    Args:
        what: what people call the function.
        others: what its caller takes besides.

    Raises:
        ConfigError: there is no argument of that name, or it is no such
            value; the message has the nearest name.
    """

    def check(function: Callable) -> Callable:
        parameters = inspect.signature(function).parameters
        known = [*others, *parameters]
        # The model itself is no argument of the method that people call.
        known.remove([*parameters][0])

        def plain(name: str, value: Any) -> Any:
            optional = value is None and parameters[name].default is None
            return (
                CHECKS[name](name, value)
                if name in CHECKS and not optional
                else value
            )

        @functools.wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            check_options(what, options, known)
            args = [*map(plain, parameters, args), *args[len(parameters) :]]
            options = {k: plain(k, value) for k, value in options.items()}
            return function(*args, **options)

        return call

    return check
