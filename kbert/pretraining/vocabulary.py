"""Training of a WordPiece vocabulary."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from itertools import islice
from itertools import repeat

from kbert.data.documents import read_documents
from kbert.errors import InputError
from kbert.tokenizers.vocabulary import SPECIAL_TOKENS
from kbert.utils.checks import check_flag
from kbert.utils.checks import check_integer
from kbert.utils.checks import suggests

# Part of all characters of the text that get a token of their own, the most
# frequent first: about 100 in English, some 5,000 in Chinese. A character in
# 10,000 becomes [UNK].
COVERAGE = 0.9999

# `tokenizers` and kbert make a longer word [UNK].
LONGEST_WORD = 100

# Part of the vocabulary that characters take at most, so that words remain.
ALPHABET = 0.75

# Words handed to the trainer at once.
CHUNK = 4096


@suggests
def train_vocabulary(
    files: str | os.PathLike | Iterable[str | os.PathLike],
    size: int = 8000,
    lowercase: bool = True,
    *,
    format: str | None = None,
    text_key: str = "text",
    encoding: str | None = None,
    on_read: Callable[[int], None] | None = None,
) -> list[str]:
    """Train a WordPiece vocabulary on raw text.

    The text is normalized and split as `kbert.Tokenizer` does it, and
    streamed: memory holds the distinct words, not the text. Chinese
    characters stand alone and are never joined to others. The same text
    gives the same vocabulary.

    The special tokens come first, in the order of BERT's files and `[PAD]` as
    0. BERT's files have 99 unused lines between `[PAD]` and `[UNK]`, spare
    places for a vocabulary that can no longer be changed; a new one has no
    need of them.

    Reference: Schuster & Nakajima 2012, Japanese and Korean Voice Search.

    Departures: as in the trainer of the package `tokenizers`, which does the
    work, the most frequent pair is joined first; the paper joins the pair
    that makes the text most likely.

    Args:
        files, format, text_key, encoding, on_read: what to read, see
            `kbert.data.documents.read_documents`.
        size: tokens, special ones included.
        lowercase: whether to lower-case and strip accents.

    Returns:
        The tokens; the place of each is its id. Fewer than `size` if the text
        has not enough different words.

    Raises:
        ConfigError: `size` has no room for the special tokens and an
            alphabet.
        InputError: no file matches, one cannot be read or is in another
            encoding, or there is no text.

    Example:

    >>> vocabulary = kbert.train_vocabulary(["enwiki/"], size=8000)
    >>> tokenizer = kbert.Tokenizer(vocabulary)
    """
    size = check_integer(
        "size", size, 100, why=": special tokens, an alphabet and words"
    )
    lowercase = check_flag("lowercase", lowercase)
    documents = read_documents(files, format, text_key, on_read, encoding)
    words = _count_words(documents, lowercase)
    if not words:
        raise InputError(
            "Expected text to train a vocabulary on. Received: files without "
            "a single word. Check `files` and `format`."
        )
    letters, pieces = _alphabet(words, int(ALPHABET * size))
    known = set(letters)
    words = {word: n for word, n in words.items() if known.issuperset(word)}
    tokens = _train(words, size, letters, pieces)
    # The trainer puts the alphabet in the middle of its special tokens.
    tokens = [token for token in tokens if token not in SPECIAL_TOKENS]
    return [*SPECIAL_TOKENS, *tokens]


def _count_words(
    documents: Iterator[list[str]], lowercase: bool
) -> Counter[str]:
    """How often each word is in the text, cut as `kbert.Tokenizer` cuts it."""
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer

    normalize = BertNormalizer(
        lowercase=lowercase, strip_accents=lowercase
    ).normalize_str
    split = BertPreTokenizer().pre_tokenize_str
    words = Counter()
    for document in documents:
        text = normalize("\n".join(document))
        words.update(word for word, _ in split(text))
    for word in [word for word in words if len(word) > LONGEST_WORD]:
        del words[word]
    return words


def _alphabet(words: Counter[str], room: int) -> tuple[list[str], list[str]]:
    """The characters to keep, and the `##` pieces of them that words have."""
    counts, inner = Counter(), set()
    for word, count in words.items():
        inner.update(word[1:])
        for character in word:
            counts[character] += count
    # Equally frequent ones by code point: the order of words may change.
    ranked = sorted(counts, key=lambda c: (-counts[c], c))
    left = COVERAGE * counts.total()
    letters = []
    for character in ranked:
        room -= 1 + (character in inner)
        if left <= 0 or room < 0:
            break
        left -= counts[character]
        letters.append(character)
    return sorted(letters), [f"##{c}" for c in sorted(inner & set(letters))]


def _train(
    words: dict[str, int], size: int, letters: list[str], pieces: list[str]
) -> list[str]:
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from tokenizers.trainers import WordPieceTrainer

    tokenizer = Tokenizer(WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    trainer = WordPieceTrainer(
        vocab_size=size,
        # The trainer numbers `##` pieces in the order of a hash table and
        # settles ties by number. Given here, their order is fixed.
        special_tokens=[*SPECIAL_TOKENS, *pieces],
        initial_alphabet=letters,
        limit_alphabet=len(letters),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_chunks(words), trainer)
    ids = tokenizer.get_vocab()
    return sorted(ids, key=lambda token: ids[token])


def _chunks(words: dict[str, int]) -> Iterator[str]:
    """Every word as often as it was counted: the trainer takes text only."""
    for word, count in words.items():
        copies = repeat(word, count)
        while chunk := list(islice(copies, CHUNK)):
            yield " ".join(chunk)
