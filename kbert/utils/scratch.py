"""Temporary files and folders beside what they are to become.

Each is locked for as long as its process lives, however that ends. What a
kill has left is not locked, and goes when the next one is made beside it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from kbert.errors import CheckpointError
from kbert.utils.paths import real_path

PREFIX = ".kbert-tmp-"

# Bytes that are written to see whether there is room for any.
TRIAL = 2**16

# Names to try, as another process may sweep what is not locked yet.
TRIES = 100


def scratch_folder(parent: Path) -> AbstractContextManager[Path]:
    """A new folder in `parent`, which is made; removed at the end.

    Raises:
        OSError: it cannot be made.
    """
    return _scratch(parent, _new_folder, _remove_folder)


def scratch_file(parent: Path) -> AbstractContextManager[Path]:
    """The same, of an empty file."""
    return _scratch(parent, _new_file, _remove_file)


@contextlib.contextmanager
def _scratch(
    parent: Path,
    make: Callable[[Path], int],
    remove: Callable[[Path], None],
) -> Iterator[Path]:
    make_folders(parent)
    sweep(parent)
    path, handle = _locked(parent, make)
    try:
        yield path
    finally:
        remove(path)
        os.close(handle)


def _remove_folder(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


def _remove_file(path: Path) -> None:
    path.unlink(missing_ok=True)


def sweep(parent: Path) -> None:
    """Remove what dead processes have left in a folder."""
    for path in parent.glob(f"{PREFIX}[0-9a-f]*[0-9a-f]"):
        # An error means: in use, swept by another process, no locks on this
        # file system, or somebody else's.
        with contextlib.suppress(OSError):
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
            handle = os.open(path, flags)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
            finally:
                os.close(handle)


def check_room(folder: str | os.PathLike) -> None:
    """Try to write in a folder, before what takes long is begun.

    One that is missing is not made: what it would be made in is tried.

    Raises:
        CheckpointError: nothing can be written there.
    """
    # Rights, quotas, full disks, read-only mounts: trying is the only test.
    place = real_path(folder)
    try:
        while not place.exists():
            place = place.parent
        if not place.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{place} is a file")
        with scratch_folder(place) as scratch:
            with open(scratch / "trial", "wb") as file:
                file.write(bytes(TRIAL))
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        raise CheckpointError(
            f"Expected a folder that can be written. Received: {folder}: "
            f"{error.strerror}. Make room or choose another place."
        ) from error


def make_folders(path: Path) -> None:
    """Make a folder and those above it, so that a crash does not lose them.

    Raises:
        OSError: it cannot be made.
    """
    missing = [p for p in (path, *path.parents) if not p.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for made in missing:
        flush(made.parent)


def flush(path: Path) -> None:
    """Flush one file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _new_folder(path: Path) -> int:
    os.mkdir(path)
    return os.open(path, os.O_RDONLY)


def _new_file(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)


def _locked(parent: Path, make) -> tuple[Path, int]:
    for more in reversed(range(TRIES)):
        path = parent / f"{PREFIX}{secrets.token_hex(4)}"
        try:
            handle = make(path)
        except (FileExistsError, FileNotFoundError):
            # The name is taken, or it was swept already; but /proc is so too.
            if more:
                continue
            raise
        # Some network file systems have no locks: nothing is swept there.
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        # Before it was locked, another process may have swept it.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(handle)):
                return path, handle
        os.close(handle)
    raise OSError(errno.EBUSY, f"What is made in {parent} disappears")
