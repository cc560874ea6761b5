"""Folders that appear whole or not at all."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
from collections.abc import Iterable
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kbert.errors import CheckpointError
from kbert.errors import listed
from kbert.utils.paths import real_path
from kbert.utils.scratch import PREFIX
from kbert.utils.scratch import check_room
from kbert.utils.scratch import flush
from kbert.utils.scratch import scratch_file
from kbert.utils.scratch import scratch_folder

# Of fcntl.h and linux/fs.h.
AT_FDCWD = -100
RENAME_EXCHANGE = 2

# What the folder of a saved model is known by, and all that any save writes
# into one.
CONFIG = "kbert.json"
SAVED = (
    *(CONFIG, "config.json", "model.safetensors"),
    *("vocab.txt", "tokenizer_config.json"),
    *("modules.json", "sentence_bert_config.json"),
    *("config_sentence_transformers.json", "1_Pooling", "2_Normalize"),
    # Of embedders with layers after the pooling.
    *(f"{number}_Dense" for number in range(2, 10)),
)

# What is in those of them that are folders, by whoever wrote them.
INSIDE = ("config.json", "model.safetensors", "pytorch_model.bin")


@contextmanager
def new_folder(
    target: str | os.PathLike,
    replace: bool = False,
    ours: Iterable[str] | None = None,
) -> Iterator[Path]:
    """A temporary folder beside `target` that becomes `target` at the end.

    Everything in it is flushed to the disk before it is renamed. If the
    block fails, `target` is as it was and the temporary folder is gone. A
    link is followed: what it leads to is made.

    Args:
        target: the folder to make.
        replace: whether an existing `target` gives way; it is removed only
            after the new one stands in its place.
        ours: names that the caller writes into such folders. What has
            another name stays in `target`. If None, a `target` that holds
            something else than the new folder is refused.

    Raises:
        CheckpointError: the folder cannot be written (no room, no right), or
            exists and may not be replaced.

    Example:

    >>> with new_folder(Path("out")) as folder:
    ...     (folder / "labels.txt").write_text("ham\\nspam\\n")
    """
    target = real_path(target)
    _check_target(target, replace, ours or ())
    with _writing(target), scratch_folder(target.parent) as temporary:
        yield temporary
        names = [path.name for path in temporary.iterdir()]
        if replace and ours is None:
            check_replaceable(target, names)
        flush_tree(temporary)
        if target.exists() and replace:
            shutil.copymode(target, temporary)
            _carry_over(target, temporary, {*names, *(ours or ())})
        _move(temporary, target, replace)


def _check_target(target: Path, replace: bool, ours: Iterable[str]) -> None:
    """Refuse, before anything is written, what cannot be replaced."""
    if not os.path.lexists(target):
        return
    links = [name for name in ours if (target / name).is_symlink()]
    found = None
    if not target.is_dir():
        found = "is a file"
    elif not replace:
        found = "exists already"
    elif os.path.ismount(target):
        found = "is the root of a disk or volume; take a folder in it"
    elif not os.access(target, os.W_OK):
        found = "is read-only"
    elif _is_here(target):
        found = "is the folder you are in, or around it; leave it first"
    elif links:
        found = f"has links in it, which would be lost: {_few(links)}"
    if found:
        raise CheckpointError(
            f"Expected to write {target}. Received: a place that {found}. "
            f"Nothing there has changed; choose another place."
        )


def _is_here(folder: Path) -> bool:
    """Whether this process would be left in a folder that is gone."""
    try:
        return Path.cwd().is_relative_to(folder)
    except OSError:  # It is in one already.
        return False


def _carry_over(old: Path, new: Path, ours: Iterable[str]) -> None:
    """Give a new folder what the old one holds beside its own."""
    for entry in old.iterdir():
        if entry.name in ours:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.copytree(
                entry, new / entry.name, symlinks=True, copy_function=_link
            )
        else:
            _link(entry, new / entry.name)
    for parent, _, _ in os.walk(new):
        flush(Path(parent))


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # Not every file system can.
        shutil.copy2(source, target, follow_symlinks=False)


def check_replaceable(target: Path, names: Iterable[str]) -> None:
    """Check that nothing is lost if a folder of these names replaces another.

    Args:
        target: what is replaced; it need not exist.
        names: of the files and folders in the new folder.

    Raises:
        CheckpointError: `target` is a file, or holds something of another
            name.
    """
    target, names = real_path(target), list(names)
    _check_target(target, True, names)
    if not target.exists():
        return
    if others := {p.name for p in target.iterdir()} - set(names):
        raise CheckpointError(
            f"Expected a new folder, or one that holds nothing but "
            f"{_few(names)}, to replace. Received: {target}, which holds "
            f"{_few(others)} too. Nothing there has changed; choose "
            f"another place."
        )


def check_saved(target: str | os.PathLike) -> None:
    """Check that a saved model may be written to `target`.

    Args:
        target: missing, an empty folder, or the folder of a saved model,
            which gives way.

    Raises:
        CheckpointError: it is something else, or cannot be written.
    """
    target = real_path(target)
    _check_target(target, True, SAVED)
    if target.exists() and not (target / CONFIG).is_file():
        if others := [path.name for path in target.iterdir()]:
            raise CheckpointError(
                f"Expected a new folder, or one that kbert saved before. "
                f"Received: {target}, which holds something else: "
                f"{_few(others)}. Choose another place."
            )
    inside = [
        f"{name}/{path.name}"
        for name in SAVED
        if (target / name).is_dir()
        for path in (target / name).iterdir()
        if path.name not in INSIDE
    ]
    if inside:
        raise CheckpointError(
            f"Expected to write {target}. Received: a place that has more in "
            f"it, which would be lost: {_few(inside)}. Move it elsewhere."
        )
    check_room(target.parent)


@contextmanager
def new_file(target: str | os.PathLike) -> Iterator[Path]:
    """A temporary file beside `target` that becomes `target` at the end.

    If the block fails, `target` is as it was and the temporary file is gone.
    A link is followed: the file that it leads to is made.

    Args:
        target: the file to make; one that is there gives way.

    Raises:
        CheckpointError: the file cannot be written (no room, no right).

    Example:

    >>> with new_file(Path("vocab.txt")) as file:
    ...     file.write_text("[PAD]\\n[UNK]\\n")
    """
    target = real_path(target)
    _check_plain(target)
    with _writing(target), scratch_file(target.parent) as temporary:
        yield temporary
        flush(temporary)
        if target.exists():
            shutil.copymode(target, temporary)
        temporary.replace(target)
        flush(target.parent)


def check_file(
    target: str | os.PathLike, sources: Iterable[str | os.PathLike] = ()
) -> None:
    """Check that a file may be written, before what takes long is begun.

    Args:
        target: the file to make.
        sources: files that are read for it, which must not give way.

    Raises:
        CheckpointError: there is something that is no plain file, it is one
            of the sources, or the folder cannot be written.
    """
    target = real_path(target)
    _check_plain(target)
    there = [path for path in sources if os.path.exists(path)]
    if target.exists() and any(map(target.samefile, there)):
        raise CheckpointError(
            f"Expected another file than those that are read. Received: "
            f"{target}, of which nothing would be left. Choose another place."
        )
    check_room(target.parent)


def _check_plain(target: Path) -> None:
    if os.path.lexists(target) and not target.is_file():
        raise CheckpointError(
            f"Expected to write {target}. Received: a place that "
            f"{'is a folder' if target.is_dir() else 'is no plain file'}. "
            f"Choose another place."
        )


def write_file(target: str | os.PathLike, text: str) -> None:
    """Write a text as UTF-8 into a file that appears whole.

    Raises:
        CheckpointError: the file cannot be written.
    """
    with new_file(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"Expected to write {target}. Received: {error}. Nothing that "
            f"was there has changed; make room or choose another place."
        ) from error


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
    # In sight, and never swept: after a kill it may be all there is.
    number = one.name.removeprefix(PREFIX)
    old = other.with_name(f"{other.name}.old-{number}")
    other.rename(old)
    try:
        one.rename(other)
    except BaseException:  # A Ctrl-C, too.
        old.rename(other)
        raise
    old.rename(one)


def flush_tree(folder: Path) -> None:
    """Flush every file and folder under `folder` to the disk."""
    for parent, _, names in os.walk(folder):
        for name in names:
            flush(Path(parent, name))
        flush(Path(parent))


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _few(names: Iterable[str]) -> str:
    return listed(sorted(names), 5)
