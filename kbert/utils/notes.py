"""Where progress and remarks go: standard error, come what may."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

from rich.console import Console


class _StandardError:
    """`sys.stderr`, but that writing to it never fails.

    On a full disk or a closed pipe a line is lost; the work that it is about
    is worth more.
    """

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


def notes(quiet: bool = False, **options: Any) -> Console:
    """A console on standard error.

    Args:
        quiet: whether to print nothing.
        **options: `rich.console.Console`'s.
    """
    file: Any = _StandardError()
    return Console(file=file, highlight=False, quiet=quiet, **options)
