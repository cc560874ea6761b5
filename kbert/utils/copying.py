"""Copies in memory: by `copy`, by `pickle` and by joblib.

A copy answers the same, and trains the same: it has the weights, which of them
are frozen, the states of dropout, and where random numbers come from. It
shares nothing with what it was made of; models that share a backbone and are
copied together share its copy.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from kbert.errors import CheckpointError
from kbert.utils.seeding import kept

# What is made anew, out of the rest of a task.
MADE = {
    "backbone": None,
    "model": None,
    "serving_model": None,
    "ngrams": None,
    "_compute": None,
}


def reduced_backbone(backbone: keras.Model) -> tuple:
    """What `__reduce__` of a backbone gives."""
    state = [(np.array(v), v.trainable) for v in backbone.variables]
    return restored_backbone, (type(backbone), backbone.get_config(), state)


def restored_backbone(cls: type, config: dict, state: list) -> keras.Model:
    """The backbone that `reduced_backbone` was of; it draws no numbers."""
    with kept():
        backbone = cls.from_config(config)
    _assign(backbone.variables, state)
    return backbone


def reduced(task: Any) -> tuple:
    """What `__reduce__` of a task gives."""
    built = task.model is not None
    state = {
        "attributes": {k: v for k, v in vars(task).items() if k not in MADE},
        "built": built,
        "policy": task.model.dtype_policy.name if built else None,
        "state": [(np.array(v), v.trainable) for v in _others(task)],
    }
    return restored, (type(task), task.backbone, state)


def restored(cls: type, backbone: keras.Model, state: dict[str, Any]) -> Any:
    """The task that `reduced` was of."""
    task = object.__new__(cls)
    vars(task).update(MADE | {"backbone": backbone})
    attributes = dict(state["attributes"])
    # Building draws numbers, and the copy is to draw what its model would.
    draws = attributes.pop("draws", None)
    vars(task).update(attributes)
    if state["built"]:
        with kept(), _policy(state["policy"]):
            task.build()
    if draws is not None:
        task.draws = draws
    _assign(_others(task), state["state"])
    return task


def _others(task: Any) -> list[keras.Variable]:
    """A task's variables beside the backbone's, in an order that a copy has,
    too."""
    there = {id(variable) for variable in task.backbone.variables}
    found = [] if task.model is None else list(task.model.variables)
    if task.ngrams is not None:
        found += task.ngrams.weights
    return [v for v in found if id(v) not in there]


def _assign(variables: list[keras.Variable], state: list) -> None:
    """Set values, and which of them are trained.

    Raises:
        CheckpointError: they are of other shapes.
    """
    if [tuple(v.shape) for v in variables] != [x.shape for x, _ in state]:
        raise CheckpointError(
            f"Expected to copy a model as kbert makes it. Received: one whose "
            f"layers were changed by hand, or of another version: {len(state)} "
            f"arrays for {len(variables)} variables. Use save and kbert.load."
        )
    for variable, (value, trainable) in zip(variables, state, strict=True):
        variable.assign(value)
        variable.trainable = trainable


@contextlib.contextmanager
def _policy(name: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
