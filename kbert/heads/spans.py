"""Spans of texts as users have them, in characters, and as bytes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from kbert.data.containers import as_list
from kbert.data.encodings import clean
from kbert.data.labels import plain
from kbert.data.row_names import row_name
from kbert.errors import InputError
from kbert.errors import short
from kbert.heads.tags import guess_scheme
from kbert.heads.tags import read_tags
from kbert.heads.tags import word_spans
from kbert.tokenizers.normalizer import ends_word
from kbert.tokenizers.normalizer import is_blank
from kbert.tokenizers.normalizer import is_deleted

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
        text = clean(text).encode()
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


def settle(text: str, start: int, end: int) -> tuple[int, int] | None:
    """A span as answers have it: from a character that BERT keeps to the end
    of what it deletes behind another.

    Returns:
        None if BERT keeps nothing of the span.

    Example:

    >>> settle("Rene\u0301 left", 0, 4)  # The accent is of the e.
    (0, 5)
    >>> settle("Ann left", 0, 4)
    (0, 3)
    """
    kept = [
        place
        for place in range(start, end)
        if not (is_blank(text[place]) or is_deleted(text[place]))
    ]
    if not kept:
        return None
    end = kept[-1] + 1
    while end < len(text) and is_deleted(text[end]):
        end += 1
    return kept[0], end


def cuts_word(text: str, start: int, end: int) -> bool:
    """Whether a settled span begins or ends where BERT does not split."""
    before = start - 1
    while before >= 0 and is_deleted(text[before]):
        before -= 1
    last = end - 1
    while is_deleted(text[last]):
        last -= 1
    edges = [(before, start)] * (before >= 0) + [(last, end)] * (
        end < len(text)
    )
    return not all(ends_word(text[a]) or ends_word(text[b]) for a, b in edges)


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
    rows = [
        _as_row(row, number)
        for number, row in enumerate(as_list(y, "rows of tags or spans"))
    ]
    if len(rows) != len(texts):
        raise InputError(
            f"Expected tags or spans for each text. Received: {len(texts)} "
            f"texts and {len(rows)} rows of them."
        )
    tagged = any(isinstance(row[0], str) for row in rows if row)
    if scheme is None:
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
            cut += [(number, *s) for s in spans if cuts_word(text, *s[:2])]
        read.append([(int(begins[a]), int(begins[b]), k) for a, b, k in spans])
    if cut:
        number, *span = cut[0]
        warnings.warn(
            f"{len(cut)} spans begin or end inside of a word, where no "
            f"answer can: the first is {tuple(span)} in {row_name(number)}. "
            f"Whole words are learned. Are they in characters, not in bytes?",
            stacklevel=2,
        )
    return read


def _as_row(row: Any, number: int) -> list:
    if hasattr(row, "tolist"):
        row = row.tolist()
    if not isinstance(row, list | tuple):
        raise InputError(
            f"Expected a list of tags or of spans in each row. Received: "
            f"{short(row)} in {row_name(number)}."
        )
    return list(row)


def _of_tags(tags: list, text: str, scheme: str, number: int) -> list[Span]:
    words = word_spans(text, len(tags))
    if words is None and not (tags or text.strip()):
        return []
    if words is None:
        raise InputError(
            f"Expected a tag for each word. Received: {len(tags)} tags for "
            f"{len(text.split())} words in {row_name(number)}, "
            f"{short(text)}."
        )
    return [
        _settled(text, (words[start][0], words[end - 1][1], kind), number)
        for start, end, kind in read_tags(tags, scheme, number)
    ]


def _settled(text: str, span: Span, number: int) -> Span:
    start, end, kind = span
    found = settle(text, start, end)
    if found is None:
        raise InputError(
            f"Expected entities with a character that BERT keeps. Received: "
            f"{short(text[start:end])} as {kind} in {row_name(number)}, "
            f"where all is blank or deleted. Remove it."
        )
    return (*found, kind)


def _of_spans(spans: list, text: str, number: int) -> list[Span]:
    read = []
    span: Any
    for span in spans:
        own = None
        if isinstance(span, dict):
            own = span.get("text")
            own = clean(own) if isinstance(own, str) else own
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
                f"Received: {short(span)} in {row_name(number)}."
            )
        if not 0 <= span[0] < span[1] <= len(text):
            raise InputError(
                f"Expected spans within the text of {len(text)} characters. "
                f"Received: {tuple(span)} in {row_name(number)}."
            )
        there = text[span[0] : span[1]]
        if own not in (None, there):
            raise InputError(
                f"Expected {short(own)} where the span is, in "
                f"characters. Received: {tuple(span)} in {row_name(number)}, "
                f"where {short(there)} stands."
            )
        place = (int(span[0]), int(span[1]), plain(span[2]))
        read.append(_settled(text, place, number))
    read.sort(key=lambda span: span[:2])
    for one, other in zip(read, read[1:], strict=False):
        if other[0] < one[1]:
            raise InputError(
                f"Expected entities that do not overlap. Received: "
                f"{short(one)} and {short(other)} in {row_name(number)}. Keep "
                f"one of them."
            )
    return read
