"""Tags of words: BIO, BIOES and IOB1, to entities and back.

References:
    Ramshaw & Marcus 1995, Text Chunking using Transformation-Based Learning
    (IOB1)
    Tjong Kim Sang & De Meulder 2003, Introduction to the CoNLL-2003 Shared
    Task (the data, and the rule that an entity counts if its type and both
    its ends are right)
    Nakayama 2018, seqeval, https://github.com/chakki-works/seqeval (the same
    rule; `entities` equals its default mode)
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from kbert.data.row_names import row_name
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.errors import short
from kbert.heads.figures import of_counts
from kbert.heads.figures import ratio

# IOB2 is what most people call BIO. BILOU names E and S differently.
SCHEMES = ("BIO", "BIOES", "IOB1")
BILOU = {"L": "E", "U": "S"}

Entity = tuple[int, int, str]


def split_tag(tag: str) -> tuple[str, str]:
    """Prefix and type, such as `("B", "PER")`; `("O", "")` for outside."""
    prefix, dash, kind = tag.partition("-")
    return (BILOU.get(prefix, prefix), kind) if dash else (prefix, "")


def guess_scheme(rows: Sequence[Sequence[str]]) -> str:
    """`"BIOES"` if a tag ends an entity or is one by itself, else `"BIO"`."""
    prefixes = {tag[:2] for row in rows for tag in row}
    return "BIOES" if prefixes & {"E-", "S-", "L-", "U-"} else "BIO"


def entities(tags: Sequence[str]) -> list[Entity]:
    """Entities of any tags, `(start, end, type)`, `end` exclusive.

    Tags that break their scheme are read as seqeval and CoNLL's own script
    do: an I- without its B- begins an entity.

    Example:

    >>> entities(["B-PER", "I-PER", "O", "I-LOC"])
    [(0, 2, 'PER'), (3, 4, 'LOC')]
    """
    found, start = [], None
    before, kind_before = "O", ""
    for i, tag in enumerate([*tags, "O"]):
        prefix, kind = split_tag(tag)
        begins = prefix != "O" and (
            prefix in "BS" or before in "OES" or kind != kind_before
        )
        if start is not None and (begins or prefix == "O"):
            found.append((start, i, kind_before))
            start = None
        if begins:
            start = i
        before, kind_before = prefix, kind
    return found


def read_tags(tags: Sequence[str], scheme: str, row: int) -> list[Entity]:
    """Entities of tags that keep to their scheme.

    Args:
        tags: one a word.
        scheme: one of `SCHEMES`. `"IOB1"` has B- only between entities of
            one type that touch.
        row: number of the row, for messages.

    Raises:
        InputError: a tag is none of the scheme, or may not stand where it
            does, such as an I- without its B-.
        ConfigError: there is no such scheme.
    """
    if scheme not in SCHEMES:
        raise ConfigError(
            f"`scheme` must be None or one of {', '.join(SCHEMES)}. "
            f"Received: scheme={short(scheme)}"
        )
    allowed = "BIES" if scheme == "BIOES" else "BI"
    before, kind_before = "O", ""
    for i, tag in enumerate([*tags, "O"]):
        prefix, kind = split_tag(tag) if isinstance(tag, str) else ("?", "")
        if not (tag == "O" or (kind and prefix in allowed)):
            raise InputError(
                f"Expected O or a tag such as B-PER, of the scheme {scheme}. "
                f"Received: {short(tag)} for word {i} in {row_name(row)}."
            )
        inside = before in ("B", "I") and kind == kind_before
        goes_on = prefix in "IE"
        if scheme != "IOB1" and goes_on and not inside:
            raise InputError(
                f"Expected {tag} only after B-{kind} or I-{kind}. Received: "
                f"it after {tags[i - 1] if i else 'nothing'} for word {i} in "
                f"{row_name(row)}. Correct the tags; if their entities begin "
                f"with I-, as in CoNLL-2003's first release, pass "
                f"scheme='IOB1'."
            )
        if scheme == "BIOES" and before in ("B", "I"):
            if not (goes_on and inside):
                raise InputError(
                    f"Expected I-{kind_before} or E-{kind_before} after "
                    f"{tags[i - 1]}. Received: "
                    f"{tag if i < len(tags) else 'the end'} for word {i} in "
                    f"{row_name(row)}. In BIOES an entity ends with E- or is "
                    f"S-."
                )
        before, kind_before = prefix, kind
    return entities(tags)


def write_tags(found: Sequence[Entity], words: int) -> list[str]:
    """Entities as BIO tags of so many words; the inverse of `entities`."""
    tags = ["O"] * words
    for start, end, kind in found:
        tags[start:end] = [f"B-{kind}"] + [f"I-{kind}"] * (end - start - 1)
    return tags


def word_spans(text: str, count: int) -> list[tuple[int, int]] | None:
    """Where the words of a text are, in characters, if there are `count`.

    Words have one space between, as where words were joined to a text, or
    several, tabs and line breaks, or any whitespace; None if none of these
    gives so many.
    """
    place, joined = 0, []
    for word in text.split(" "):
        joined.append((place, place + len(word)))
        place += len(word) + 1
    # Other whitespace, such as U+00A0, is rather in words than between them.
    apart, any_ = (
        [match.span() for match in re.finditer(pattern, text)]
        for pattern in (r"[^ \t\r\n]+", r"\S+")
    )
    return next((s for s in (joined, apart, any_) if len(s) == count), None)


def score(predicted: list[set], true: list[set], kinds: Sequence[str]) -> dict:
    """Precision, recall and F1 of entities, over all rows and by type.

    Args:
        predicted: for each row a set of `(start, end, type)`.
        true: the same.
        kinds: the types.

    Returns:
        `precision`, `recall`, `f1` of all entities together (micro), and
        what `kbert.heads.figures.of_counts` gives by type.
    """
    counts = {kind: [0, 0, 0] for kind in kinds}
    for ours, truth in zip(predicted, true, strict=True):
        for place, row in ((0, ours & truth), (1, ours), (2, truth)):
            for *_, kind in row:
                counts[kind][place] += 1
    columns = np.array(list(counts.values())).T  # (3, types)
    right, given, there = columns.sum(axis=1)
    return {
        "precision": float(ratio(right, given)),
        "recall": float(ratio(right, there)),
        "f1": float(ratio(2 * right, given + there)),
        **of_counts(columns[0], columns[1], columns[2], kinds),
    }
