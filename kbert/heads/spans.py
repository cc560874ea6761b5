"""Spans of texts as users have them, in characters, and as bytes."""

from __future__ import annotations

import reprlib
import warnings
from typing import Any

import numpy as np

from kbert.errors import InputError
from kbert.heads.tags import guess_scheme
from kbert.heads.tags import read_tags
from kbert.heads.tags import word_spans
from kbert.labels import plain
from kbert.normalizer import CHINESE

Span = tuple[int, int, str]


def characters(text: str | bytes) -> tuple[str, np.ndarray]:
    """A text as `str`, and the byte that each of its characters begins at.

    Returns:
        The text without invalid UTF-8; and int64 `(characters + 1,)`, of
        which the last is the text's length in bytes.

    Example:

    >>> characters("é!")
    ('é!', array([0, 2, 3]))
    """
    if isinstance(text, str):
        text = text.encode("utf-8", "ignore")
    if text.isascii():
        return text.decode(), np.arange(len(text) + 1)
    # Bytes that UTF-8 has no use for come as surrogates, one each.
    marked = text.decode("utf-8", "surrogateescape")
    sizes = np.array(
        [len(c.encode("utf-8", "surrogateescape")) for c in marked], "int64"
    )
    begins = np.concatenate([[0], np.cumsum(sizes)])
    valid = [not "\udc80" <= c <= "\udcff" for c in marked]
    kept = begins[np.array([*valid, True])]
    return text.decode("utf-8", "ignore"), kept


def read_entities(y: Any, texts: list, scheme: str | None) -> list[list[Span]]:
    """Tags or spans of texts as spans in bytes.

    Args:
        y: for each text a list of tags, one a word, or of spans; see
            `kbert.heads.ner.EntityHead.read`.
        texts: `str` or `bytes`.
        scheme: see `kbert.heads.ner.EntityHead`.

    Raises:
        InputError: with the row's number: tags do not match the words or
            break their scheme, or a span is not in its text or overlaps
            another.

    Warns:
        UserWarning: spans begin or end inside of a word.
    """
    rows = [_as_row(row, number) for number, row in enumerate(y)]
    if len(rows) != len(texts):
        raise InputError(
            f"Expected tags or spans for each text. Received: {len(texts)} "
            f"texts and {len(rows)} rows of them."
        )
    tagged = any(isinstance(row[0], str) for row in rows if row)
    if tagged and scheme is None:
        scheme = guess_scheme(
            [row for row in rows if row and isinstance(row[0], str)]
        )
    read, cut = [], []
    for number, (row, text) in enumerate(zip(rows, texts, strict=True)):
        text, begins = characters(text)
        if tagged:
            spans = _of_tags(row, text, scheme, number)
        else:
            spans = _of_spans(row, text, number)
            cut += [(number, *span) for span in spans if _cuts(text, span)]
        read.append([(int(begins[a]), int(begins[b]), k) for a, b, k in spans])
    if cut:
        number, *span = cut[0]
        warnings.warn(
            f"{len(cut)} spans begin or end inside of a word, where no "
            f"answer can: the first is {tuple(span)} in row {number}. Are "
            f"they in characters, not in bytes?",
            stacklevel=2,
        )
    return read


def _cuts(text: str, span: Span) -> bool:
    """Whether a span begins or ends where BERT does not split a text."""
    return any(
        text[place - 1 : place + 1].isalnum()
        and not CHINESE.search(text[place - 1 : place + 1])
        for place in span[:2]
        if 0 < place < len(text)
    )


def _as_row(row: Any, number: int) -> list:
    if hasattr(row, "tolist"):
        row = row.tolist()
    if not isinstance(row, list | tuple):
        raise InputError(
            f"Expected a list of tags or of spans in each row. Received: "
            f"{reprlib.repr(row)} in row {number}."
        )
    return list(row)


def _of_tags(tags: list, text: str, scheme: str, number: int) -> list[Span]:
    words = word_spans(text, len(tags))
    if words is None and not (tags or text.strip()):
        return []
    if words is None:
        raise InputError(
            f"Expected a tag for each word. Received: {len(tags)} tags for "
            f"{len(text.split())} words in row {number}, "
            f"{reprlib.repr(text)}."
        )
    return [
        (words[start][0], words[end - 1][1], kind)
        for start, end, kind in read_tags(tags, scheme, number)
    ]


def _of_spans(spans: list, text: str, number: int) -> list[Span]:
    read = []
    for span in spans:
        own = None
        if isinstance(span, dict):
            own = span.get("text")
            kind = span.get("type", span.get("label"))
            span = (span.get("start"), span.get("end"), kind)
        if not (
            isinstance(span, list | tuple)
            and len(span) == 3
            and all(isinstance(place, int | np.integer) for place in span[:2])
            and isinstance(plain(span[2]), str | int)
            and span[2] != ""
        ):
            raise InputError(
                "Expected spans as (start, end, type), in characters. "
                f"Received: {reprlib.repr(span)} in row {number}."
            )
        if not 0 <= span[0] < span[1] <= len(text):
            raise InputError(
                f"Expected spans within the text of {len(text)} characters. "
                f"Received: {tuple(span)} in row {number}."
            )
        there = text[span[0] : span[1]]
        if not there.strip() or own not in (None, there):
            raise InputError(
                f"Expected {'words' if own is None else reprlib.repr(own)} "
                f"where the span is, in characters. Received: {tuple(span)} "
                f"in row {number}, where {reprlib.repr(there)} stands."
            )
        start = int(span[0]) + len(there) - len(there.lstrip())
        read.append((start, start + len(there.strip()), plain(span[2])))
    read.sort(key=lambda span: span[:2])
    for one, other in zip(read, read[1:], strict=False):
        if other[0] < one[1]:
            raise InputError(
                f"Expected entities that do not overlap. Received: {one} and "
                f"{other} in row {number}. Keep one of them."
            )
    return read
