"""From raw text to a tokenized corpus on disk."""

from __future__ import annotations

import itertools
import json
import os
from collections import deque
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import kbert
from kbert.errors import CheckpointError
from kbert.errors import InputError
from kbert.folders import file_digest
from kbert.folders import new_folder
from kbert.pretraining.corpus import FORMAT
from kbert.pretraining.corpus import INDEX
from kbert.pretraining.corpus import VOCABULARY
from kbert.pretraining.corpus import Corpus
from kbert.pretraining.corpus import shard_file
from kbert.pretraining.documents import read_documents
from kbert.pretraining.sentences import split_sentences
from kbert.pretraining.words import word_starts
from kbert.tokenizer import Tokenizer

# Sentences that are tokenized at once.
BATCH = 4096


def build_corpus(
    files: str | os.PathLike | Iterable[str | os.PathLike],
    tokenizer: Tokenizer,
    path: str | os.PathLike,
    *,
    format: str | None = None,
    text_key: str = "text",
    segmenter: str | None = None,
    shard_tokens: int = 2**24,
    workers: int | None = None,
    replace: bool = False,
    progress: Callable[[int, int, int], None] | None = None,
) -> Corpus:
    """Split text into sentences, tokenize it and write a corpus.

    The text streams through: memory is taken by one shard and a few batches,
    however much text there is.

    Args:
        files, format, text_key: what to read, see
            `kbert.pretraining.documents.read_documents`.
        tokenizer: `kbert.Tokenizer`.
        path: the folder to write; it appears whole or not at all.
        segmenter: `"jieba"` marks Chinese words, for whole-word masking; by
            default a word begins wherever a piece does not begin with `##`.
        shard_tokens: a shard ends with the document that reaches it.
        workers: threads that tokenize, by default one a core; the result
            does not depend on it.
        replace: whether a corpus that is there gives way.
        progress: called with the bytes read, the documents and the tokens
            so far.

    Returns:
        The `kbert.Corpus`.

    Raises:
        InputError: no file matches, one cannot be read, or there is no text.
        CheckpointError: the folder exists, or cannot be written.

    Example:

    >>> tokenizer = kbert.Tokenizer.from_file("vocab.txt")
    >>> kbert.build_corpus(["enwiki/*.xz"], tokenizer, "corpora/enwiki").tokens
    10860934
    """
    path = Path(path)
    if path.exists() and not (replace and (path / INDEX).is_file()):
        raise CheckpointError(
            f"Expected a folder that does not exist, or replace=True and a "
            f"corpus there. Received: {path}. Choose another."
        )
    read = _Count()
    documents = read_documents(files, format, text_key, on_read=read.add)
    starts = word_starts(tokenizer, segmenter)
    with (
        new_folder(path, replace=replace) as folder,
        ThreadPoolExecutor(workers or os.cpu_count()) as pool,
    ):
        writer = _Writer(folder, tokenizer.vocabulary_size, shard_tokens)
        batches = _batches(documents)
        for tokenized in _in_order(
            pool, lambda batch: _tokenize(tokenizer, starts, batch), batches
        ):
            writer.add(*tokenized)
            if progress is not None:
                progress(read.total, writer.documents, writer.tokens)
        writer.close()
        if not writer.tokens:
            raise InputError(
                f"Expected text. Received: files without a single token "
                f"({read.total:,} bytes). Check `files` and `format`."
            )
        tokenizer.save(folder / VOCABULARY)
        index = {
            "format": FORMAT,
            "kbert_version": kbert.__version__,
            "lowercase": tokenizer.lowercase,
            "segmenter": segmenter,
            "documents": writer.documents,
            "sentences": writer.sentences,
            "tokens": writer.tokens,
            "shards": writer.shards,
            "files": {
                file.name: {
                    "bytes": file.stat().st_size,
                    "sha256": file_digest(file),
                }
                for file in sorted(folder.iterdir())
            },
        }
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n")
    return Corpus(path)


@dataclass
class _Count:
    total: int = 0

    def add(self, size: int) -> None:
        self.total += size


def _batches(documents) -> Iterator[tuple[list[str], list[int]]]:
    """Sentences, and the number of the document that each belongs to."""
    numbered = (
        (sentence, number)
        for number, paragraphs in enumerate(documents)
        for paragraph in paragraphs
        for sentence in split_sentences(paragraph)
    )
    while part := list(itertools.islice(numbered, BATCH)):
        sentences, numbers = zip(*part, strict=True)
        yield list(sentences), list(numbers)


def _in_order(pool, function, batches) -> Iterator:
    """`map` of a pool, with few results in flight."""
    waiting = deque()
    for batch in batches:
        waiting.append(pool.submit(function, batch))
        if len(waiting) > 2 * pool._max_workers:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _tokenize(tokenizer, starts, batch):
    sentences, numbers = batch
    ids = tokenizer.tokenize(sentences)
    return ids, starts(sentences, ids), numbers


class _Writer:
    """Collects a shard in memory and writes it when it is full."""

    def __init__(self, folder: Path, vocabulary_size: int, shard_tokens: int):
        self.folder = folder
        self.dtype = "uint16" if vocabulary_size <= 2**16 else "uint32"
        self.shard_tokens = shard_tokens
        self.documents = self.sentences = self.tokens = self.shards = 0
        self._document = None
        self._clear()

    def _clear(self) -> None:
        self._ids, self._starts, self._lengths = [], [], []
        self._firsts = []
        self._rows = self._size = 0

    def add(self, ids, starts: np.ndarray, numbers: list[int]) -> None:
        """Add sentences.

        Args:
            ids: ragged int32 `(S, None)`.
            starts: bool, for each id whether it begins a word.
            numbers: the document of each sentence, ascending.
        """
        lengths = ids.row_lengths().numpy()
        flat = ids.flat_values.numpy().astype(self.dtype)
        # A sentence without tokens, of control characters only, is none.
        numbers = np.array(numbers)[lengths > 0]
        lengths = lengths[lengths > 0]
        ends = np.cumsum(lengths)
        cuts = np.flatnonzero(np.diff(numbers)) + 1
        edges = [0, *cuts.tolist(), len(numbers)]
        for first, last in itertools.pairwise(edges):
            if first == last:
                continue
            if numbers[first] != self._document:
                self._begin(numbers[first])
            span = slice(ends[first] - lengths[first], ends[last - 1])
            self._ids.append(flat[span])
            self._starts.append(starts[span])
            self._lengths.append(lengths[first:last])
            self._rows += last - first
            self._size += span.stop - span.start
        self.sentences += len(lengths)
        self.tokens += len(flat)

    def _begin(self, document: int) -> None:
        if self._size >= self.shard_tokens:
            self.close()
        self._document = document
        self._firsts.append(self._rows)
        self.documents += 1

    def close(self) -> None:
        """Write what has been collected as a shard."""
        if not self._size:
            return
        lengths = np.concatenate(self._lengths)
        parts = {
            "tokens": np.concatenate(self._ids),
            "sentences": np.concatenate([[0], np.cumsum(lengths)]),
            "documents": np.array([*self._firsts, self._rows]),
            "word_starts": np.concatenate(self._starts),
        }
        for part, array in parts.items():
            if part in ("sentences", "documents"):
                array = array.astype("int64")
            np.save(self.folder / shard_file(self.shards, part), array)
        self.shards += 1
        self._clear()
