"""Folders that appear whole or not at all."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kbert.errors import CheckpointError

# Of fcntl.h and linux/fs.h.
AT_FDCWD = -100
RENAME_EXCHANGE = 2


@contextmanager
def new_folder(
    target: Path, replace: bool = False, whole: bool = False
) -> Iterator[Path]:
    """A temporary folder beside `target` that becomes `target` at the end.

    Everything in it is flushed to the disk before it is renamed. If the
    block fails, `target` is as it was and the temporary folder is gone.

    Args:
        target: the folder to make.
        replace: whether an existing `target` gives way; it is removed only
            after the new one stands in its place.
        whole: whether it gives way with whatever it holds, as a folder that
            the caller knows for its own; else see `check_replaceable`.

    Raises:
        CheckpointError: the folder cannot be written (no room, no right), or
            exists and may not be replaced.

    Example:

    >>> with new_folder(Path("out")) as folder:
    ...     (folder / "labels.txt").write_text("ham\\nspam\\n")
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(
            tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent)
        )
        temporary.chmod(0o755)  # mkdtemp's 0700 would hide it from a server.
    except OSError as error:
        raise _cannot_write(target, error) from error
    try:
        yield temporary
        if replace and not whole:
            check_replaceable(target, [p.name for p in temporary.iterdir()])
        flush_tree(temporary)
        _move(temporary, target, replace)
    except OSError as error:
        raise _cannot_write(target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_replaceable(target: Path, names: Iterable[str]) -> None:
    """Check that nothing is lost if a folder of these names replaces another.

    Args:
        target: what is replaced; it need not exist.
        names: of the files and folders in the new folder.

    Raises:
        CheckpointError: `target` is a file, or holds something of another
            name.
    """
    if not target.exists():
        return
    found = ""
    if not target.is_dir():
        found = "is a file"
    elif others := {p.name for p in target.iterdir()} - set(names):
        found = f"holds {_listed(others)} too"
    if found:
        raise CheckpointError(
            f"Expected a new folder, or one that holds nothing but "
            f"{_listed(names)}, to replace. Received: {target}, which "
            f"{found}. Nothing there has changed; choose another place."
        )


def check_saved(target: Path, file: str) -> None:
    """Check that a saved model may be written to `target`.

    Args:
        target: missing, an empty folder, or the folder of a saved model,
            which gives way.
        file: what the folder of a saved model holds.

    Raises:
        CheckpointError: it is something else.
    """
    if target.exists() and not (target / file).is_file():
        if not target.is_dir() or any(target.iterdir()):
            raise CheckpointError(
                f"Expected a new folder, or one that kbert saved before. "
                f"Received: {target}, which holds something else."
            )


def _listed(names: Iterable[str], most: int = 5) -> str:
    names = sorted(names)
    more = [f"{len(names) - most} more"] if len(names) > most else []
    return ", ".join(names[:most] + more)


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """A temporary file beside `target` that becomes `target` at the end.

    If the block fails, `target` is as it was and the temporary file is gone.

    Args:
        target: the file to make; one that is there gives way.

    Raises:
        CheckpointError: the file cannot be written (no room, no right).

    Example:

    >>> with new_file(Path("vocab.txt")) as file:
    ...     file.write_text("[PAD]\\n[UNK]\\n")
    """
    temporary = target.with_name(f".{target.name}-{os.getpid()}")
    try:
        # What fails, fails now and not after hours.
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        if target.is_dir():
            temporary.unlink()
            raise IsADirectoryError(f"{target} is a folder")
    except OSError as error:
        raise _cannot_write(target, error) from error
    try:
        yield temporary
        flush(temporary)
        temporary.replace(target)
        flush(target.parent)
    except OSError as error:
        raise _cannot_write(target, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _cannot_write(target: Path, error: OSError) -> CheckpointError:
    return CheckpointError(
        f"Expected to write {target}. Received: {error}. Nothing that was "
        f"there has changed; make room or choose another place."
    )


def _move(temporary: Path, target: Path, replace: bool) -> None:
    if not target.exists():
        temporary.rename(target)
    elif replace:
        _exchange(temporary, target)
    else:
        raise FileExistsError(f"{target} exists already")
    flush(target.parent)


def _exchange(one: Path, other: Path) -> None:
    """Swap two folders; on Linux in one step, which no kill can halve."""
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "renameat2"):
        names = os.fsencode(one), os.fsencode(other)
        if not libc.renameat2(
            AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE
        ):
            return
        # Some file systems cannot; what else is wrong shows below too.
    old = one.with_name(f"{one.name}.old")
    other.rename(old)
    try:
        one.rename(other)
    except OSError:
        old.rename(other)
        raise
    old.rename(one)


def flush_tree(folder: Path) -> None:
    """Flush every file and folder under `folder` to the disk."""
    for parent, _, names in os.walk(folder):
        for name in names:
            flush(Path(parent, name))
        flush(Path(parent))


def flush(path: Path) -> None:
    """Flush one file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
