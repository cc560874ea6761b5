"""What users give for several tasks, by the names of the tasks."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from typing import Any

from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.errors import UnknownNameError
from kbert.errors import short


def by_task(
    what: str, values: Any, tasks: Collection[str], every: bool = False
) -> dict[str, Any]:
    """A dict of task names to anything, checked; an empty one for None."""
    if values is None and not every:
        return {}
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"`{what}` must be a dict with the names of tasks "
            f"({', '.join(tasks)}). Received: {short(values)}"
        )
    for name in values:
        if name not in tasks:
            raise UnknownNameError("task", str(name), tasks, f"See `{what}`.")
    if every and (missing := [name for name in tasks if name not in values]):
        raise ConfigError(
            f"`{what}` must have each of {', '.join(tasks)}. Received: one "
            f"without {', '.join(missing)}"
        )
    return dict(values)


@contextmanager
def naming(task: str) -> Iterator[None]:
    """Errors about a task's data begin with its name."""
    try:
        yield
    except (InputError, ConfigError) as error:
        raise type(error)(f"Task {task!r}: {error}") from error
