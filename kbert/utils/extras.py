"""Packages that an extra of kbert brings."""

from __future__ import annotations

import importlib
from types import ModuleType

from kbert.errors import ConfigError
from kbert.errors import KbertError
from kbert.utils.version import DISTRIBUTION


def need(
    extra: str,
    *modules: str,
    purpose: str,
    error: type[KbertError] = ConfigError,
) -> ModuleType:
    """Import what an extra brings.

    Args:
        extra: its name in pyproject.toml.
        modules: what to import, one or more.
        purpose: what takes them, in words.
        error: what to raise.

    Returns:
        The first of the modules.

    Raises:
        KbertError: as `error` says; one is not installed, and the message
            says how to install it.

    Example:

    >>> need("parquet", "pyarrow.parquet", purpose="Parquet").__name__
    'pyarrow.parquet'
    """
    found = []
    for module in modules:
        try:
            found.append(importlib.import_module(module))
        except ImportError as cause:
            raise error(
                f"Expected the package {module.partition('.')[0]!r} for "
                f"{purpose}. Received: {cause}. Install it: pip install "
                f"'{DISTRIBUTION}[{extra}]'."
            ) from cause
    return found[0]
