"""What a model's outputs mean, where its head is not at hand."""

from __future__ import annotations

import numpy as np

from kbert.errors import ConfigError


def rows_of(answers: dict[str, np.ndarray]) -> list:
    """The answer for each row, as `Classifier.predict` gives it.

    Args:
        answers: arrays `(rows, ...)` by output name, strings as `str`; a
            single output may have the name "".

    Returns:
        A list with one of: the label, the list of labels, the list of
        entities (a dict each), the answer to a question, a number.

    Raises:
        ConfigError: the outputs are of no head that kbert has.

    Example:

    >>> rows_of({"label": np.array(["spam"]), "score": np.array([0.9])})
    ['spam']
    """
    for name in ("label", "answer"):
        if name in answers:
            return answers[name].tolist()
    if "labels" in answers:
        rows = zip(answers["labels"], answers["count"], strict=True)
        return [list(map(str, labels[:count])) for labels, count in rows]
    if "type" in answers:
        return _entities(answers)
    if answers.keys() <= {"score", ""}:
        (numbers,) = answers.values()
        return numbers.tolist()
    raise ConfigError(
        "Expected outputs of one of kbert's heads, such as `label`. Received: "
        f"{', '.join(answers)}. Ask `answers` in place of `predict`."
    )


def _entities(answers: dict[str, np.ndarray]) -> list[list[dict]]:
    """What is filled up to the most entities of a row, by row and entity."""
    columns = {name: x for name, x in answers.items() if name != "count"}
    return [
        [
            {name: column[row][i].item() for name, column in columns.items()}
            for i in range(count)
        ]
        for row, count in enumerate(answers["count"])
    ]
