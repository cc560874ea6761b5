"""The vocabulary of a checkpoint's folder, and whether it is uncased."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kbert.errors import CheckpointError
from kbert.errors import short
from kbert.untrusted import has_member
from kbert.untrusted import member
from kbert.untrusted import read_object
from kbert.vocabulary import MAX_TOKENS
from kbert.vocabulary import SPECIAL_TOKENS
from kbert.vocabulary import check_tokens
from kbert.vocabulary import read_vocabulary

VOCABULARY = "vocab.txt"
FAST = "tokenizer.json"
CONFIG = "tokenizer_config.json"

# Ways to cut text that a tokenizer's files may ask for and kbert has not.
_ONLY = {
    "do_basic_tokenize": True,
    "tokenize_chinese_chars": True,
    "handle_chinese_chars": True,
    "clean_text": True,
    "word_tokenizer_type": "basic",  # Of BertJapaneseTokenizer.
    "subword_tokenizer_type": "wordpiece",
}


def open_vocabulary(folder: Path) -> tuple[list[str], bool]:
    """Tokens in the order of their ids, and whether they are uncased.

    From vocab.txt, or else from tokenizer.json, the only one that
    transformers 5 writes. The case is what tokenizer_config.json says, then
    tokenizer.json, then what the tokens look like.

    Raises:
        CheckpointError: neither file is there, one is corrupt, or they ask
            for words that BERT's tokenizer does not make.
    """
    lowercase = None
    if has_member(folder, VOCABULARY):
        tokens = _fill(read_vocabulary(member(folder, VOCABULARY)))
    elif has_member(folder, FAST):
        tokens, lowercase = _read_fast(member(folder, FAST))
    else:
        raise CheckpointError(
            f"Expected {VOCABULARY} or {FAST} in the folder {folder}. "
            f"Received a folder without {VOCABULARY}. Complete it."
        )
    options = {}
    if has_member(folder, CONFIG):
        options = read_object(member(folder, CONFIG))
        if isinstance(options.get("do_lower_case"), bool):
            lowercase = options["do_lower_case"]
    if lowercase is None:
        lowercase = looks_lowercase(tokens)
    _check_options(options, lowercase, folder / CONFIG)
    return tokens, lowercase


def _fill(tokens: list[str]) -> list[str]:
    """Empty lines as tokens that no text holds.

    Tools that strip lines have left one in checkpoints in use, where
    bert-base-chinese has U+2028.
    """
    return [token or f"[empty {i}]" for i, token in enumerate(tokens)]


def looks_lowercase(tokens: Sequence[str]) -> bool:
    """Whether no token has a capital letter."""
    return not any(
        token.isascii() and token != token.lower()
        for token in tokens
        if token not in SPECIAL_TOKENS and not token.startswith("[unused")
    )


def _read_fast(path: Path) -> tuple[list[str], bool | None]:
    config = read_object(path)
    model = config.get("model")
    kind = model.get("type") if isinstance(model, dict) else None
    if kind != "WordPiece" or not isinstance(model.get("vocab"), dict):
        raise CheckpointError(
            f"Expected a WordPiece model in {path}. Received: {short(kind)}. "
            f"kbert tokenizes as BERT does only."
        )
    ids = dict(model["vocab"])
    added = config.get("added_tokens")
    for token in added if isinstance(added, list) else ():
        if isinstance(token, dict) and isinstance(token.get("content"), str):
            ids.setdefault(token["content"], token.get("id"))
    if (
        len(ids) > MAX_TOKENS
        or not all(type(value) is int for value in ids.values())
        or set(ids.values()) != set(range(len(ids)))
    ):
        raise CheckpointError(
            f"Expected the ids 0 to {len(ids) - 1}, each once, in {path}. "
            f"Received: others. Save the tokenizer again."
        )
    tokens = sorted(ids, key=ids.get)
    check_tokens(tokens, path)
    normalizer = config.get("normalizer")
    lowercase = None
    if isinstance(normalizer, dict):
        lowercase = normalizer.get("lowercase")
        lowercase = lowercase if isinstance(lowercase, bool) else None
        _check_options(normalizer, lowercase, path)
    return tokens, lowercase


def _check_options(options: dict, lowercase: bool | None, path: Path) -> None:
    only = _ONLY if lowercase is None else _ONLY | {"strip_accents": lowercase}
    for key, value in only.items():
        if options.get(key) not in (None, value):
            raise CheckpointError(
                f"Expected {key} {value!r} in {path}. Received: "
                f"{short(options[key])}. kbert cuts text as BERT's own "
                f"tokenizer does: the ids would be others than those that the "
                f"model has learned."
            )
