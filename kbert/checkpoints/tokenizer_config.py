"""What the files beside a vocabulary say of a tokenizer, in transformers' form.

tokenizer_config.json     options, and added tokens by their ids
special_tokens_map.json   the special tokens
added_tokens.json         added tokens to their ids
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

from kbert.checkpoints.tokenizer_json import refusal
from kbert.errors import CheckpointError
from kbert.errors import short
from kbert.tokenizers.vocabulary import SPECIAL_TOKENS
from kbert.utils.untrusted import has_member
from kbert.utils.untrusted import listed
from kbert.utils.untrusted import member
from kbert.utils.untrusted import read_object

CONFIG = "tokenizer_config.json"
SPECIAL = "special_tokens_map.json"
ADDED = "added_tokens.json"

# The one value of an option that BERT's tokenizer has.
_ONLY = {
    "do_basic_tokenize": True,
    "tokenize_chinese_chars": True,
    "handle_chinese_chars": True,
    "clean_text": True,
    "do_split_on_punc": True,
    "truncation_side": "right",
    "padding_side": "right",
    "continuing_subword_prefix": "##",
    "wordpieces_prefix": "##",
    "max_input_chars_per_word": 100,
    # Of BertJapaneseTokenizer.
    "word_tokenizer_type": "basic",
    "subword_tokenizer_type": "wordpiece",
}
# Classes that cut text as BERT's does, with "Fast" or without.
_CLASSES = (
    *("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer"),
    *("BertJapaneseTokenizer", "PreTrainedTokenizer", "TokenizersBackend"),
)
_NAMES = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
# Special tokens that BERT has no use for, one each or lists of them.
_MORE_NAMES = (
    *("bos_token", "eos_token"),
    *("additional_special_tokens", "extra_special_tokens"),
)
_CASE = ("do_lower_case", "strip_accents")
# Beyond these: where files were, how a call is answered, from ids to text.
_NO_MATTER = {
    *("_from_auto", "backend", "chat_template", "from_slow", "is_local"),
    *("clean_up_tokenization_spaces", "full_tokenizer_file", "init_inputs"),
    *("is_fast", "legacy", "local_files_only", "max_len", "max_length"),
    *("model_input_names", "name_or_path", "pad_to_multiple_of", "use_fast"),
    *("pad_token_type_id", "padding", "processor_class", "revision"),
    *("return_tensors", "return_token_type_ids", "return_offsets_mapping"),
    *("special_tokens_map_file", "split_special_tokens", "stride", "tags"),
    *("tokenizer_file", "transformers_version", "trust_remote_code"),
    *("truncation", "truncation_strategy", "unk_token_id", "vocab_file"),
    *("vocab_size", "verbose", "add_special_tokens", "errors", "return_dict"),
    *("model_specific_special_tokens", "is_pretokenized", "device_map"),
    *("pad_token_id", "cls_token_id", "sep_token_id", "mask_token_id"),
}


@dataclass
class TokenizerConfig:
    """What the files say; None where they say nothing.

    Attributes:
        lowercase: whether text is lower-cased.
        strip_accents: whether accents are deleted.
        max_length: tokens that a text is to be cut to.
        added: `(id, facts, file)` of each added token.
    """

    lowercase: bool | None = None
    strip_accents: bool | None = None
    max_length: int | None = None
    added: list[tuple[Any, dict, Path]] = field(default_factory=list)


def read_tokenizer_config(folder: Path) -> TokenizerConfig:
    """What the files in a folder say of its tokenizer.

    Raises:
        CheckpointError: a file is corrupt, or asks for other ids than BERT's
            tokenizer makes.
    """
    found = TokenizerConfig()
    if has_member(folder, CONFIG):
        path = member(folder, CONFIG)
        options = read_object(path)
        _read_options(options, found, path)
        _check_names(options, path)
        table = options.get("added_tokens_decoder")
        if isinstance(table, dict):
            found.added += [(n, _facts(t), path) for n, t in table.items()]
    if has_member(folder, SPECIAL):
        path = member(folder, SPECIAL)
        names = read_object(path)
        _check_names(names, path)
        _say_unknown(names.keys() - _NAMES.keys() - {*_MORE_NAMES}, path)
    if has_member(folder, ADDED):
        path = member(folder, ADDED)
        found.added += [
            (number, {"content": token}, path)
            for token, number in read_object(path).items()
        ]
    return found


def _facts(token: Any) -> dict:
    return token if isinstance(token, dict) else {"content": token}


def _read_options(options: dict, found: TokenizerConfig, path: Path) -> None:
    for key, value in _ONLY.items():
        if options.get(key) not in (None, value):
            raise refusal(key, repr(value), options[key], path)
    for key in _CASE:
        if not isinstance(options.get(key), bool | None):
            raise refusal(key, "true or false", options[key], path)
    found.lowercase = options.get("do_lower_case")
    found.strip_accents = options.get("strip_accents")
    kind = options.get("tokenizer_class")
    if kind is not None and str(kind).removesuffix("Fast") not in _CLASSES:
        raise refusal("tokenizer_class", "BertTokenizer", kind, path)
    if "auto_map" in options:
        raise CheckpointError(
            f"Expected a tokenizer of transformers' own in {path}. Received: "
            f"auto_map {short(options['auto_map'])}. kbert runs no code that "
            f"comes with a model."
        )
    kept = options.get("never_split")
    if kept and not {*_listed(kept)} <= {*SPECIAL_TOKENS}:
        raise refusal("never_split", "null", kept, path)
    length = options.get("model_max_length")
    # Without a limit it is 1e30.
    if isinstance(length, int) and 3 <= length < 10**9:
        found.max_length = length
    known = {*_ONLY, *_CASE, *_NAMES, *_MORE_NAMES, *_NO_MATTER}
    known |= {"tokenizer_class", "never_split", "model_max_length"}
    known |= {"added_tokens_decoder"}
    _say_unknown(options.keys() - known, path)


def _say_unknown(keys: set, path: Path) -> None:
    if keys:
        logging.getLogger("kbert").warning(
            "%s has keys that kbert does not read: %s. If they change how "
            "text is cut, the model gets other token ids than it has learned.",
            path,
            listed(sorted(map(str, keys)), ", "),
        )


def _check_names(options: dict, path: Path) -> None:
    """Refuse special tokens of other names, and more of them."""
    for key, name in _NAMES.items():
        for token in _listed(options.get(key)):
            if token != name:
                raise CheckpointError(
                    f"Expected {key} {name!r} in {path}. Received: "
                    f"{short(token)}. Rename the token in the vocabulary and "
                    f"in the tokenizer's files; ids stay as they are."
                )
    for key in _MORE_NAMES:
        for token in _listed(options.get(key)):
            if token not in SPECIAL_TOKENS:
                raise more_special(key, token, path)


def more_special(key: str, token: Any, path: Path) -> CheckpointError:
    """What to raise of a special token beyond BERT's five."""
    return CheckpointError(
        f"Expected no special tokens in {path} but "
        f"{', '.join(SPECIAL_TOKENS)}. Received: {short(token)} in {key}. "
        f"kbert takes what a user types for text, never for a special token: "
        f"the ids would be others than those that the model has learned. Add "
        f"it as a word, by `add_tokens` of transformers."
    )


def _listed(value: Any) -> Iterator[Any]:
    """The tokens in a value: a name, an object with `content`, or several."""
    if isinstance(value, dict) and "content" in value:
        yield value["content"]
    elif isinstance(value, dict):
        for part in value.values():
            yield from _listed(part)
    elif isinstance(value, list):
        for part in value:
            yield from _listed(part)
    elif value is not None:
        yield value
