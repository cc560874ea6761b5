"""The folder of a model that is served, which holds its versions.

    DIR/1
    DIR/2

Reference: TF Serving's file_system_storage_path_source.cc, where a version
is an int64 of 0 or more.
"""

from __future__ import annotations

import re
from pathlib import Path

# The largest int64.
MAX_VERSION = 2**63 - 1


def version_number(name: str) -> int | None:
    """The version that a folder's name says; None for any other name.

    Example:

    >>> version_number("12"), version_number("007"), version_number("v1")
    (12, 7, None)
    """
    if not re.fullmatch("[0-9]+", name):  # Not every script's digits.
        return None
    number = int(name)
    return number if number <= MAX_VERSION else None


def version_folders(path: Path) -> dict[int, Path]:
    """The versions in a folder, oldest first.

    Raises:
        OSError: it cannot be read.
    """
    found: dict[int, Path] = {}
    for entry in sorted(path.iterdir()):
        number = version_number(entry.name)
        # "007" is version 7 too; the first name stands. A link that leads
        # nowhere now may lead to its folder again in a moment.
        if number is not None and (
            entry.is_dir() or entry.is_symlink() and not entry.exists()
        ):
            found.setdefault(number, entry)
    return {number: found[number] for number in sorted(found)}
