"""`check_head`: does a task head do what kbert expects of one?

For authors of plugins, in the manner of scikit-learn's `check_estimator`.
"""

from __future__ import annotations

import inspect
import random
import re
from typing import Any

import numpy as np

from kbert.errors import InputError
from kbert.heads.base import Head
from kbert.plugins import Registered
from kbert.plugins import get_plugins
from kbert.testing.checks import check_model
from kbert.testing.checks import check_round_trip
from kbert.testing.checks import expect
from kbert.testing.checks import stage


def check_head(
    head_class: type[Head],
    labels: tuple[str | int, ...] | None = ("no", "yes"),
    data: tuple[list, list] | None = None,
    **options: Any,
) -> None:
    """Check a task head on a tiny backbone with random weights.

    The head need not be registered. Nothing is downloaded, and the seeds of
    Python, NumPy and the backend are set. What is checked: the name, the
    configuration through JSON, the labels, the loss before and after a few
    steps of `fit`, the answers of `serve`, `calibrate` and `report`, saving
    and loading, and on the TensorFlow backend the exported SavedModel: its
    answers, and that TF Serving 2.12.1 and 2.18.0 have its ops.

    Args:
        head_class: a `kbert.Head` subclass.
        labels: labels of the toy data, in the head's order; None for a head
            that has none.
        data: toy data `(x, y)` for a head that learns from something else
            than one label a row: a few dozen rows, as `fit` takes them, in
            which a letter of the text tells what to learn.
        **options: arguments of the head.

    Raises:
        AssertionError: the head breaks a rule. The message says what was
            expected, what was received and what to do.

    Example:

    >>> from kbert.testing import check_head
    >>> def test_head():
    ...     check_head(MyHead, labels=("ham", "spam"), pooling="cls")
    """
    named: Any = None if labels is None else list(labels)
    try:
        _check_class(head_class)
        _check_config(head_class, named, options)
        if data is None:
            expect(
                named is not None,
                "labels or data to try the head on",
                "neither",
                "Pass toy `data` for a head that has no labels.",
            )
            _check_labels(head_class, named, options)
        else:
            _check_data(head_class, data, named, options)
        heads = get_plugins().heads
        taken = dict(heads.items()).get(head_class.name)
        if taken is not None:
            _check_free(head_class, taken)
        # Lent, since loading a model looks its head up by name.
        entry = Registered(head_class, "under test", "0")
        with heads.lend(head_class.name, entry):
            check_model(head_class, data, labels, options)
    except AssertionError as error:
        name = getattr(head_class, "__name__", repr(head_class))
        raise AssertionError(f"{name}: {error}") from error.__cause__


def _check_class(head_class: Any) -> None:
    expect(
        isinstance(head_class, type) and issubclass(head_class, Head),
        "a class that derives from kbert.Head",
        repr(head_class),
        "Pass the class itself, not an instance.",
    )
    name = getattr(head_class, "name", None)
    expect(
        isinstance(name, str) and re.fullmatch(r"[a-z][a-z0-9_-]*", name),
        "a `name` of lower-case letters, digits, '-' and '_'",
        f"name={name!r}",
        "Set the class attribute: it is what Classifier(head=...) takes.",
    )
    inputs = head_class.inputs
    expect(
        isinstance(inputs, tuple)
        and len(set(inputs)) == len(inputs) in (1, 2)
        and all(isinstance(n, str) and n.isidentifier() for n in inputs),
        "`inputs` to be a tuple of one or two different names",
        f"inputs={inputs!r}",
        "They become argument names: inputs = ('text',).",
    )
    expect(
        head_class.truncation in ("head", "head_tail"),
        "`truncation` to be 'head' or 'head_tail'",
        f"truncation={head_class.truncation!r}",
        "See kbert.Tokenizer.",
    )
    expect(
        isinstance(head_class.monitor, tuple)
        and len(head_class.monitor) == 2
        and head_class.monitor[1] in ("max", "min"),
        "`monitor` to be a metric's name and 'max' or 'min'",
        f"monitor={head_class.monitor!r}",
        "For example ('val_loss', 'min').",
    )


def _check_free(head_class: type[Head], taken: Registered) -> None:
    # A module that was imported twice has the same head as two classes.
    mine, other = (
        (c.__module__, c.__qualname__) for c in (head_class, taken.value)
    )
    expect(
        mine == other,
        "a `name` that no other head has",
        f"name={head_class.name!r}, which is {taken.value.__qualname__} of "
        f"{taken.plugin} {taken.version}",
        "Give the head a name of its own.",
    )


def _check_config(head_class, labels: list, options: dict) -> None:
    with stage(
        "the constructor",
        "It takes labels=None and options that have defaults.",
    ):
        empty = head_class(**options)
        given = head_class(labels=labels and list(labels), **options)
    expect(
        given.labels == labels,
        f"labels={labels} to be kept in that order",
        given.labels,
        "Pass `labels` on to super().__init__.",
    )
    parameters = inspect.signature(head_class).parameters.values()
    named = {
        p.name
        for p in parameters
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    }
    missing = named - set(empty.get_config())
    expect(
        not missing,
        "get_config to hold every argument of the constructor",
        f"no {', '.join(sorted(missing))}",
        "Return super().get_config() | {'argument': self.argument}.",
    )
    check_round_trip(empty, "")
    check_round_trip(given, " with labels")


def _check_labels(head_class, labels: list, options: dict) -> None:
    y = labels * 3
    heads = [head_class(**options) for _ in range(2)]
    with stage("adapt", f"It learns from labels such as {labels}."):
        heads[0].adapt(list(y))
        heads[1].adapt(random.Random(1).sample(y, len(y)))
    expect(
        heads[0].labels == heads[1].labels,
        "adapt to learn the same labels from the same rows in any order",
        f"{heads[0].labels} and {heads[1].labels}",
        "Sort them, as kbert.Head.adapt does.",
    )
    expect(
        isinstance(heads[0].labels, list) and set(heads[0].labels) == set(y),
        f"adapt to set `labels` to the list of {labels}",
        heads[0].labels,
        "Pass labels= to check_head if the head needs others.",
    )
    check_round_trip(heads[0], " after adapt")
    with stage("encode", "It takes any list of the labels."):
        targets = heads[0].encode(y)
    _check_targets(targets, y)
    unseen = "never seen" if isinstance(labels[0], str) else max(labels) + 1
    try:
        heads[0].encode([*y, unseen])
    except InputError:
        return
    except Exception as error:
        received = f"{type(error).__name__}: {error}"
    else:
        received = "no error"
    expect(
        False,
        "encode to raise kbert.errors.InputError for a label that adapt has "
        "not seen",
        received,
        "Call super().encode, or check the labels.",
    )


def _check_data(head_class, data: tuple, labels, options: dict) -> None:
    x, y = data
    expect(
        isinstance(x, list) and isinstance(y, list) and len(x) == len(y) > 1,
        "`data` to be a list of rows and a list with as many to learn",
        f"{type(x).__name__} and {type(y).__name__}",
        "Give them as `fit` takes them.",
    )
    heads = [head_class(**options) for _ in range(2)]
    orders = [
        list(range(len(y))),
        random.Random(1).sample(range(len(y)), len(y)),
    ]
    with stage("texts, read and adapt", "They take rows in any order."):
        for head, order in zip(heads, orders, strict=True):
            columns = head.texts([x[i] for i in order], head.inputs)
            known = head.read([y[i] for i in order], columns)
            head.adapt(known)
    expect(
        heads[0].ready and heads[0].labels == heads[1].labels == labels,
        f"adapt to learn the labels {labels} from the same rows in any order",
        f"{heads[0].labels} and {heads[1].labels}",
        "Sort them, as kbert.Head.adapt does.",
    )
    check_round_trip(heads[0], " after adapt")
    with stage("encode", "It takes what read gave."):
        targets = heads[1].encode(known)
    if isinstance(targets, np.ndarray):
        _check_targets(targets, y)
    expect(
        len(targets) == len(y),
        f"encode to give {len(y)} targets",
        len(targets),
        "Return one target a row.",
    )


def _check_targets(targets: np.ndarray, y: list) -> None:
    expect(
        isinstance(targets, np.ndarray)
        and targets.dtype.kind in "iuf"
        and len(targets) == len(y)
        and np.isfinite(targets).all(),
        f"encode to give an array of {len(y)} finite targets",
        repr(targets),
        "Return one int or float target a row.",
    )
