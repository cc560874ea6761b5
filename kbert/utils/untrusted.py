"""Opening files that may be hostile.

Nothing outside of the folder is read, and no file decides how much memory or
time reading it takes: every limit is a constant here or beside its format.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from pathlib import PurePosixPath
from typing import Any

from kbert.errors import CheckpointError
from kbert.errors import UnsafeFileError

# Hugging Face's tokenizer.json of 500,000 tokens has 20 MB.
MAX_JSON_BYTES = 64 * 2**20

_POINTER = b"version https://git-lfs.github.com/spec/"

# Names in one message; a hostile file can hold millions.
MAX_NAMED = 500


def member(folder: Path, name: str) -> Path:
    """The path of a file in a folder, which it must not leave.

    A link may lead to another place in the folder or, in a snapshot of the
    Hugging Face Hub's cache, to the blobs of the same repository.

    Args:
        folder: the folder.
        name: of the file, as a configuration may give it; `/` between parts.

    Raises:
        UnsafeFileError: the name or a link leads elsewhere, or it is no
            plain file: a device, a pipe or a folder.
        CheckpointError: there is no such file.

    Example:

    >>> member(Path("model"), "vocab.txt")
    PosixPath('model/vocab.txt')
    """
    parts = PurePosixPath(name).parts
    if (
        not parts
        or name.startswith("/")
        or ".." in parts
        or any(c in name for c in "\\:")
        or not name.isprintable()  # Nor half a surrogate pair, as JSON may.
    ):
        raise UnsafeFileError(
            f"Expected the name of a file in {folder}. Received: {name!r}, "
            f"which leads elsewhere or is no name. Do not use these files."
        )
    path = folder / name
    try:
        real = path.resolve(strict=True)
        mode = real.stat().st_mode
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(
            f"Expected a file {name} in {folder}. Received: {reason}. "
            f"Complete the folder."
        ) from error
    if not any(real.is_relative_to(root) for root in _roots(folder)):
        raise UnsafeFileError(
            f"Expected the file {name} inside of {folder}. Received: a link "
            f"to {real}. Put a copy of the file there if you trust it."
        )
    if not stat.S_ISREG(mode):
        raise UnsafeFileError(
            f"Expected a plain file. Received: {path}, a folder, pipe or "
            f"device. Do not use these files."
        )
    _refuse_pointer(path)
    return path


def _refuse_pointer(path: Path) -> None:
    """Git LFS leaves a few lines in place of a large file."""
    try:
        with open(path, "rb") as file:
            start = file.read(len(_POINTER))
    except OSError:
        return  # Whoever reads the file says so.
    if start == _POINTER:
        raise CheckpointError(
            f"Expected the file itself in {path}. Received: a pointer of Git "
            f"LFS to it, as `git clone` leaves one without git-lfs. Run `git "
            f"lfs pull` in the folder, or fetch it from the Hub by its name."
        )


def has_member(folder: Path, name: str) -> bool:
    """Whether there is something under a name, a broken link too."""
    return os.path.lexists(folder / name)


def _roots(folder: Path) -> list[Path]:
    real = folder.resolve()
    # models--owner--name/snapshots/COMMIT holds links to ../../blobs.
    if real.parent.name == "snapshots":
        return [real, real.parent.parent / "blobs"]
    return [real]


def read_limited(path: Path, limit: int, what: str) -> bytes:
    """The bytes of a file, if they are no more than `limit`.

    Raises:
        UnsafeFileError: the file is larger.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise UnsafeFileError(
            f"Expected {what} of at most {limit:,} bytes in {path}. "
            f"Received: more. Do not use this file."
        )
    return content


def read_json(path: Path, limit: int = MAX_JSON_BYTES) -> Any:
    """What a JSON file holds.

    Raises:
        CheckpointError: it is missing or no JSON.
        UnsafeFileError: it is too large or too deep.
    """
    try:
        return json.loads(read_limited(path, limit, "JSON"))
    except RecursionError as error:
        raise UnsafeFileError(
            f"Expected JSON of a few levels in {path}. Received: brackets in "
            f"brackets without end. Do not use this file."
        ) from error
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"Expected JSON in {path}. Received: {error}. Fetch or save the "
            f"file again."
        ) from error


def read_object(path: Path, limit: int = MAX_JSON_BYTES) -> dict:
    """What a JSON file holds, if that is an object; see `read_json`."""
    value = read_json(path, limit)
    if not isinstance(value, dict):
        raise CheckpointError(
            f"Expected a JSON object in {path}. Received: "
            f"{type(value).__name__}."
        )
    return value


def listed(names: Iterable[str], between: str = "; ") -> str:
    """Names for a message, all of them unless there are very many."""
    names = list(names)
    shown = between.join(ascii(n)[1:-1] for n in names[:MAX_NAMED])
    more = len(names) - MAX_NAMED
    return f"{shown}{between}and {more:,} more" if more > 0 else shown
