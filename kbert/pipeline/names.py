"""Names that models have: of the texts of a row, and of tasks.

They become those of an exported signature's tensors and of signatures, which
TensorFlow wants as arguments of a function, told apart without case.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

from kbert.errors import ConfigError
from kbert.errors import short
from kbert.utils.checks import check_strings

if TYPE_CHECKING:
    from kbert.heads.base import Head

NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)
RULE = "letters (a to z), digits and _, and begin with a letter"

# What TensorFlow itself calls an argument.
TAKEN = ("self",)

# Answers of most heads; a row of a file of answers has texts and answers.
ANSWERS = ("score", "probabilities")


def check_name(what: str, name: Any) -> str:
    """A name that TensorFlow takes.

    Args:
        what: of what, for messages.
        name: what was given.

    Raises:
        ConfigError: it is none.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigError(
            f"The name of {what} must be of {RULE}. Received: {short(name)}"
        )
    return str(name)


def default_inputs(head: type[Head] | Head, width: int) -> tuple[str, ...]:
    """Names of so many texts of a row, if none are given.

    Example:

    >>> default_inputs(ClassificationHead, 2)
    ('text', 'text_pair')
    """
    if len(head.inputs) == 1 and width == 2 and not head.by_token:
        return (head.inputs[0], f"{head.inputs[0]}_pair")
    return head.inputs


def check_inputs(
    inputs: Sequence[str] | None, head: type[Head] | Head
) -> tuple[str, ...]:
    """Names of the texts of a row; those of the head for None.

    Raises:
        ConfigError: they are not one or two names, differ in case only, are
            not as many as the head needs, or are those of its answers.
    """
    if inputs is None:
        return head.inputs
    names = check_strings("inputs", inputs, "('text',)")
    # Heads that answer tokens know which text is which.
    counts = (1, 2) if not head.by_token else (len(head.inputs),)
    if len(names) not in counts:
        raise ConfigError(
            f"`inputs` must be {' or '.join(map(str, counts))} name(s) for the "
            f"head {head.name!r}, as {', '.join(head.inputs)} are. Received: "
            f"inputs={short(names)}"
        )
    names = tuple(check_name("an input", name) for name in names)
    for name in names:
        if keyword.iskeyword(name) or name in TAKEN:
            raise ConfigError(
                f"The name of an input must be no word of Python's own. "
                f"Received: {name!r}. Choose another, such as "
                f"{name + '_text'!r}"
            )
    if len({name.casefold() for name in names}) < len(names):
        raise ConfigError(
            f"`inputs` must be names that differ. Received: inputs={names!r}"
        )
    answers = (head.answer_output, *head.label_outputs, *ANSWERS)
    refuse_answers(names, dict.fromkeys(answers), head)
    return names


def refuse_answers(
    inputs: Iterable[str], answers: Iterable[str], head: type[Head] | Head
) -> None:
    """Raise `ConfigError` if an input has the name of an answer.

    Those that the head itself has for its texts are as it wants them.
    """
    for name in inputs:
        if name in answers and name not in head.inputs:
            raise ConfigError(
                f"The names of inputs must be none of the answers of the head "
                f"{head.name!r}: {', '.join(answers)}. Received: {name!r}"
            )


def fit_inputs(
    columns: Sequence[str], head: type[Head] | Head
) -> tuple[str, ...]:
    """Names of inputs for a file's columns: theirs, or the usual ones.

    Raises:
        ConfigError: the head does not take so many texts.

    Example:

    >>> fit_inputs(("#1 String", "#2 String"), ClassificationHead)
    ('text', 'text_pair')
    """
    try:
        return check_inputs(columns, head)
    except ConfigError:
        usual = default_inputs(head, len(columns))
        if len(usual) != len(columns):
            raise
        return usual
