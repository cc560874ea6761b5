"""Keeps TensorFlow's start-up messages off the terminal."""

import logging
import os
import re
import sys
import tempfile

LEVEL = "TF_CPP_MIN_LOG_LEVEL"

# What C++ logs before it is told how much to log; other lines are shown.
_LOGGED = re.compile(
    rb"[IWE]\d{4} \d\d:\d\d:|WARNING: All log messages before absl::"
)


def import_tensorflow() -> None:
    """Import TensorFlow without its messages.

    Its C++ side greets on every start (oneDNN, CUDA drivers) before it reads
    the variable that should silence it, so standard error is held back
    during the import. Nothing is held back if the user has set
    `TF_CPP_MIN_LOG_LEVEL`, and everything is shown if the import fails.
    """
    if LEVEL in os.environ or "tensorflow" in sys.modules:
        return
    os.environ[LEVEL] = "3"
    # Its Python side advises on retracing, which no user of a command can cure.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        stderr = os.dup(2)
    except OSError:
        return  # It is closed: nothing to keep clean.
    failed = True
    with tempfile.TemporaryFile() as held:
        sys.stderr.flush()
        os.dup2(held.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
            import tensorflow_text  # noqa: F401

            failed = False
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            for line in held:
                if failed or not _LOGGED.match(line):
                    os.write(2, line)
