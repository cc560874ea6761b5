"""The vocabulary of a checkpoint's folder, and whether it is uncased."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kbert.errors import CheckpointError
from kbert.untrusted import has_member
from kbert.untrusted import member
from kbert.untrusted import read_object
from kbert.untrusted import short
from kbert.vocabulary import MAX_TOKENS
from kbert.vocabulary import SPECIAL_TOKENS
from kbert.vocabulary import read_vocabulary

VOCABULARY = "vocab.txt"
FAST = "tokenizer.json"
CONFIG = "tokenizer_config.json"


def open_vocabulary(folder: Path) -> tuple[list[str], bool]:
    """Tokens in the order of their ids, and whether they are uncased.

    From vocab.txt, or else from tokenizer.json, the only one that
    transformers 5 writes. The case is what tokenizer_config.json says, then
    tokenizer.json, then what the tokens look like.

    Raises:
        CheckpointError: neither file is there, or one is corrupt.
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
    if has_member(folder, CONFIG):
        said = read_object(member(folder, CONFIG)).get("do_lower_case")
        if isinstance(said, bool):
            lowercase = said
    if lowercase is None:
        lowercase = looks_lowercase(tokens)
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
    for added in config.get("added_tokens") or ():
        if isinstance(added, dict) and isinstance(added.get("content"), str):
            ids.setdefault(added["content"], added.get("id"))
    if len(ids) > MAX_TOKENS or set(ids.values()) != set(range(len(ids))):
        raise CheckpointError(
            f"Expected the ids 0 to {len(ids) - 1}, each once, in {path}. "
            f"Received: others. Save the tokenizer again."
        )
    normalizer = config.get("normalizer")
    lowercase = None
    if isinstance(normalizer, dict):
        lowercase = normalizer.get("lowercase")
    return sorted(ids, key=ids.get), (
        lowercase if isinstance(lowercase, bool) else None
    )
