"""WordPiece vocabularies: their special tokens and their file, vocab.txt."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kbert.data.lines import decode
from kbert.errors import InputError
from kbert.errors import UnsafeFileError
from kbert.errors import short
from kbert.utils.paths import as_path
from kbert.utils.untrusted import read_limited

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

# The largest published one, LaBSE's, has 501,153.
MAX_TOKENS = 2**19
MAX_TOKEN_CHARACTERS = 1000
# What the tokenizer builds grows with the sum; LaBSE's file has 5 MB.
MAX_BYTES = 8 * 2**20

# No text holds them by the time that words are cut. JSON can spell halves of
# characters, the surrogates, which have no UTF-8.
_NO_TEXT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def read_vocabulary(path) -> list[str]:
    """Read a `vocab.txt`: UTF-8, one token a line, line 1 is id 0.

    Raises:
        InputError: the file is missing or not UTF-8, or a line has control
            characters or is too long for a token.
        UnsafeFileError: it is too large, or has too many lines.
    """
    try:
        content = read_limited(as_path(path), MAX_BYTES, "a vocabulary")
        if (lines := content.count(b"\n")) > MAX_TOKENS:
            raise UnsafeFileError(
                f"Expected a vocabulary of at most {MAX_TOKENS:,} tokens in "
                f"{path}. Received: {lines:,} lines. Do not use this file."
            )
        lines = decode(content, path, fixed=True).split("\n")
    except OSError as error:
        raise InputError(
            f"Cannot read the vocabulary {str(path)!r}: {error}. "
            "Expected a UTF-8 text file with one token a line."
        ) from error
    if lines[-1] == "":
        lines.pop()
    # Not `splitlines`: U+2028 is a token of bert-base-chinese.
    tokens = [line.removesuffix("\r") for line in lines]
    check_tokens(tokens, path)
    return tokens


def check_tokens(tokens: Sequence[str], path) -> None:
    """Refuse what no text of a file can be, see `read_vocabulary`.

    Raises:
        InputError: a token has control characters or is too long for one.
        UnsafeFileError: together they are too long.
    """
    if (total := sum(map(len, tokens))) > MAX_BYTES:
        raise UnsafeFileError(
            f"Expected a vocabulary of at most {MAX_BYTES:,} characters in "
            f"{path}. Received: {total:,}. Do not use this file."
        )
    for number, token in enumerate(tokens, start=1):
        if len(token) > MAX_TOKEN_CHARACTERS or _NO_TEXT.search(token):
            raise InputError(
                f"Line {number} of the vocabulary {str(path)!r}, expected a "
                f"token of at most {MAX_TOKEN_CHARACTERS} characters without "
                f"control characters. Received: {short(token)}"
            )


def write_vocabulary(vocabulary: Sequence[str], path) -> None:
    """Write a vocabulary to `path` as `read_vocabulary` reads it."""
    text = "".join(f"{token}\n" for token in vocabulary)
    Path(path).write_bytes(text.encode("utf-8"))


def same_ids(a: Any, b: Any) -> bool:
    """Whether two tokenizers, or what has their attributes, agree."""

    def facts(x):
        added = sorted(x.added_tokens)
        return tuple(x.vocabulary), x.lowercase, x.strip_accents, added

    return facts(a) == facts(b)


def index_vocabulary(vocabulary: Sequence[str]) -> dict[str, int]:
    """Token to id, after checking that every line can be a token.

    Raises:
        InputError: the vocabulary is empty, lacks a special token, or has an
            empty or repeated line.
    """
    if not vocabulary:
        raise InputError("The vocabulary is empty. Expected one token a line.")
    ids = {}
    for number, token in enumerate(vocabulary, start=1):
        if not isinstance(token, str) or not token or "\n" in token:
            raise InputError(
                f"Line {number} of the vocabulary, expected a token. "
                f"Received: {short(token)}"
            )
        if token in ids:
            raise InputError(
                f"Line {number} of the vocabulary repeats {short(token)} of "
                f"line {ids[token] + 1}. Expected every token once."
            )
        ids[token] = number - 1
    if missing := [t for t in SPECIAL_TOKENS if t not in ids]:
        raise InputError(
            f"The vocabulary lacks {', '.join(missing)}. Expected all of "
            f"{', '.join(SPECIAL_TOKENS)}. Received: {len(ids)} lines, the "
            f"first {short(vocabulary[0])}."
        )
    return ids
