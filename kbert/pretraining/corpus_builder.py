"""From raw text to a tokenized corpus on disk."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Iterable
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain
from itertools import pairwise
from pathlib import Path

import numpy as np

from kbert.data.documents import read_documents
from kbert.data.sentences import split_sentences
from kbert.errors import CheckpointError
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.errors import short
from kbert.pretraining.corpus import FORMAT
from kbert.pretraining.corpus import INDEX
from kbert.pretraining.corpus import SHARD_FILE
from kbert.pretraining.corpus import VOCABULARY
from kbert.pretraining.corpus import Corpus
from kbert.pretraining.corpus import shard_file
from kbert.pretraining.words import word_starts
from kbert.tokenizers.tokenizer import Tokenizer
from kbert.utils.atomic import file_digest
from kbert.utils.atomic import new_folder
from kbert.utils.checks import suggests
from kbert.utils.json_text import dumps
from kbert.utils.paths import as_path
from kbert.utils.paths import real_path
from kbert.utils.scratch import check_room
from kbert.utils.version import __version__

# Sentences that are tokenized at once, fewer if they are long.
BATCH = 4096
CHARACTERS = 2**20


@suggests
def build_corpus(
    files: str | os.PathLike | Iterable[str | os.PathLike],
    tokenizer: Tokenizer,
    path: str | os.PathLike,
    *,
    format: str | None = None,
    text_key: str = "text",
    encoding: str | None = None,
    segmenter: str | None = None,
    shard_tokens: int = 2**24,
    workers: int | None = None,
    replace: bool = False,
    progress: Callable[[int, int, int], None] | None = None,
) -> Corpus:
    """Split text into sentences, tokenize it and write a corpus.

    The text streams through: memory is taken by a few batches of sentences
    and the longest document, however much text there is.

    Args:
        files, format, text_key, encoding: what to read, see
            `kbert.data.documents.read_documents`.
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
        InputError: no file matches, one cannot be read or is in another
            encoding, or there is no text.
        CheckpointError: the folder exists, or cannot be written.

    Example:

    >>> tokenizer = kbert.Tokenizer.from_file("vocab.txt")
    >>> kbert.build_corpus(["enwiki/*.xz"], tokenizer, "corpora/enwiki").tokens
    11414790
    """
    if not isinstance(tokenizer, Tokenizer):
        raise ConfigError(
            f"`tokenizer` must be a kbert.Tokenizer. Received: "
            f"{short(tokenizer)}. Read a file by "
            f"kbert.Tokenizer.from_file(path)."
        )
    path = as_path(path)
    check_room(real_path(path).parent)
    if path.exists() and not (replace and (path / INDEX).is_file()):
        raise CheckpointError(
            f"Expected a folder that does not exist, or replace=True and a "
            f"corpus there. Received: {path}. Choose another."
        )
    read = _Count()
    documents = read_documents(files, format, text_key, read.add, encoding)
    starts = word_starts(tokenizer, segmenter)
    tokenized = _in_order(
        workers or os.cpu_count() or 1,
        partial(_tokenize, tokenizer, starts),
        _batches(documents),
    )
    target = new_folder(path, replace=replace, ours=_files_of(path))
    with target as folder, closing(tokenized):
        writer = _Writer(folder, tokenizer.vocabulary_size, shard_tokens)
        with closing(writer):
            for batch in tokenized:
                writer.add(*batch)
                if progress is not None:
                    progress(read.total, writer.documents, writer.tokens)
        if not writer.tokens:
            raise InputError(
                f"Expected text. Received: files without a single token "
                f"({read.total:,} bytes). Check `files` and `format`."
            )
        tokenizer.save(folder / VOCABULARY)
        index = {
            "format": FORMAT,
            "kbert_version": __version__,
            # With the options that few have.
            **{
                key: value
                for key, value in tokenizer.get_config().items()
                if key != "casing"
            },
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
        (folder / INDEX).write_text(dumps(index, indent=2) + "\n")
    return Corpus(path)


def _files_of(path: Path) -> list[str]:
    """What a corpus that is there, whole or damaged, has of kbert."""
    found = path.iterdir() if path.is_dir() else ()
    shards = [p.name for p in found if SHARD_FILE.fullmatch(p.name)]
    return [INDEX, VOCABULARY, *shards]


@dataclass
class _Count:
    total: int = 0

    def add(self, size: int) -> None:
        self.total += size


def _batches(documents) -> Iterator[tuple[list[str], list[int]]]:
    """Sentences, and the number of the document that each belongs to."""
    sentences, numbers, size = [], [], 0
    for number, paragraphs in enumerate(documents):
        for sentence in chain.from_iterable(map(split_sentences, paragraphs)):
            sentences.append(sentence)
            numbers.append(number)
            size += len(sentence)
            if len(sentences) == BATCH or size >= CHARACTERS:
                yield sentences, numbers
                sentences, numbers, size = [], [], 0
    if sentences:
        yield sentences, numbers


def _in_order(workers: int, function, batches) -> Generator:
    """`map` of a pool of threads, with few results in flight."""
    waiting = deque()
    with ThreadPoolExecutor(workers) as pool:
        for batch in batches:
            waiting.append(pool.submit(function, batch))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _tokenize(tokenizer, starts, batch):
    sentences, numbers = batch
    ids = tokenizer.tokenize(sentences)
    return ids, starts(sentences, ids), np.array(numbers)


class _Writer:
    """Writes shards as their tokens come, so that none is kept in memory."""

    def __init__(self, folder: Path, vocabulary_size: int, shard_tokens: int):
        self.folder = folder
        self.dtypes = {
            "tokens": "uint16" if vocabulary_size <= 2**16 else "uint32",
            "sentences": "int64",
            "documents": "int64",
            "word_starts": "bool",
        }
        self.shard_tokens = shard_tokens
        self.documents = self.sentences = self.tokens = self.shards = 0
        self._document = None
        self._columns = {}

    def add(self, ids, starts: np.ndarray, numbers: np.ndarray) -> None:
        """Add sentences.

        Args:
            ids: ragged int32 `(S, None)`.
            starts: bool `(N,)`, for each id whether it begins a word.
            numbers: int `(S,)`, the document of each sentence, ascending.
        """
        lengths = ids.row_lengths().numpy()
        flat = ids.flat_values.numpy()
        # A sentence without tokens, of control characters only, is none.
        numbers = numbers[lengths > 0]
        lengths = lengths[lengths > 0]
        if not len(lengths):
            return
        ends = np.cumsum(lengths)
        cuts = np.flatnonzero(np.diff(numbers)) + 1
        for first, last in pairwise([0, *cuts.tolist(), len(numbers)]):
            if numbers[first] != self._document:
                self._begin(numbers[first])
            span = slice(ends[first] - lengths[first], ends[last - 1])
            columns = self._columns
            done = columns["tokens"].size - span.start
            columns["tokens"].write(flat[span])
            columns["word_starts"].write(starts[span])
            columns["sentences"].write(ends[first:last] + done)
        self.sentences += len(lengths)
        self.tokens += len(flat)

    def _begin(self, document: int) -> None:
        """End the document before; open a shard where there is none."""
        if self._columns:
            if self._columns["tokens"].size >= self.shard_tokens:
                self.close()
            else:
                self._end()
        if not self._columns:
            for part, dtype in self.dtypes.items():
                path = self.folder / shard_file(self.shards, part)
                self._columns[part] = _Column(path, dtype)
            self._columns["sentences"].write([0])
            self._columns["documents"].write([0])
        self._document = document
        self.documents += 1

    def _end(self) -> None:
        self._columns["documents"].write([self._columns["sentences"].size - 1])

    def close(self) -> None:
        """End the last document and its shard."""
        if not self._columns:
            return
        with ExitStack() as stack:
            for column in self._columns.values():
                stack.callback(column.close)
            self._end()
        self._columns = {}
        self.shards += 1


class _Column:
    """A .npy file of one dimension that grows."""

    def __init__(self, path: Path, dtype: str):
        self.size = 0
        self._dtype = np.dtype(dtype)
        self._file = open(path, "wb")
        self._write_header()

    def _write_header(self) -> None:
        # NumPy pads it so that it keeps its length while the shape grows.
        np.lib.format.write_array_header_1_0(
            self._file,
            {
                "descr": np.lib.format.dtype_to_descr(self._dtype),
                "fortran_order": False,
                "shape": (self.size,),
            },
        )

    def write(self, values) -> None:
        values = np.asarray(values, self._dtype)
        self._file.write(values.tobytes())
        self.size += len(values)

    def close(self) -> None:
        with self._file:
            self._file.seek(0)
            self._write_header()
