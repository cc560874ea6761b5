"""Sentence splitting for English and Chinese, by rules, in linear time."""

from __future__ import annotations

import re

# Closing quotes and brackets that belong to the sentence before them.
_CLOSING = "\"'”’)\\]}»」』）】"

# What may end a sentence: Chinese stops anywhere but before a comma or in a
# title, Western ones before a blank; tokenized text has one before a bracket
# too. From the first of several stops on and never back: linear in any text.
_END = re.compile(
    rf"(?<![。！？；…])[。！？；…]++[{_CLOSING}]*+(?![，、：,:;》〉])"
    rf"|(?<![.!?])[.!?]++[{_CLOSING}]*+(?:\s[)\]”](?=\s))?+(?=\s)"
)

# The word, or other character, after blanks and opening quotes.
_NEXT = re.compile(r"\s++[\"'“‘(\[{«]*+(\w{1,12}+|\S)")

# Titles and the like: a name or an example follows, never a new sentence.
_TITLES = frozenset(
    "mr mrs ms dr prof rev fr st mt ft gen col maj capt cmdr lt sgt cpl pvt "
    "adm gov rep pres hon messrs mme mlle bros trans vs viz cf e.g i.e approx "
    "eds".split()
)
# Abbreviations where a number follows, elsewhere words.
_NUMBERED = frozenset(
    "no nos vol vols p pp fig figs ch sec art op ca c fl est d b jan feb mar "
    "apr jun jul aug sep sept oct nov dec".split()
)
# Abbreviations that end a sentence now and then, as initials do: so they do
# where the next word is one of those that most sentences begin with.
_AMBIGUOUS = frozenset(
    "inc ltd co corp jr sr al ed u.s u.k u.n d.c b.c a.d a.m p.m ave blvd rd "
    "dept univ sen ph.d".split()
)
_INITIALS = re.compile(r"(?:[A-Z]\.)*[A-Z]\Z")
_STARTERS = frozenset(
    "A An The This That These Those He She It They We You There His Her Its "
    "Their Our In On At After Before During From For With By As When While "
    "Although However But And If Since Some Many Most One Both Another Later "
    "Other Also Then".split()
)

# The word before a full stop.
_WORD = re.compile(r"[^\s(\[{\"“]{1,12}\Z")


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
        if match[0][0] in ".!?…" and not _ends(text, start, match, cased):
            continue
        if sentence := text[start:end].strip():
            sentences.append(sentence)
        start = end
    if rest := text[start:].strip():
        sentences.append(rest)
    return sentences


def _ends(text: str, start: int, match: re.Match, cased: bool) -> bool:
    """Whether a Western stop ends the sentence that begins at `start`."""
    following = _NEXT.match(text, match.end())
    word = following[1] if following else " "
    if word in ",;:.!?" or cased and word[0].islower():
        return False
    if match[0] != ".":
        return True
    # A few characters are enough: abbreviations are short.
    before = text[max(start, match.start() - 13) : match.start()]
    if (found := _WORD.search(before)) is None:
        return True
    stopped = found[0].lower()
    if stopped in _TITLES:
        return False
    if stopped in _NUMBERED and word[0].isdigit():
        return False
    if _INITIALS.match(found[0]):
        return word in _STARTERS and (len(word) > 1 or "." in found[0])
    if stopped in _AMBIGUOUS:
        return word in _STARTERS
    # A number alone, such as "1.", is that of the item that follows.
    return not (
        stopped.isdigit() and text[start : match.start()].strip() == found[0]
    )
