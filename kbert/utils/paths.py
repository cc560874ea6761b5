"""Paths as users give them, checked before they cost anything."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from kbert.errors import CheckpointError
from kbert.errors import short


def as_path(path: Any) -> Path:
    """A path that a file or folder can have.

    Args:
        path: `str` or `os.PathLike`; there need not be anything.

    Raises:
        CheckpointError: no file can have such a name: it is empty, too long,
            a URL, has a zero byte in it, or leads through a ring of links.

    Example:

    >>> as_path("saved_models/spam")
    PosixPath('saved_models/spam')
    """
    try:
        name = os.fsdecode(path)
        # The system knows best what it takes.
        os.stat(name or "\0")
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass  # It can be there, and is not, or we may not look.
    except (OSError, TypeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        if path in ("", b""):
            reason = "it is empty"
        raise CheckpointError(
            f"Expected the path of a file or folder. Received: "
            f"{short(path)}: {reason}. Choose another."
        ) from error
    # It would become a folder of that name here. `Path` leaves one slash.
    if re.match("[A-Za-z][A-Za-z0-9+.-]+:/", name):
        raise CheckpointError(
            f"Expected the path of a file or folder. Received: {short(name)}: "
            f"it is a URL. Choose a folder of this machine."
        )
    return Path(name)


def real_path(path: Any) -> Path:
    """The same, and where it leads: a link is followed, not replaced."""
    return Path(os.path.realpath(as_path(path)))
