"""The tokenizer of a checkpoint's folder, and its files written."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kbert.checkpoints.tokenizer_config import ADDED
from kbert.checkpoints.tokenizer_config import CONFIG
from kbert.checkpoints.tokenizer_config import more_special
from kbert.checkpoints.tokenizer_config import read_tokenizer_config
from kbert.checkpoints.tokenizer_json import TokenizerJson
from kbert.checkpoints.tokenizer_json import read_tokenizer_json
from kbert.checkpoints.tokenizer_json import refusal
from kbert.errors import CheckpointError
from kbert.errors import short
from kbert.tokenizers.vocabulary import MAX_TOKENS
from kbert.tokenizers.vocabulary import SPECIAL_TOKENS
from kbert.tokenizers.vocabulary import check_tokens
from kbert.tokenizers.vocabulary import read_vocabulary
from kbert.tokenizers.vocabulary import write_vocabulary
from kbert.utils.json_text import dumps
from kbert.utils.untrusted import has_member
from kbert.utils.untrusted import member

VOCABULARY = "vocab.txt"
FAST = "tokenizer.json"

_FLAGS = ("single_word", "lstrip", "rstrip", "special")


@dataclass(frozen=True)
class TokenizerFiles:
    """What a folder's files say of its tokenizer.

    Attributes:
        vocabulary: tokens in the order of their ids.
        options: arguments of `kbert.Tokenizer`.
        max_length: tokens that a text is to be cut to; None if it is not said.
    """

    vocabulary: list[str]
    options: dict[str, Any]
    max_length: int | None = None

    def said(self) -> dict[str, Any]:
        """The options that are not as BERT has them, and the case."""
        usual = {"strip_accents": self.options["lowercase"], "added_tokens": ()}
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in self.options.items()
            if value != usual.get(key, "")
        }


def open_tokenizer(folder: Path) -> TokenizerFiles:
    """Read vocab.txt, tokenizer.json and the files beside them.

    One of the two is enough; transformers 5 writes the second only. Whether
    text is lower-cased is what tokenizer.json and tokenizer_config.json say,
    or else what the tokens look like.

    Raises:
        CheckpointError: neither file is there, one is corrupt, they
            contradict each other, or they ask for other ids than BERT's
            tokenizer makes.
    """
    fast, lines = None, None
    if has_member(folder, FAST):
        fast = read_tokenizer_json(member(folder, FAST))
    if has_member(folder, VOCABULARY):
        lines = read_vocabulary(member(folder, VOCABULARY))
    if fast is None and lines is None:
        raise CheckpointError(
            f"Expected {VOCABULARY} or {FAST} in the folder {folder}. "
            f"Received a folder without {VOCABULARY}. Complete it."
        )
    stated = read_tokenizer_config(folder)
    tokens = _merge(fast, lines, folder)
    lowercase = _agreed(
        "do_lower_case", stated.lowercase, fast and fast.lowercase, folder
    )
    if lowercase is None:
        lowercase = looks_lowercase(tokens.values())
    strip_accents = _agreed(
        "strip_accents",
        stated.strip_accents,
        fast and fast.strip_accents,
        folder,
    )
    if strip_accents is None:
        strip_accents = lowercase
    lowercase = lowercase or bool(fast and fast.lowers)
    added = list(stated.added)
    if fast is not None:
        path = folder / FAST
        added += [(token.get("id"), token, path) for token in fast.added]
    plain = not (lowercase or strip_accents)
    words = _add(tokens, added, plain)
    return TokenizerFiles(
        _in_order(tokens, folder),
        {
            "lowercase": lowercase,
            "strip_accents": strip_accents,
            "added_tokens": tuple(words),
        },
        stated.max_length,
    )


def _agreed(key: str, stated, fast, folder: Path) -> bool | None:
    """What one of two files says, or both."""
    if stated is None:
        return fast
    if fast not in (None, stated):
        raise CheckpointError(
            f"Expected {FAST} and {CONFIG} of {folder} to agree. Received: "
            f"{key} {stated!r} in {CONFIG}, {fast!r} in {FAST}. Correct the "
            f"one that is wrong, or delete it."
        )
    return stated


def _merge(
    fast: TokenizerJson | None, lines: list[str] | None, folder: Path
) -> dict[int, str]:
    """Tokens by their ids, of one file or of two that agree."""
    found = {} if fast is None else fast.vocabulary
    if lines is None:
        return dict(found)
    tokens = dict(enumerate(lines))
    for number, token in found.items():
        line = tokens.setdefault(number, token)
        if line == "":  # Tools that strip lines have left one, see below.
            tokens[number] = token
        elif line != token:
            raise CheckpointError(
                f"Expected {FAST} and {VOCABULARY} of {folder} to agree. "
                f"Received: token {number} is {short(token)} and "
                f"{short(line)}. Delete the one that is wrong."
            )
    if fast is not None:
        added = [token.get("content") for token in fast.added]
        for number in sorted(tokens.keys() - fast.vocabulary.keys()):
            # transformers reads the first only, and would not know it.
            if (token := tokens[number]) and token not in added:
                raise CheckpointError(
                    f"Expected {FAST} and {VOCABULARY} of {folder} to agree. "
                    f"Received: token {number}, {short(token)}, in "
                    f"{VOCABULARY} alone. Delete the one that is wrong."
                )
    # Empty lines are in checkpoints in use, where bert-base-chinese has
    # U+2028: a token that no text holds takes its place.
    return {n: t or f"[empty {n}]" for n, t in tokens.items()}


def _add(
    tokens: dict[int, str], added: list[tuple[Any, dict, Path]], plain: bool
) -> list[str]:
    """Put added tokens into `tokens`; the words among them.

    Args:
        tokens: by their ids.
        added: `(id, facts, file)` of each.
        plain: whether normalized text is the text as it came.
    """
    words = {}
    for number, facts, path in added:
        token = facts.get("content")
        number = int(number) if str(number).isdecimal() else number
        if not isinstance(token, str) or type(number) is not int:
            raise CheckpointError(
                f"Expected added tokens with content and id, each once, in "
                f"{path}. Received: {short(facts)}, {short(number)}."
            )
        if tokens.setdefault(number, token) != token:
            raise CheckpointError(
                f"Expected each token under one id in {path.parent}. "
                f"Received: {short(token)} with the id {number} in "
                f"{path.name}, which is {short(tokens[number])}. The files "
                f"belong to different models."
            )
        if token in SPECIAL_TOKENS:
            continue
        words.setdefault(token, path)
        if path.name == ADDED:
            continue  # It says no more of a token.
        if facts.get("special"):
            raise more_special("added tokens", token, path)
        flags = [flag for flag in _FLAGS if facts.get(flag)]
        if not plain and facts.get("normalized") is False:
            flags.append("normalized false")
        if flags:
            raise refusal(
                f"the added token {short(token)}",
                "without flags",
                ", ".join(flags),
                path,
            )
    check_tokens([*words], "added tokens")
    for token, path in words.items():
        _check_word(token, path)
    return [*words]


def _check_word(token: str, path: Path) -> None:
    from kbert.tokenizers.wordpiece import is_word

    if not is_word(token):
        raise CheckpointError(
            f"Expected added tokens that are words, without spaces, "
            f"punctuation and Chinese characters, in {path}. Received: "
            f"{short(token)}. kbert cuts text there before it looks for "
            f"tokens: the ids would be others than those that the model has "
            f"learned."
        )


def _in_order(tokens: Mapping[int, str], folder: Path) -> list[str]:
    if len(tokens) > MAX_TOKENS or set(tokens) != set(range(len(tokens))):
        raise CheckpointError(
            f"Expected the ids 0 to {len(tokens) - 1}, each once, in the "
            f"tokenizer of {folder}. Received: others. Save the tokenizer "
            f"again."
        )
    return [tokens[number] for number in range(len(tokens))]


def looks_lowercase(tokens: Iterable[str]) -> bool:
    """Whether no token has a capital letter."""
    return not any(
        token.isascii() and token != token.lower()
        for token in tokens
        if token not in SPECIAL_TOKENS and not token.startswith("[unused")
    )


# === Write ===


def write_tokenizer(tokenizer: Any, folder: Path, **more: Any) -> None:
    """Write vocab.txt, and the tokenizer_config.json that says its options.

    Args:
        tokenizer: a `kbert.Tokenizer`, or what has its attributes.
        folder: where to.
        **more: further keys of tokenizer_config.json.
    """
    write_vocabulary(tokenizer.vocabulary, folder / VOCABULARY)
    config = {
        "do_lower_case": tokenizer.lowercase,
        "tokenizer_class": "BertTokenizer",
        **more,
    }
    if tokenizer.strip_accents != tokenizer.lowercase:
        config["strip_accents"] = tokenizer.strip_accents
    if tokenizer.added_tokens:
        ids = {t: i for i, t in enumerate(tokenizer.vocabulary)}
        config["added_tokens_decoder"] = {
            str(ids[token]): _added(token, special)
            for special, names in (
                (True, SPECIAL_TOKENS),
                (False, tokenizer.added_tokens),
            )
            for token in names
        }
    (folder / CONFIG).write_text(
        dumps(config, indent=2) + "\n", encoding="utf-8"
    )


def _added(token: str, special: bool) -> dict[str, Any]:
    return {
        "content": token,
        "lstrip": False,
        "normalized": not special,
        "rstrip": False,
        "single_word": False,
        "special": special,
    }
