"""Answers of the head `qa` as people have them, and where they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from kbert.data.encodings import clean
from kbert.data.row_names import row_name
from kbert.errors import InputError
from kbert.errors import short
from kbert.heads.spans import characters
from kbert.heads.spans import settle


def read_answers(row: Any, context: str | bytes, number: int) -> dict:
    """The answers of a row, each the words in it as `settle` has them.

    Args:
        row: as for `kbert.heads.qa.AnswerHead.read`.
        context: what they are in.
        number: number of the row, for messages.

    Returns:
        `text`, the answers; `span`, the bytes of the first one, or None;
        `row`, what to call the row.

    Raises:
        InputError: they are no answers, or not in the context.
    """
    given = row
    if isinstance(row, list | tuple | np.ndarray):
        if not all(isinstance(answer, dict) for answer in row):
            raise _no_answers(given, number)
        row = {
            key: [answer.get(key) for answer in row]
            for key in ("text", "answer_start")
        }
    if row is None:
        row = {"text": [], "answer_start": []}
    if not isinstance(row, dict) or not {"text", "answer_start"} <= row.keys():
        raise _no_answers(given, number)
    texts, starts = row["text"], row["answer_start"]
    if isinstance(texts, str):
        texts, starts = [texts], [starts]
    try:
        texts, starts = list(texts), [int(start) for start in starts]
    except (TypeError, ValueError):
        raise _no_answers(given, number) from None
    if not all(isinstance(text, str) for text in texts):
        raise _no_answers(given, number)
    texts = [clean(text) for text in texts]
    if len(texts) != len(starts):
        raise InputError(
            f"Expected an `answer_start` for each `text`. Received: "
            f"{len(texts)} texts and {len(starts)} places in "
            f"{row_name(number)}."
        )
    context, begins = characters(context)
    spans = []
    for text, start in zip(texts, starts, strict=True):
        if not text or start < 0 or not context.startswith(text, start):
            there = context[max(start, 0) : max(start, 0) + len(text)]
            raise InputError(
                f"Expected an answer that is in the context at its "
                f"`answer_start`, in characters. Received: "
                f"{short(text)} at {start} in {row_name(number)}, where "
                f"{short(there)} stands."
            )
        span = settle(context, start, start + len(text))
        if span is None:
            raise InputError(
                f"Expected an answer with a character that BERT keeps. "
                f"Received: {short(text)} in {row_name(number)}, of "
                f"which all is blank or deleted. Remove it."
            )
        spans.append(span)
    return {
        "text": [context[start:end] for start, end in spans],
        "span": tuple(int(begins[p]) for p in spans[0]) if spans else None,
        "row": row_name(number),
    }


def _no_answers(row: Any, number: int) -> InputError:
    return InputError(
        "Expected a dict of `text` and `answer_start`, a list of such, or "
        f"None. Received: {short(row)} in {row_name(number)}."
    )
