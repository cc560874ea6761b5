"""Labels: what may be one, and when two are one: 1 in JSON is "1" in CSV.

The one rule, for every head, for class weights and for options:

1. A label that is one of the model's, type and all, is that one.
2. 1, 1.0, "1" and "1.0" are one number; true, "true" and "True" are one
   truth, and where there is none the number 1, as in Python. Other strings
   are only themselves: "01" is no number.
3. What may be two of the model's labels, and two that would become one of
   them, are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Set
from typing import Any

import numpy as np

from kbert.data.containers import as_list
from kbert.data.encodings import is_writable
from kbert.data.row_names import row_name
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.errors import short

# Below it a float holds every whole number.
EXACT = 2**53

_NUMBER = re.compile(r"([+-]?(?:0|[1-9][0-9]{0,17}))(?:\.0+)?")
_TRUTHS = {"true": True, "false": False}


def plain(label: Any) -> Any:
    """A label as Python's own `str`, `int` or `bool`, if it can be one."""
    if isinstance(label, np.generic):
        label = label.item()
    # Members of enums and the like, which are strings or integers too.
    if isinstance(label, str) and type(label) is not str:
        return str.__str__(label)
    if isinstance(label, int) and type(label) not in (int, bool):
        return int(label)
    # One gap in a column of integers makes floats of them all.
    if isinstance(label, float) and label.is_integer() and abs(label) < EXACT:
        return int(label)
    return label


def check_labels(labels: list, least: int = 2) -> list:
    """`labels` as a list, if they are `least` or more distinct names.

    Raises:
        ConfigError: labels repeat, have no order, or are not all strings, all
            integers or all booleans, which become 0 and 1.
        InputError: there are fewer.
    """
    unordered = isinstance(labels, str | bytes | Set | Mapping)
    if unordered or not isinstance(labels, Iterable):
        raise ConfigError(
            f"Labels must be a list, in order. Received: "
            f"{short(labels)} ({type(labels).__name__})"
        )
    labels = [plain(label) for label in as_list(labels, "labels")]
    if {type(label) for label in labels} == {bool}:
        labels = [int(label) for label in labels]
    kinds = {type(label) for label in labels}
    if not (kinds <= {str} or kinds <= {int}):
        raise ConfigError(
            "Labels must be all strings or all integers. Received: "
            f"{short(labels)}. Write them in one way, such as with `str`."
        )
    if kinds == {str} and not all(map(is_writable, labels)):
        raise ConfigError(
            f"Labels must be texts that UTF-8 can hold. Received: "
            f"{short(labels)}, with halves of surrogate pairs. Rename them."
        )
    if len(set(labels)) < len(labels):
        raise ConfigError(f"Labels must differ. Received: {short(labels)}")
    if len(labels) < least:
        few = "two different labels" if least == 2 else f"{least} label(s)"
        raise InputError(
            f"Expected at least {few}. Received: {short(labels)}. A "
            f"classifier needs examples of each class."
        )
    return labels


def distinct(y: list) -> list:
    """Labels of rows, each once and sorted, for `check_labels`."""
    # To Python 1 and True are one, and mixed kinds cannot be compared;
    # `check_labels` says so properly.
    return [label for _, label in sorted({(type(x).__name__, x) for x in y})]


class LabelFinder:
    """Finds labels, as people and files write them, among a model's.

    One is for one set of data: it remembers what it was asked.

    Args:
        known: the model's labels.

    Example:

    >>> find = LabelFinder(["0", "1"])
    >>> find(1), find(False), find("2")
    ('1', '0', None)
    """

    def __init__(self, known: Iterable):
        self._exact = {(type(label), label): label for label in known}
        # By what they mean first of all, and by what else they mean.
        self._by_meaning: tuple[dict, dict] = ({}, {})
        for label in self._exact.values():
            for table, meaning in zip(
                self._by_meaning, _meanings(label), strict=False
            ):
                table.setdefault(meaning, []).append(label)
        self._found: dict = {}
        self._given: dict = {}

    def __call__(self, label: Any, row: int | None = None) -> Any:
        """The model's label, or None if it has no such one.

        Args:
            label: what `plain` gives.
            row: number of its row, for messages.

        Raises:
            InputError: it may be two of the model's labels; or it and one
                before, which are not the same, would both be one of them.
        """
        key = (type(label), label)
        if key not in self._found:
            found = self._exact.get(key)
            if found is None:
                found = self._meant(label, row)
            if found is not None:
                other = self._given.setdefault(found, label)
                if (type(other), other) != key:
                    raise InputError(
                        f"Expected the label {short(found)} written in one "
                        f"way. Received: {short(other)}, and "
                        f"{short(label)}{_where(row)}. "
                        f"Write both alike, or train with two labels."
                    )
            self._found[key] = found
        return self._found[key]

    def _meant(self, label: Any, row: int | None) -> Any:
        for meaning in _meanings(label):
            for table in self._by_meaning:
                meant = table.get(meaning, [None])
                if len(meant) > 1:
                    raise InputError(
                        f"Expected a label that is one of the model's. "
                        f"Received: {short(label)}{_where(row)}, which may be "
                        f"{' or '.join(map(short, meant))}. Write it as the "
                        f"model does."
                    )
                if meant[0] is not None:
                    return meant[0]
        return None


def _meanings(label: Any) -> list[tuple]:
    """What a label says besides its letters, the nearest first."""
    if isinstance(label, str):
        truth = _TRUTHS.get(label.lower())
        if truth is None:
            number = _NUMBER.fullmatch(label)
            return [("number", int(number[1]))] if number else []
        label = truth
    if isinstance(label, bool):
        return [("truth", label), ("number", int(label))]
    return [("number", label)] if isinstance(label, int) else []


def _where(row: int | None) -> str:
    return "" if row is None else f" in {row_name(row)}"
