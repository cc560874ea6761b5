"""Sentence splitting for English and Chinese, by rules, in linear time."""

from __future__ import annotations

import re

# Closing quotes and brackets that belong to the sentence before them.
_CLOSING = "\"'”’)\\]}»」』）】》"

# What may end a sentence: Chinese stops anywhere, Western ones before a blank.
# From the first of several stops on and never back: linear in any text.
_END = re.compile(
    rf"[。！？；…]++[{_CLOSING}]*+|(?<![.!?])[.!?]++[{_CLOSING}]*+(?=\s)"
)

# A small letter, after blanks and opening quotes, goes on with the sentence.
_SMALL = re.compile(r"\s++[\"'“‘(\[{«]*+[a-z]")

# Words that a full stop belongs to. Titles are always followed by a name;
# the others end a sentence now and then, which is then not split.
_ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof rev fr sr jr st mt ft gen col maj capt cmdr lt sgt cpl "
    "pvt adm gov sen rep pres hon messrs mme mlle vs etc e.g i.e cf al ca c "
    "approx est fig figs no nos vol vols pp p ed eds trans ch sec op art "
    "inc ltd co corp bros dept univ assn ave blvd rd jan feb mar apr jun jul "
    "aug sept sep oct nov dec a.m p.m b.c a.d u.s u.k u.n d.c viz b d "
    "fl r".split()
)

# The word before a full stop, and a single capital such as an initial.
_WORD = re.compile(r"[^\s(\[{\"“]{1,12}\Z")
_INITIALS = re.compile(r"(?:[A-Z]\.)*[A-Z]\Z")


def split_sentences(text: str) -> list[str]:
    """Split a text into sentences.

    A sentence ends at `。！？；…`, or at `.!?` before a blank unless a small
    letter follows or the stop belongs to an initial or a known abbreviation.
    Closing quotes and brackets stay with the sentence. Blanks around a
    sentence are dropped; all other characters are kept, in order.

    Args:
        text: one paragraph; line breaks in it count as blanks.

    Returns:
        List of sentences, none of them empty.

    Example:

    >>> split_sentences("Dr. Lee left. It rained! 天晴了。他回来了。")
    ['Dr. Lee left.', 'It rained!', '天晴了。', '他回来了。']
    """
    sentences, start = [], 0
    # In text without capitals a small letter says nothing.
    cased = not text.islower()
    for match in _END.finditer(text):
        end = match.end()
        if match[0][0] in ".!?" and not _ends(text, start, match, cased):
            continue
        if sentence := text[start:end].strip():
            sentences.append(sentence)
        start = end
    if rest := text[start:].strip():
        sentences.append(rest)
    return sentences


def _ends(text: str, start: int, match: re.Match, cased: bool) -> bool:
    """Whether a Western stop ends the sentence that begins at `start`."""
    if cased and _SMALL.match(text, match.end()):
        return False
    if match[0] != ".":
        return True
    # A few characters are enough: abbreviations are short.
    before = text[max(start, match.start() - 13) : match.start()]
    word = _WORD.search(before)
    if word is None:
        return True
    return not (word[0].lower() in _ABBREVIATIONS or _INITIALS.match(word[0]))
