"""A tokenized corpus on disk, read by mapping it into memory.

    corpus/
      corpus.json             counts, and size and SHA-256 of every file
      vocab.txt
      00000.tokens.npy        ids of all sentences, end to end
      00000.sentences.npy     where each sentence begins, and the end
      00000.documents.npy     the first sentence of each document, and the end
      00000.word_starts.npy   whether a token begins a word

Neither TensorFlow nor Keras is needed to read one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kbert.errors import CheckpointError
from kbert.tokenizers.vocabulary import SPECIAL_TOKENS
from kbert.tokenizers.vocabulary import index_vocabulary
from kbert.tokenizers.vocabulary import read_vocabulary
from kbert.utils.atomic import file_digest
from kbert.utils.paths import as_path

INDEX, VOCABULARY = "corpus.json", "vocab.txt"
FORMAT = 1
PARTS = ("tokens", "sentences", "documents", "word_starts")
SHARD_FILE = re.compile(rf"\d{{5,}}\.({'|'.join(PARTS)})\.npy", re.ASCII)

# Tokens counted at once.
CHUNK = 2**20


@dataclass(frozen=True)
class Shard:
    """A part of a corpus: whole documents.

    Attributes:
        tokens: uint16 or uint32 `(N,)`, without special tokens.
        sentences: int64 `(S + 1,)`; sentence i is
            `tokens[sentences[i]:sentences[i + 1]]`.
        documents: int64 `(D + 1,)`; document i has the sentences
            `documents[i]` to `documents[i + 1]`.
        word_starts: bool `(N,)`.
    """

    tokens: np.ndarray
    sentences: np.ndarray
    documents: np.ndarray
    word_starts: np.ndarray


class Corpus:
    """A corpus that `kbert.build_corpus` wrote.

    Args:
        path: its folder.

    Attributes:
        vocabulary: tuple of `str`.
        lowercase: whether the vocabulary is uncased.
        documents, sentences, tokens: how many there are.
        shards: list of `Shard`, mapped into memory.
        digest: SHA-256 of the index, which holds those of all files.

    Raises:
        CheckpointError: the folder is no corpus, or a file is missing or of
            another size than the index says.

    Example:

    >>> corpus = kbert.Corpus("corpora/wiki")
    >>> corpus.documents, corpus.tokens
    (33742, 11414790)
    """

    def __init__(self, path: str | os.PathLike):
        self.path = as_path(path)
        index, self.digest = _read_index(self.path)
        try:
            self._files = index["files"]
            self.lowercase = index["lowercase"]
            self.strip_accents = index.get("strip_accents", self.lowercase)
            self.added_tokens = tuple(index.get("added_tokens", ()))
            self.documents = index["documents"]
            self.sentences = index["sentences"]
            self.tokens = index["tokens"]
            self._check_files(index["shards"])
            self.vocabulary = tuple(read_vocabulary(self.path / VOCABULARY))
            self.shards = [self._shard(n) for n in range(index["shards"])]
            self._check_counts()
            ids = index_vocabulary(self.vocabulary)
        except (LookupError, TypeError, ValueError, OSError) as error:
            raise CheckpointError(
                f"Expected a corpus as kbert writes it in {self.path}. "
                f"Received one where {error!r} is wrong. Build it again."
            ) from error
        self.special_ids = tuple(ids[token] for token in SPECIAL_TOKENS)
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (
            self.special_ids
        )

    def _check_files(self, shards: int) -> None:
        if len(self._files) != 1 + shards * len(PARTS):
            raise ValueError("shards")
        parts = [shard_file(n, part) for n in range(shards) for part in PARTS]
        # No name of the index is opened that is not one of these.
        if set(self._files) != {VOCABULARY, *parts}:
            raise ValueError("files")
        for name, facts in self._files.items():
            path = self.path / name
            size = path.stat().st_size if path.is_file() else None
            if size != facts["bytes"]:
                raise CheckpointError(
                    f"Expected {facts['bytes']} bytes in {path}. Received: "
                    f"{'no such file' if size is None else size}. Build the "
                    f"corpus again."
                )

    def _shard(self, number: int) -> Shard:
        arrays = {
            part: np.load(
                self.path / shard_file(number, part),
                mmap_mode="r",
                allow_pickle=False,
            )
            for part in PARTS
        }
        shard = Shard(**arrays)
        if not (
            shard.tokens.dtype in ("uint16", "uint32")
            and shard.sentences.dtype == shard.documents.dtype == "int64"
            and shard.word_starts.dtype == "bool"
            and all(array.ndim == 1 for array in arrays.values())
            and shard.word_starts.shape == shard.tokens.shape
            and shard.sentences[0] == shard.documents[0] == 0
            and shard.sentences[-1] == len(shard.tokens)
            and shard.documents[-1] == len(shard.sentences) - 1
        ):
            raise ValueError(shard_file(number, "*"))
        return shard

    def _check_counts(self) -> None:
        counts = {
            "documents": sum(len(s.documents) - 1 for s in self.shards),
            "sentences": sum(len(s.sentences) - 1 for s in self.shards),
            "tokens": sum(len(s.tokens) for s in self.shards),
        }
        for name, count in counts.items():
            if getattr(self, name) != count:
                raise ValueError(name)
        for name in ("lowercase", "strip_accents"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(name)
        if not {*self.added_tokens} <= {*self.vocabulary}:
            raise ValueError("added_tokens")

    def verify(self) -> None:
        """Read every file and compare its SHA-256 with the index.

        Raises:
            CheckpointError: names the first file that differs.

        Example:

        >>> kbert.Corpus("corpora/wiki").verify()
        """
        for name, facts in self._files.items():
            if file_digest(self.path / name) != facts["sha256"]:
                raise CheckpointError(
                    f"Expected the SHA-256 {facts['sha256']} of "
                    f"{self.path / name}. Received another: the file was "
                    f"changed or damaged. Build the corpus again."
                )

    def token_counts(self) -> np.ndarray:
        """How often each token is in the corpus, int64 `(V,)`.

        Example:

        >>> corpus = kbert.Corpus("corpora/wiki")
        >>> corpus.token_counts().shape == (len(corpus.vocabulary),)
        True
        """
        counts = np.zeros(len(self.vocabulary), "int64")
        for shard in self.shards:
            # In parts: NumPy counts in a copy that is four times as large.
            for start in range(0, len(shard.tokens), CHUNK):
                part = shard.tokens[start : start + CHUNK]
                counts += np.bincount(part, minlength=len(counts))
        return counts

    def unigram_entropy(self) -> float:
        """Entropy of the tokens' frequencies, in nats.

        What a model loses that knows nothing but how frequent tokens are.

        Example:

        >>> kbert.Corpus("corpora/wiki").unigram_entropy()
        6.9
        """
        counts = self.token_counts()
        shares = counts[counts > 0] / counts.sum()
        return float(-(shares * np.log(shares)).sum())


def shard_file(number: int, part: str) -> str:
    """Name of a part of a shard."""
    return f"{number:05}.{part}.npy"


def _read_index(path: Path) -> tuple[dict, str]:
    try:
        content = (path / INDEX).read_bytes()
        index = json.loads(content)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"Expected a corpus of kbert.build_corpus in {path}. Received: "
            f"{error}."
        ) from error
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise CheckpointError(
            f"Expected a corpus of format {FORMAT} in {path}. Received: "
            f"{index.get('format') if isinstance(index, dict) else index!r}."
        )
    return index, hashlib.sha256(content).hexdigest()
