"""SQuAD: its files, and exact match and F1 as its script counts them.

References:
    Rajpurkar et al. 2016, SQuAD: 100,000+ Questions for Machine
    Comprehension of Text, and the official script evaluate-v1.1.py
    Rajpurkar, Jia & Liang 2018, Know What You Don't Know, and the official
    script evaluate-v2.0.py
"""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kbert.errors import InputError

QUESTION, CONTEXT, ANSWERS = "question", "context", "label"


# === Files ===


def read_squad(
    lines: Iterator[str], path: Path, columns: list[str] | None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Questions of a SQuAD file, version 1.1 or 2.0, numbered from 1.

    Args:
        lines: of the file.
        path: for messages.
        columns: names for question, context and answers; by default
            `question`, `context` and `label`.

    Yields:
        The question's number, and its cells; the answers are a dict of the
        lists `text` and `answer_start` (in characters), empty where the
        context has no answer.

    Raises:
        InputError: the file is not of this form.
    """
    names = columns or [QUESTION, CONTEXT, ANSWERS]
    if len(names) != 3:
        raise InputError(
            f"Expected three names of columns, for question, context and "
            f"answers. Received: {', '.join(names)}."
        )
    number = 0
    try:
        for article in json.loads("".join(lines))["data"]:
            for paragraph in article["paragraphs"]:
                for qa in paragraph["qas"]:
                    number += 1
                    found = () if qa.get("is_impossible") else qa["answers"]
                    answers = {
                        key: [answer[key] for answer in found]
                        for key in ("text", "answer_start")
                    }
                    cells = (qa["question"], paragraph["context"], answers)
                    yield number, dict(zip(names, cells, strict=True))
    except InputError:  # Of the lines, which know best what is wrong.
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"Expected a SQuAD file: data, paragraphs, context, qas, "
            f"question, answers, text, answer_start. Received: {path}, where "
            f"{error!r} is wrong after question {number}."
        ) from error


# === Figures ===


def normalize(text: str) -> str:
    """Lower case, without punctuation, articles and repeated whitespace.

    Example:

    >>> normalize("The  Eiffel-Tower!")
    'eiffeltower'
    """
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def exact_match(answer: str, true: str) -> int:
    """1 if both are the same after `normalize`, else 0."""
    return int(normalize(answer) == normalize(true))


def f1(answer: str, true: str) -> float:
    """F1 of the words of both after `normalize`.

    An empty answer is right only where the true one is empty too.
    """
    ours, truth = normalize(answer).split(), normalize(true).split()
    if not ours or not truth:
        return float(ours == truth)
    same = sum((Counter(ours) & Counter(truth)).values())
    return 2 * same / (len(ours) + len(truth))


def best(figure, answer: str, true: list[str]) -> float:
    """The figure of the best of the true answers; none is an empty one.

    As the official script of version 2.0 does, true answers of which nothing
    is left by `normalize` are passed over.
    """
    return (
        max(figure(answer, t) for t in filter(normalize, true))
        if any(map(normalize, true))
        else figure(answer, "")
    )


def report(answers: list[str], true: list[list[str]]) -> dict[str, Any]:
    """`exact` and `f1` over all questions, 0 to 1, as the official script.

    Where some questions have no answer also those of the questions that
    have one and of those that have none: `has_answer` and `no_answer`.
    """
    pairs = list(zip(answers, true, strict=True))
    total: dict[str, Any] = dict(_means(pairs))
    empty = [pair for pair in pairs if not pair[1]]
    if empty:
        full = [pair for pair in pairs if pair[1]]
        total["no_answer"] = _means(empty)
        if full:
            total["has_answer"] = _means(full)
    return total


def _means(pairs: list[tuple[str, list[str]]]) -> dict[str, float]:
    return {
        "exact": sum(best(exact_match, *pair) for pair in pairs) / len(pairs),
        "f1": sum(best(f1, *pair) for pair in pairs) / len(pairs),
        "questions": len(pairs),
    }


def best_threshold(
    differences: list[float], answers: list[str], true: list[list[str]]
) -> float:
    """The no-answer score from which not to answer, for the best F1.

    The official script's search: with questions in the order of that score,
    each that is answered gains its F1, or loses 1 if it has no answer.

    Args:
        differences: score of no answer less that of the answer.
        answers: the best span of each question.
        true: their true answers, empty lists where there are none.
    """
    current = highest = float(sum(not t for t in true))
    threshold = 0.0
    # With this one, no question at all would be answered.
    order = sorted(range(len(true)), key=differences.__getitem__)
    if order:
        threshold = differences[order[0]] - 1.0
    for place, i in enumerate(order):
        if true[i]:
            current += best(f1, answers[i], true[i])
        else:
            current -= bool(answers[i])
        following = order[place + 1 : place + 2]
        # Equal scores are answered or not together.
        if following and differences[following[0]] == differences[i]:
            continue
        if current > highest:
            highest = current
            threshold = differences[i] + (
                (differences[following[0]] - differences[i]) / 2
                if following
                else 1.0
            )
    return threshold
