"""Corpora: what is written, what is read back, and what is refused."""

import errno
import json
import subprocess
import sys

import numpy as np
import pytest

from kbert.errors import CheckpointError
from kbert.errors import InputError
from kbert.errors import UnknownNameError
from kbert.pretraining import corpus_builder
from kbert.pretraining.corpus import Corpus
from kbert.pretraining.corpus_builder import build_corpus
from kbert.pretraining.statistics import statistics
from kbert.pretraining.words import word_starts
from kbert.tokenizers.tokenizer import Tokenizer
from kbert.tokenizers.vocabulary import SPECIAL_TOKENS

VOCABULARY = [
    *SPECIAL_TOKENS,
    *(".", "a", "b", "c", "##b", "##c", "我", "在", "北", "京", "大", "学"),
]
TEXT = "A bc. B.\nC!\n\n\u200b\n\nAbc. A. a.\n"


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer(VOCABULARY)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def long_text(tmp_path, documents=100):
    """Documents of different lengths, sentence by sentence."""
    random = np.random.default_rng(0)
    path = tmp_path / "long.txt"
    letters = np.array(["a", "b", "c", "ab", "abc", "x", "\u200b"])
    with path.open("w", encoding="utf-8") as file:
        for _ in range(documents):
            for _ in range(random.integers(0, 6)):
                words = random.choice(letters, random.integers(1, 9))
                file.write(" ".join(words) + ".\n")
            file.write("\n")
    return path


def words(corpus):
    """Documents as lists of sentences, as lists of tokens."""
    return [
        [
            [
                corpus.vocabulary[i]
                for i in s.tokens[s.sentences[n] : s.sentences[n + 1]]
            ]
            for n in range(first, last)
        ]
        for s in corpus.shards
        for first, last in zip(s.documents, s.documents[1:], strict=False)
    ]


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# === What is written ===


def test_build(tokenizer, text, tmp_path):
    corpus = build_corpus(text, tokenizer, tmp_path / "corpus")
    assert words(corpus) == [
        [["a", "b", "##c", "."], ["b", "."], ["c", "[UNK]"]],
        [["a", "##b", "##c", "."], ["a", ".", "a", "."]],
    ]
    assert (corpus.documents, corpus.sentences, corpus.tokens) == (2, 5, 16)
    (shard,) = corpus.shards
    assert shard.tokens.dtype == "uint16"
    assert shard.sentences.tolist() == [0, 4, 6, 8, 12, 16]
    assert shard.sentences.dtype == shard.documents.dtype == "int64"
    assert shard.documents.tolist() == [0, 3, 5]
    starts = [
        not w.startswith("##") for d in words(corpus) for s in d for w in s
    ]
    assert shard.word_starts.tolist() == starts
    assert isinstance(shard.tokens, np.memmap)
    assert corpus.vocabulary == tuple(VOCABULARY)
    assert corpus.lowercase is True
    assert corpus.special_ids == (0, 1, 2, 3, 4)
    corpus.verify()


def test_result_does_not_depend_on_workers_or_batches(
    tokenizer, tmp_path, monkeypatch
):
    path = long_text(tmp_path)
    expected = None
    for workers, batch, characters in (
        *((1, 4096, 2**20), (4, 7, 2**20)),
        *((3, 100, 5), (2, 1, 2**20)),
    ):
        monkeypatch.setattr(corpus_builder, "BATCH", batch)
        monkeypatch.setattr(corpus_builder, "CHARACTERS", characters)
        corpus = build_corpus(
            path,
            tokenizer,
            tmp_path / "corpus",
            shard_tokens=300,
            workers=workers,
            replace=True,
        )
        found = files(corpus.path)
        expected = expected or found
        assert found == expected
    assert len(corpus.shards) > 3


def test_shards_end_with_documents(tokenizer, tmp_path):
    path = long_text(tmp_path)
    whole = build_corpus(path, tokenizer, tmp_path / "whole")
    parts = build_corpus(path, tokenizer, tmp_path / "parts", shard_tokens=200)
    assert len(whole.shards) == 1
    assert words(parts) == words(whole)
    for shard in parts.shards[:-1]:
        last = shard.sentences[shard.documents[-2]]
        assert last < 200 <= len(shard.tokens)
    assert parts.documents == sum(len(s.documents) - 1 for s in parts.shards)
    assert parts.tokens == sum(len(s.tokens) for s in parts.shards)
    assert parts.unigram_entropy() == whole.unigram_entropy()
    single = build_corpus(path, tokenizer, tmp_path / "one", shard_tokens=1)
    assert len(single.shards) == single.documents == whole.documents
    assert words(single) == words(whole)


def test_large_vocabulary(text, tmp_path):
    vocabulary = [*VOCABULARY, *(f"w{i}" for i in range(2**16))]
    tokenizer = Tokenizer(vocabulary)
    text.write_text("a w65535 b")
    corpus = build_corpus(text, tokenizer, tmp_path / "corpus")
    assert corpus.shards[0].tokens.dtype == "uint32"
    assert words(corpus) == [[["a", "w65535", "b"]]]


def test_files_are_plain_npy(tokenizer, tmp_path):
    corpus = build_corpus(long_text(tmp_path), tokenizer, tmp_path / "corpus")
    for part in ("tokens", "sentences", "documents", "word_starts"):
        saved = np.load(corpus.path / f"00000.{part}.npy", allow_pickle=False)
        assert (saved == getattr(corpus.shards[0], part)).all()
    index = json.loads((corpus.path / "corpus.json").read_text())
    assert index["format"] == 1
    assert set(index["files"]) | {"corpus.json"} == set(files(corpus.path))


def test_progress(tokenizer, text, tmp_path):
    seen = []
    build_corpus(
        text, tokenizer, tmp_path / "c", progress=lambda *n: seen.append(n)
    )
    assert seen[-1] == (text.stat().st_size, 2, 16)


def test_statistics(tokenizer, text, tmp_path):
    found = statistics(build_corpus(text, tokenizer, tmp_path / "corpus"))
    counts = np.array([5, 4, 2, 1, 1, 2, 1])
    assert counts.sum() == 16
    shares = counts / 16
    assert found.pop("bytes") > 500
    assert found.pop("unigram_entropy") == pytest.approx(
        -(shares * np.log(shares)).sum()
    )
    assert found == {
        "documents": 2,
        "sentences": 5,
        "tokens": 16,
        "tokens_per_sentence": 4,
        "sentences_per_document": 2,
        "unknown_share": 1 / 16,
        "shards": 1,
    }


def test_reading_imports_nothing_heavy(tokenizer, text, tmp_path):
    build_corpus(text, tokenizer, tmp_path / "corpus")
    code = (
        "import sys, kbert\n"
        "kbert.Corpus(sys.argv[1]).verify()\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, tmp_path / "corpus"], check=True
    )


# === Words ===


def test_jieba_marks_words(tokenizer, text, tmp_path):
    pytest.importorskip("jieba")
    text.write_text("我在北京大学ab. c。\n\u200b北 京", encoding="utf-8")
    corpus = build_corpus(
        text, tokenizer, tmp_path / "corpus", segmenter="jieba"
    )
    shard = corpus.shards[0]
    marked = [
        ("|" if start else "") + corpus.vocabulary[i]
        for i, start in zip(shard.tokens, shard.word_starts, strict=True)
    ]
    assert "".join(marked) == "|我|在|北京大学|a##b|.|c|[UNK]|北|京"


def test_segmenters(tokenizer, monkeypatch):
    with pytest.raises(UnknownNameError, match="mean 'jieba'"):
        word_starts(tokenizer, "jeiba")
    monkeypatch.setitem(sys.modules, "jieba", None)
    with pytest.raises(ValueError, match=r"kbert-keras\[chinese\]"):
        word_starts(tokenizer, "jieba")


# === What is refused ===


@pytest.mark.parametrize("content", ["", "\n\n", "\u200b\n\n\u200b\n"])
def test_empty_corpus(tokenizer, text, tmp_path, content):
    text.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match="without a single token"):
        build_corpus(text, tokenizer, tmp_path / "corpus")
    assert list(tmp_path.iterdir()) == [text]


def test_failure_leaves_the_old_corpus(tokenizer, text, tmp_path):
    path = tmp_path / "corpus"
    build_corpus(text, tokenizer, path)
    old = files(path)
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"text": "A b. C."}\n' * 9999 + "{}\n")
    with pytest.raises(InputError, match="line 10000"):
        build_corpus(bad, tokenizer, path, replace=True, shard_tokens=100)
    assert files(path) == old
    with pytest.raises(InputError, match="matches nothing"):
        build_corpus(tmp_path / "*.gz", tokenizer, path, replace=True)
    assert files(path) == old
    assert sorted(tmp_path.iterdir()) == [bad, path, text]


def test_existing_folders(tokenizer, text, tmp_path):
    path = tmp_path / "corpus"
    build_corpus(text, tokenizer, path)
    with pytest.raises(CheckpointError, match="replace=True"):
        build_corpus(text, tokenizer, path)
    text.write_text("B.")
    assert build_corpus(text, tokenizer, path, replace=True).tokens == 2
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "thesis.doc").write_text("do not touch")
    with pytest.raises(CheckpointError, match="does not exist"):
        build_corpus(text, tokenizer, other, replace=True)
    assert files(other) == {"thesis.doc": b"do not touch"}


def test_full_disk(tokenizer, text, tmp_path, monkeypatch):
    def full(self, values):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(corpus_builder._Column, "write", full)
    with pytest.raises(CheckpointError, match="No space left.*make room"):
        build_corpus(text, tokenizer, tmp_path / "corpus")
    assert list(tmp_path.iterdir()) == [text]


def test_no_corpus(tmp_path):
    for content in (None, "[]", "{", '{"format": 9}'):
        if content is not None:
            (tmp_path / "corpus.json").write_text(content)
        with pytest.raises(CheckpointError, match="Expected a corpus"):
            Corpus(tmp_path)


@pytest.fixture
def corpus(tokenizer, text, tmp_path):
    return build_corpus(text, tokenizer, tmp_path / "corpus").path


@pytest.mark.parametrize("name", ["00000.tokens.npy", "vocab.txt"])
def test_damaged_files(corpus, name):
    path = corpus / name
    content = path.read_bytes()
    path.write_bytes(content.replace(b"\nb\n", b"\nz\n")[:-1] + b"\n")
    with pytest.raises(CheckpointError, match=f"SHA-256.*{name}"):
        Corpus(corpus).verify()
    path.write_bytes(content[:-1])
    with pytest.raises(CheckpointError, match=f"bytes in .*{name}"):
        Corpus(corpus)
    path.unlink()
    with pytest.raises(CheckpointError, match=f"{name}.*no such file"):
        Corpus(corpus)


@pytest.mark.parametrize(
    "change",
    [
        {"shards": 2},
        {"shards": 10**12},
        {"shards": "1"},
        {"tokens": 15},
        {"documents": 3},
        {"sentences": None},
        {"lowercase": 1},
        {"files": {}},
        {"files": {"../secret.npy": {"bytes": 1, "sha256": ""}}},
        {"files": ["vocab.txt"]},
    ],
)
def test_wrong_index(corpus, change):
    path = corpus / "corpus.json"
    index = json.loads(path.read_text())
    path.write_text(json.dumps(index | change))
    with pytest.raises(CheckpointError, match="Build it again"):
        Corpus(corpus)


@pytest.mark.parametrize(
    ("part", "array"),
    [
        ("tokens", np.zeros(16, "int32")),
        ("tokens", np.zeros((4, 4), "uint16")),
        ("word_starts", np.zeros(15, "bool")),
        ("sentences", np.array([0, 4, 6, 8, 12, 15])),
        ("sentences", np.array([1, 4, 6, 8, 12, 16])),
        ("documents", np.array([0, 3, 4])),
        ("documents", np.array([0.0, 3.0, 5.0])),
        ("documents", np.array([None, 1], object)),
        ("documents", np.array([], "int64")),
    ],
)
def test_wrong_arrays(corpus, part, array):
    path = corpus / f"00000.{part}.npy"
    np.save(path, array, allow_pickle=True)
    index = json.loads((corpus / "corpus.json").read_text())
    index["files"][path.name]["bytes"] = path.stat().st_size
    (corpus / "corpus.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="Build it again"):
        Corpus(corpus)


def test_digest_tells_corpora_apart(tokenizer, text, tmp_path):
    one = build_corpus(text, tokenizer, tmp_path / "1")
    same = build_corpus(text, tokenizer, tmp_path / "2")
    text.write_text("C")
    other = build_corpus(text, tokenizer, tmp_path / "3")
    assert one.digest == same.digest != other.digest
