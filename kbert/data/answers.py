"""What a model's outputs are to people, decided here for every way to ask.

`Classifier.predict`, `OnnxModel`, the command, `Client` and batch scoring all
make their answers of arrays `(rows, ...)` by what the outputs are called, so
that a client who has no head at hand says the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import numpy as np

from kbert.errors import ConfigError
from kbert.errors import listed

Arrays = Mapping[str, np.ndarray]

# What `predict` gives of a row: the first of these that it has. A server
# leaves out the name of an output that is alone.
OUTPUTS = ("label", "labels", "entities", "answer", "embedding", "score", "")


def name_labels(
    answers: Arrays, labels: Iterable | None, outputs: Iterable[str]
) -> dict[str, np.ndarray]:
    """Label names in place of the indices in some outputs; "" for -1."""
    names = np.array([*(labels or ()), ""], "object")
    return {
        key: names[value] if key in outputs else value
        for key, value in answers.items()
    }


def decode(values: np.ndarray) -> np.ndarray:
    """An array with `str` for UTF-8 bytes; others as they are."""
    values = np.asarray(values)
    if values.dtype.kind not in "SO":
        return values
    decoded = np.empty(values.size, "object")
    for i, value in enumerate(values.ravel()):
        is_bytes = isinstance(value, bytes)
        decoded[i] = value.decode("utf-8", "ignore") if is_bytes else value
    return decoded.reshape(values.shape)


def columns(answers: Arrays) -> dict[str, np.ndarray]:
    """The answers with what belongs together put together.

    Outputs that are filled up are cut to `count`: `labels` is then a list of
    labels a row; and outputs with a `type` are entities, of which `entities`
    has a list of dicts a row. `labels` keep their `count`.

    Args:
        answers: arrays `(rows, ...)` by output name, with label names.

    Returns:
        Arrays `(rows, ...)`, those of lists of `object`.
    """
    made = {key: decode(value) for key, value in answers.items()}
    if "count" not in made:
        return made
    counts = made["count"].tolist()
    if "type" in made:
        parts = {k: _cut(v, counts) for k, v in made.items() if k != "count"}
        rows = zip(*parts.values(), strict=True)
        entities = [
            [dict(zip(parts, e, strict=True)) for e in zip(*row, strict=True)]
            for row in rows
        ]
        return {"entities": _objects(entities)}
    if "labels" in made:
        made["labels"] = _objects(_cut(made["labels"], counts))
    return made


def rows_of(answers: Arrays) -> list[dict[str, Any]]:
    """The answers of each row, in Python's own numbers and strings.

    Args:
        answers: see `columns`.

    Example:

    >>> rows_of({"label": np.array(["spam"]), "score": np.array([0.5])})
    [{'label': 'spam', 'score': 0.5}]
    """
    made = columns(answers)
    plain = [v.tolist() if v.ndim == 1 else list(v) for v in made.values()]
    return [
        dict(zip(made, row, strict=True)) for row in zip(*plain, strict=True)
    ]


def predictions(answers: Arrays) -> list:
    """What `Classifier.predict` gives, of a model whose head is not at hand.

    Args:
        answers: see `columns`.

    Returns:
        A list with one of: the label, the list of labels, the list of
        entities (a dict each), the answer to a question, a number, a vector.

    Raises:
        ConfigError: the outputs are of no head that kbert has.

    Example:

    >>> predictions({"label": np.array(["spam"]), "score": np.array([0.5])})
    ['spam']
    """
    whole = [name for name, array in answers.items() if not np.ndim(array)]
    rows = [] if whole else rows_of(answers)
    found = [name for name in OUTPUTS if rows and name in rows[0]]
    if not found:
        raise ConfigError(
            "Expected outputs of one of kbert's heads, such as `label`. "
            f"Received: {listed(map(repr, answers))}. Ask `answers` in place "
            f"of `predict`."
        )
    return [row[found[0]] for row in rows]


def _cut(values: np.ndarray, counts: list[int]) -> list[list]:
    pairs = zip(values, counts, strict=True)
    return [np.asarray(row).tolist()[:count] for row, count in pairs]


def _objects(rows: list[list]) -> np.ndarray:
    made = np.empty(len(rows), "object")
    for i, row in enumerate(rows):
        made[i] = row
    return made
