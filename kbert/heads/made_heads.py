"""Heads of classifiers, made by their names."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

from kbert.errors import ConfigError
from kbert.heads.base import Head
from kbert.plugins import Registered
from kbert.plugins import get_plugins
from kbert.utils.checks import check_options


def classifier_head(name: str) -> Registered:
    """What the registry says of a classifier's head.

    Raises:
        UnknownNameError: there is no such head.
        ConfigError: it is no classifier's.
    """
    registered = get_plugins().heads.get(name)
    if registered.value.model_class != "Classifier":
        raise ConfigError(
            f"Head {name!r} is not a classifier's. Use "
            f"kbert.{registered.value.model_class}."
        )
    return registered


def make_head(
    name: str,
    told: Mapping[str, Any],
    options: Mapping[str, Any],
    others: Iterable[str] = (),
) -> Head:
    """A head by its name, with what a checkpoint says of it if it can be told.

    Args:
        name: of the head.
        told: the options that the checkpoint says.
        options: those that were given, which go before.
        others: what else might have been meant by one that is not known.

    Raises:
        UnknownNameError: there is no such head.
        ConfigError: it is no classifier's, or refuses its options.
    """
    head = classifier_head(name).value
    known = dict.fromkeys([*others, *_options(head)])
    check_options(f"a classifier with the head {name!r}", options, known)
    known = inspect.signature(head).parameters
    told = {k: v for k, v in told.items() if k in known}
    try:
        return head(**{**told, **options})
    except TypeError as error:
        raise ConfigError(f"Head {name!r}: {error}.") from error


def _options(head: type[Head]) -> list[str]:
    """The options of a head, and of those that it passes others on to."""
    names = []
    for base in head.__mro__[:-1]:
        parameters = [*inspect.signature(base).parameters.values()]
        names += [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            break
    return names
