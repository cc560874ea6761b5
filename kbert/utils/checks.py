"""Checks of arguments: one for each kind, and what to say.

Each returns the argument in its plain form, a `str`, `int`, `float` or `bool`
of Python, so that NumPy's are taken and JSON can hold what is kept.
"""

from __future__ import annotations

import functools
import inspect
import math
import numbers
import operator
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any
from typing import TypeVar
from typing import cast

from kbert.errors import ConfigError
from kbert.errors import did_you_mean
from kbert.errors import short

Function = TypeVar("Function", bound=Callable[..., Any])
Owner = TypeVar("Owner", bound=type)

# What NumPy's global generator takes.
MOST_SEEDS = 2**32


def check_integer(
    name: str,
    value: Any,
    least: int = 1,
    most: int | None = None,
    why: str = "",
) -> int:
    """An integer of a range; `why` says in words what the range comes from.

    Raises:
        ConfigError: it is none; a `bool` and `3.0` are none, either.

    Example:

    >>> check_integer("epochs", np.int64(3))
    3
    """
    number = None
    if not isinstance(value, bool):
        try:
            number = operator.index(value)
        except TypeError:
            pass
    if number is None or number < least or most is not None and number > most:
        if most is not None:
            expected = f"an integer from {least:,} to {most:,}"
        elif least == 1:
            expected = "a positive integer"
        else:
            expected = f"an integer of {least:,} or more"
        raise _wrong(name, value, expected + why)
    return number


def check_number(
    name: str,
    value: Any,
    least: float = -math.inf,
    most: float = math.inf,
    *,
    above: float = -math.inf,
    below: float = math.inf,
    why: str = "",
) -> float:
    """A finite number of a range.

    Raises:
        ConfigError: it is none; a `bool` and a string are none, either.

    Example:

    >>> check_number("warmup", np.float32(0.5), 0, 1)
    0.5
    """
    good = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if good:
        number: Any = value
        try:
            good = math.isfinite(number) and least <= number <= most
        except OverflowError:  # An integer that no float holds.
            good = False
        good = good and above < number < below
    if not good:
        limits = [
            f"{word} {limit:g}"
            for word, limit in (
                ("at least", least),
                ("above", above),
                ("at most", most),
                ("below", below),
            )
            if math.isfinite(limit)
        ]
        expected = "a number"
        if limits:
            expected += f" {' and '.join(limits)}"
        raise _wrong(name, value, expected + why)
    return value if isinstance(value, int) else float(value)


def check_flag(name: str, value: Any) -> bool:
    """True or False, NumPy's too.

    Raises:
        ConfigError: it is neither; `"false"` and 0 are neither.
    """
    if type(value).__name__ not in ("bool", "bool_"):
        raise _wrong(name, value, "True or False")
    return bool(value)


def check_choice(name: str, value: Any, known: Iterable[str]) -> str:
    """One of some words.

    Raises:
        ConfigError: it is none of them; the message has the nearest.
    """
    known = list(known)
    if not isinstance(value, str) or value not in known:
        raise _wrong(
            name,
            value,
            f"one of {', '.join(known)}",
            did_you_mean(value, known) if isinstance(value, str) else "",
        )
    return value


def check_seed(name: str, value: Any) -> int:
    """A seed, as every generator takes it.

    Raises:
        ConfigError: it is no integer from 0 to 2^32 - 1.
    """
    return check_integer(name, value, 0, MOST_SEEDS - 1)


def check_strings(name: str, value: Any, example: str) -> tuple[str, ...]:
    """A sequence of strings, and not one string, which is a sequence too.

    Args:
        name: of the argument.
        value: what was given.
        example: how it is written.

    Raises:
        ConfigError: it is something else.
    """
    wrong = isinstance(value, str | bytes | Mapping | set | frozenset)
    if wrong or not isinstance(value, Iterable):
        raise _wrong(name, value, f"a list of strings, such as {example}")
    strings = tuple(value)
    for string in strings:
        if not isinstance(string, str):
            raise ConfigError(
                f"`{name}` must be a list of strings, such as {example}. "
                f"Received: {short(string)} ({type(string).__name__}) in it"
            )
    return tuple(map(str, strings))


def check_options(
    what: str, options: Mapping[str, Any], known: Iterable[str]
) -> None:
    """Keyword arguments that exist.

    Args:
        what: what takes them, in words.
        options: those that were given.
        known: names of those that there are.

    Raises:
        ConfigError: one is not known; the message has the nearest.
    """
    known = list(known)
    for name, value in options.items():
        if name not in known:
            raise ConfigError(
                f"Expected arguments of {what}. Received: {name}="
                f"{short(value)}, which is none.{did_you_mean(name, known)} "
                f"Known: {', '.join(known)}."
            )


def suggests(function: Function, what: str | None = None) -> Function:
    """Have a function tell the nearest name of an argument that it lacks.

    Args:
        function: one that takes no further keywords, or it stays as it is.
        what: what people call it; by default its name.

    Raises:
        ConfigError: when it is called, see `check_options`.

    Example:

    >>> suggests(print)("a", seq="")
    Traceback (most recent call last):
    kbert.errors.ConfigError: Expected arguments of `print`. Received: seq='',
    which is none. Did you mean 'sep'? Known: args, sep, end, file, flush.
    """
    parameters = inspect.signature(function).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return function
    what = what or f"`{function.__name__}`"
    known = [name for name in parameters if name not in ("self", "cls")]

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        check_options(what, options, known)
        return function(*args, **options)

    return cast("Function", call)


def suggesting(owner: Owner) -> Owner:
    """A class whose public methods are as `suggests` has them."""
    for name, member in [*vars(owner).items()]:
        what = f"`{owner.__name__ if name == '__init__' else name}`"
        if name.startswith("_") and name != "__init__":
            continue
        if isinstance(member, classmethod):
            member = classmethod(suggests(member.__func__, what))
            setattr(owner, name, member)
        elif inspect.isfunction(member):
            setattr(owner, name, suggests(member, what))
    return owner


def _wrong(name: str, value: Any, expected: str, advice: str = "") -> Exception:
    return ConfigError(
        f"`{name}` must be {expected}. Received: {name}={short(value)}"
        + (f".{advice}" if advice else "")
    )
