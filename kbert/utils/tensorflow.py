"""Starts TensorFlow: quickly, and with its messages off the terminal."""

import contextlib
import gc
import json
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kbert.utils.registration import later

LEVEL = "TF_CPP_MIN_LOG_LEVEL"

# What C++ logs before it is told how much to log; other lines are shown.
_LOGGED = re.compile(
    rb"[IWE]\d{4} \d\d:\d\d:|WARNING: All log messages before absl::"
)


@contextlib.contextmanager
def left_out(*names: str) -> Iterator[None]:
    """Modules that cannot be imported in here, unless they were before."""
    new = [name for name in names if name not in sys.modules]
    known: dict[str, Any] = sys.modules
    known.update(dict.fromkeys(new))
    try:
        yield
    finally:
        for name in new:
            sys.modules.pop(name, None)


@contextlib.contextmanager
def _never_collected() -> Iterator[None]:
    """What is made in here is for good: nobody looks through it for garbage.

    Of a million objects that takes half a second while they are made, and
    as long again when the process ends.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if enabled:
            gc.enable()


def _import() -> None:
    # Imported by Keras and TensorFlow only because they are installed: for
    # galleries, data frames, wrappers and converters. That is much of the
    # time to start, and kbert has no use for them there.
    unused = ["matplotlib", "pandas", "sklearn"]
    if _backend() == "tensorflow":
        unused.append("jax")
    # Classes are registered when all modules may be imported again.
    with later(), _never_collected():
        with left_out(*unused):
            import tensorflow  # noqa: F401  It imports Keras, too.
        import tensorflow_text  # noqa: F401


def _backend() -> str:
    """The backend that Keras will have, as `keras.src.backend.config`."""
    if "KERAS_BACKEND" in os.environ:
        return os.environ["KERAS_BACKEND"]
    home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    try:
        return json.loads((home / "keras.json").read_text())["backend"]
    except (OSError, ValueError, LookupError, TypeError):
        return "tensorflow"


def import_tensorflow() -> None:
    """Import TensorFlow and Keras, quickly and without messages.

    Its C++ side greets on every start (oneDNN, CUDA drivers) before it reads
    the variable that should silence it, so standard error is held back
    during the import. Nothing is held back if the user has set
    `TF_CPP_MIN_LOG_LEVEL`, and everything is shown if the import fails.
    """
    if "tensorflow" in sys.modules:
        return
    if LEVEL in os.environ:
        _import()
        return
    os.environ[LEVEL] = "3"
    # Its Python side advises on retracing, which no user of a command can cure.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        stderr = os.dup(2)
    except OSError:  # It is closed: nothing to keep clean.
        _import()
        return
    failed = True
    with tempfile.TemporaryFile() as held:
        _flush()
        os.dup2(held.fileno(), 2)
        try:
            _import()
            failed = False
        finally:
            _flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            for line in held:
                if failed or not _LOGGED.match(line):
                    os.write(2, line)


def _flush() -> None:
    if sys.stderr is not None:  # It was closed, and the number given away.
        sys.stderr.flush()
