"""tokenizer.json, the form of the library `tokenizers`, read key by key.

It describes tokenizers of any kind, and kbert has BERT's. Of each key the
value is BERT's, or it does not matter to token ids, or the file is refused by
the key's name; so is a file with a key that is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kbert.errors import CheckpointError
from kbert.errors import short
from kbert.tokenizers.vocabulary import MAX_TOKENS
from kbert.tokenizers.vocabulary import check_tokens
from kbert.utils.untrusted import listed
from kbert.utils.untrusted import read_object


class _Any:
    """A value that does not matter to token ids."""


ANY = _Any()

_NORMALIZER = {
    "type": ("BertNormalizer",),
    "clean_text": (True,),
    "handle_chinese_chars": (True,),
    "strip_accents": (None, True, False),
    "lowercase": (True, False),
}
_PRE_TOKENIZER = {"type": ("BertPreTokenizer",)}
_MODEL = {
    "type": ("WordPiece",),
    "unk_token": ("[UNK]",),
    "continuing_subword_prefix": ("##",),
    "max_input_chars_per_word": (100,),
    "vocab": ANY,
}
# What a caller asks for anew, as all do: how long, not on which side.
_TRUNCATION = {
    "direction": ("Right",),
    "strategy": ("LongestFirst",),
    "max_length": ANY,
    "stride": ANY,
}
_PADDING = {
    "direction": ("Right",),
    "strategy": ANY,
    "pad_to_multiple_of": ANY,
    "pad_id": ANY,
    "pad_type_id": ANY,
    "pad_token": ANY,
}
_KEYS = {
    "version": ("1.0",),
    "truncation": ANY,
    "padding": ANY,
    "added_tokens": ANY,
    "normalizer": ANY,
    "pre_tokenizer": ANY,
    "post_processor": ANY,
    "decoder": ANY,  # From ids to text, which kbert never asks for.
    "model": ANY,
}
# What may be left out.
_OPTIONAL = ("version", "direction", "strategy")


@dataclass(frozen=True)
class TokenizerJson:
    """What a tokenizer.json says.

    Attributes:
        vocabulary: id to token, of the model; added tokens may be beside it.
        lowercase: whether BERT's normalizer lower-cases text.
        strip_accents: whether accents are deleted.
        lowers: whether another beside it does.
        added: the added tokens, as the file has them.
    """

    vocabulary: dict[int, str]
    lowercase: bool
    strip_accents: bool
    lowers: bool
    added: list[dict]


def read_tokenizer_json(path: Path) -> TokenizerJson:
    """Read a tokenizer.json.

    Raises:
        CheckpointError: it is corrupt, or asks for other ids than BERT's
            tokenizer makes.
    """
    config = read_object(path)
    model: Any = config.get("model")
    if isinstance(model, dict) and "continuing_subword_prefix" in model:
        # Early files do not name its type; no other has these keys.
        model = {"type": "WordPiece"} | model
    if not isinstance(model, dict) or model.get("type") != "WordPiece":
        kind = model.get("type") if isinstance(model, dict) else model
        raise CheckpointError(
            f"Expected model.type 'WordPiece' in {path}. Received: "
            f"{short(kind)}. kbert tokenizes as BERT does only."
        )
    if not isinstance(model.get("vocab"), dict):
        raise refusal("model.vocab", "an object", model.get("vocab"), path)
    _check(config, _KEYS, "", path)
    _check(model, _MODEL, "model.", path)
    normalizer, lowers = _apart(config.get("normalizer"))
    _check(normalizer, _NORMALIZER, "normalizer.", path)
    pre_tokenizer = _only(config.get("pre_tokenizer"), "pretokenizers")
    _check(pre_tokenizer, _PRE_TOKENIZER, "pre_tokenizer.", path)
    for key, known in (("truncation", _TRUNCATION), ("padding", _PADDING)):
        if config.get(key) is not None:
            _check(config[key], known, f"{key}.", path)
    ids = model["vocab"]
    numbers = ids.values()
    if (
        len(ids) > MAX_TOKENS
        or not all(type(number) is int for number in numbers)
        or len({*numbers}) != len(ids)
    ):
        raise CheckpointError(
            f"Expected ids of at most {MAX_TOKENS:,} tokens, each once, in "
            f"{path}. Received: others. Save the tokenizer again."
        )
    check_tokens([*ids], path)
    _check_post_processor(config.get("post_processor"), ids, path)
    added = config.get("added_tokens", [])
    if not isinstance(added, list) or not all(
        isinstance(token, dict) for token in added
    ):
        raise refusal("added_tokens", "a list of objects", added, path)
    lowercase = normalizer["lowercase"]
    strip_accents = normalizer.get("strip_accents")
    if strip_accents is None:
        strip_accents = lowercase
    return TokenizerJson(
        {number: token for token, number in ids.items()},
        lowercase,
        strip_accents,
        lowers,
        added,
    )


def refusal(
    key: str, expected: str, received: Any, path: Path
) -> CheckpointError:
    """What to raise of a key that asks for another tokenizer than BERT's."""
    return CheckpointError(
        f"Expected {key} {expected} in {path}. Received: {short(received)}. "
        f"kbert cuts text as BERT's own tokenizer does: the ids would be "
        f"others than those that the model has learned."
    )


def _check(
    value: Any, known: Mapping[str, Any], place: str, path: Path
) -> None:
    if not isinstance(value, dict):
        kinds = known.get("type", ("an object",))
        raise refusal(place.rstrip("."), kinds[0], value, path)
    for key, allowed in known.items():
        if allowed is not ANY and (key in value or key not in _OPTIONAL):
            found = value.get(key)
            if not any(found is a or _same(found, a) for a in allowed):
                names = " or ".join(map(repr, allowed))
                raise refusal(f"{place}{key}", names, found, path)
    if unknown := [f"{place}{key}" for key in value if key not in known]:
        raise CheckpointError(
            f"Expected the keys of BERT's tokenizer in {path}. Received also: "
            f"{listed(unknown)}, which kbert does not know. Save the "
            f"tokenizer without them, or give vocab.txt alone."
        )


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and a == b


def _only(value: Any, key: str) -> Any:
    """What a sequence of one holds."""
    while isinstance(value, dict) and value.get("type") == "Sequence":
        parts = value.get(key)
        if not isinstance(parts, list) or len(parts) != 1:
            break
        value = parts[0]
    return value


def _apart(value: Any) -> tuple[Any, bool]:
    """The normalizer without a Lowercase beside it, and if there is one.

    sentence-transformers puts one before BERT's for `do_lower_case`.
    """
    lower = {"type": "Lowercase"}
    parts = value.get("normalizers") if isinstance(value, dict) else None
    if isinstance(parts, list) and value.get("type") == "Sequence":
        others = [part for part in parts if part != lower]
        if len(others) == 1:
            return _only(others[0], "normalizers"), lower in parts
    return value, False


def _check_post_processor(value: Any, ids: Mapping, path: Path) -> None:
    """[CLS] text [SEP], and [CLS] text [SEP] pair [SEP] of segments 0 and 1."""
    value = _only(value, "processors")
    cls, sep = ids.get("[CLS]"), ids.get("[SEP]")

    def special(name, segment):
        return {"SpecialToken": {"id": name, "type_id": segment}}

    def text(name, segment):
        return {"Sequence": {"id": name, "type_id": segment}}

    single = [special("[CLS]", 0), text("A", 0), special("[SEP]", 0)]
    pair = [*single, text("B", 1), special("[SEP]", 1)]
    tokens = {
        name: {"id": name, "ids": [number], "tokens": [name]}
        for name, number in (("[CLS]", cls), ("[SEP]", sep))
    }
    template = {
        "type": "TemplateProcessing",
        "single": single,
        "pair": pair,
        "special_tokens": tokens,
    }
    bert = {"type": "BertProcessing", "sep": ["[SEP]", sep]}
    if value not in (template, bert | {"cls": ["[CLS]", cls]}):
        raise refusal(
            "post_processor",
            "[CLS] $A [SEP] and [CLS] $A [SEP] $B:1 [SEP]:1",
            value,
            path,
        )
