"""Training of a WordPiece vocabulary."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterable
from collections.abc import Iterator

from tokenizers import Tokenizer
from tokenizers import models
from tokenizers import normalizers
from tokenizers import pre_tokenizers
from tokenizers import trainers

from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.pretraining.documents import read_documents
from kbert.vocabulary import SPECIAL_TOKENS

# Part of the text whose characters get a token of their own, the frequent
# ones: some thousands in Chinese, less than a hundred in English. The value
# is SentencePiece's.
COVERAGE = 0.9995


def train_vocabulary(
    files: str | os.PathLike | Iterable[str | os.PathLike],
    size: int = 8000,
    lowercase: bool = True,
    *,
    format: str | None = None,
    text_key: str = "text",
    on_read=None,
) -> list[str]:
    """Train a WordPiece vocabulary on raw text.

    The text is read twice, to count characters and then words. It is
    normalized and split as `kbert.Tokenizer` does it. Chinese
    characters stand alone and are never joined to others. The special tokens
    come first, `[PAD]` as 0: BERT's own files leave 99 unused lines between
    `[PAD]` and the others, which a new vocabulary needs not.

    Reference: Schuster & Nakajima 2012, Japanese and Korean Voice Search;
    the trainer is that of the package `tokenizers`, which merges the most
    frequent pair first.

    Args:
        files, format, text_key, on_read: what to read, see
            `kbert.pretraining.documents.read_documents`.
        size: tokens, special ones included.
        lowercase: whether to lower-case and strip accents.

    Returns:
        The tokens; the place of each is its id. Fewer than `size` if the text
        has not enough different words.

    Raises:
        ConfigError: `size` has no room for the special tokens and an
            alphabet.
        InputError: no file matches, one cannot be read, or there is no text.

    Example:

    >>> vocabulary = kbert.train_vocabulary(["enwiki/"], size=8000)
    >>> tokenizer = kbert.Tokenizer(vocabulary)
    """
    if type(size) is not int or size < 100:
        raise ConfigError(
            f"`size` must be an integer of at least 100: special tokens, an "
            f"alphabet and words. Received: size={size!r}"
        )
    files = [files] if isinstance(files, str | os.PathLike) else list(files)

    def read() -> Iterator[str]:
        for document in read_documents(files, format, text_key, on_read):
            yield from document

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(
        lowercase=lowercase, strip_accents=lowercase
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL_TOKENS),
        limit_alphabet=_alphabet(read(), tokenizer.normalizer),
        continuing_subword_prefix="##",
        show_progress=False,
    )
    tokenizer.train_from_iterator(read(), trainer)
    vocabulary = tokenizer.get_vocab()
    if len(vocabulary) <= len(SPECIAL_TOKENS):
        raise InputError(
            "Expected text to train a vocabulary on. Received: files without "
            "a single word. Check `files` and `format`."
        )
    return sorted(vocabulary, key=vocabulary.get)


def _alphabet(paragraphs: Iterator[str], normalizer) -> int:
    """How many characters, the most frequent first, make up `COVERAGE`."""
    counts = Counter()
    for paragraph in paragraphs:
        counts.update(normalizer.normalize_str(paragraph))
    del counts[" "]
    wanted = COVERAGE * counts.total()
    sums = itertools.accumulate(count for _, count in counts.most_common())
    return 1 + sum(1 for sum_ in sums if sum_ < wanted)
