"""`kbert vocab` and `kbert corpus`: what they print, and how they end."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from kbert.cli import app
from kbert.commands import reading
from kbert.pretraining.corpus import Corpus
from kbert.tokenizers.vocabulary import SPECIAL_TOKENS
from kbert.tokenizers.vocabulary import read_vocabulary

TEXT = "The cat sat. The dog ran!\n\nA bird sang. It flew.\n" * 20


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def refused(result, *parts):
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    for part in parts:
        assert part in result.stderr


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture
def vocabulary(text):
    path = text.with_name("vocab.txt")
    result = run("vocab", text, "-o", path, "--size", 100, "--quiet")
    assert result.exit_code == 0, result.output
    assert result.output == ""
    return path


@pytest.mark.parametrize("command", ["vocab", "corpus"])
def test_help_has_examples(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"kbert {command} " in result.stdout.partition("Examples")[2]


# === kbert vocab ===


def test_vocab(text, tmp_path):
    path = tmp_path / "new" / "vocab.txt"
    result = run("vocab", text, "-o", path, "--size", 100)
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert f"Saved: {path}" in result.stderr
    assert f"kbert corpus {text} --vocab {path} -o corpus" in result.stderr
    tokens = read_vocabulary(path)
    assert tuple(tokens[:5]) == SPECIAL_TOKENS
    assert "the" in tokens
    assert [p.name for p in path.parent.iterdir()] == ["vocab.txt"]


def test_vocab_cased_json(text, tmp_path):
    path = tmp_path / "vocab.txt"
    result = run("vocab", text, "-o", path, "--cased", "--json")
    found = json.loads(result.stdout)
    tokens = read_vocabulary(path)
    assert "The" in tokens
    assert found.pop("seconds") >= 0
    assert found == {
        "vocabulary": str(path),
        "tokens": len(tokens),
        "lowercase": False,
    }
    assert "--cased" in result.stderr


def test_vocab_failure_leaves_the_old_file(tmp_path):
    path, bad = tmp_path / "vocab.txt", tmp_path / "bad.jsonl"
    path.write_text("old")
    bad.write_text("{}")
    refused(run("vocab", bad, "-o", path), "line 1 of", "--text-key")
    refused(run("vocab", tmp_path / "none", "-o", path), "matches nothing")
    refused(run("vocab", bad, "-o", tmp_path), "is a folder")
    refused(run("vocab", bad, "-o", bad / "vocab.txt"), "can be written")
    assert path.read_text() == "old"
    assert sorted(tmp_path.iterdir()) == [bad, path]


# === kbert corpus ===


@pytest.mark.parametrize("where", ["itself", "folder", "link"])
def test_vocab_never_takes_the_place_of_its_text(text, tmp_path, where):
    output = text
    if where == "link":
        output = tmp_path / "vocab.txt"
        output.symlink_to(text)
    files = tmp_path if where == "folder" else text
    result = run("vocab", files, "-o", output, "--size", 100)
    refused(result, "another file than those that are read")
    assert text.read_text() == TEXT


def test_corpus(text, vocabulary, tmp_path):
    path = tmp_path / "corpus"
    result = run("corpus", text, "--vocab", vocabulary, "-o", path)
    assert result.exit_code == 0, result.output
    corpus = Corpus(path)
    corpus.verify()
    rows = dict(
        line.rsplit(maxsplit=1)
        for line in result.stdout.splitlines()
        if "nats" not in line and "size" not in line
    )
    assert rows == {
        "documents": "21",
        "sentences": "80",
        "tokens": f"{corpus.tokens:,}",
        "tokens a sentence (median)": "4",
        "sentences a document (median)": "4",
        "[UNK] share": "0.000%",
        "shards": "1",
    }
    assert f"Saved: {path}" in result.stderr


def test_corpus_json_and_again(vocabulary, tmp_path):
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"body": "The cat. The dog."}\n' * 30)
    command = (
        *("corpus", texts, "--vocab", vocabulary, "-o", tmp_path / "corpus"),
        *("--text-key", "body", "--shard-tokens", 50, "--json", "--quiet"),
    )
    result = run(*command)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    found = json.loads(result.stdout)
    assert found["documents"] == 30
    assert found["shards"] > 1
    assert found["digest"] == Corpus(tmp_path / "corpus").digest
    refused(run(*command), "which exists", "--force")
    again = json.loads(run(*command, "--force").stdout)
    assert again["digest"] == found["digest"]


def test_corpus_of_a_preset(text, tmp_path):
    result = run(
        *("corpus", text, "--preset", "random:tiny", "-o", tmp_path / "corpus")
    )
    assert result.exit_code == 0, result.output
    assert Corpus(tmp_path / "corpus").lowercase is True


def test_corpus_refuses(text, vocabulary, tmp_path):
    where = ("-o", tmp_path / "corpus")
    vocab = ("--vocab", vocabulary)
    refused(run("corpus", tmp_path / "none", *vocab, *where), "matches nothing")
    refused(run("corpus", text, "--vocab", "none", *where), "No such file")
    refused(run("corpus", text, *vocab, "-o", text), "which exists")
    refused(run("corpus", text, *vocab, "-o", text, "--force"), "replace=True")
    refused(run("corpus", text, "--preset", "minilm", *where), "preset")
    text.write_text("\n")
    refused(run("corpus", text, *vocab, *where), "without a single token")
    assert not (tmp_path / "corpus").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["vocab", "FILE"],
        ["vocab", "-o", "vocab.txt"],
        ["vocab", "FILE", "-o", "vocab.txt", "--size", "99"],
        ["corpus", "FILE", "-o", "corpus"],
        ["corpus", "FILE", "-o", "corpus", "--vocab", "a", "--preset", "b"],
        ["corpus", "FILE", "-o", "corpus", "--preset", "b", "--cased"],
        ["corpus", "FILE", "-o", "corpus", "--vocab", "a", "--format", "csv"],
    ],
)
def test_wrong_usage(text, arguments):
    assert run(*[text if a == "FILE" else a for a in arguments]).exit_code == 2


# === Progress ===


class Clock:
    """Time that passes only when a test says so."""

    now = 100.0

    def perf_counter(self):
        return self.now


@pytest.mark.parametrize("terminal", [True, False])
def test_progress(text, monkeypatch, terminal):
    clock = Clock()
    monkeypatch.setattr(reading, "time", clock)
    console = Console(
        file=io.StringIO(),
        force_terminal=terminal,
        force_interactive=terminal,
        width=80,
        _environ={"TERM": "xterm"},
    )
    size = Path(text).stat().st_size
    with reading.ReadingProgress([str(text)], console) as progress:
        progress.update(100, "1 documents")
        clock.now += 20
        progress.update(size, "22 documents  5 tokens/s")
    shown = console.file.getvalue()
    if terminal:
        assert "22 documents  5 tokens/s" in shown
        assert "980 bytes of 980 bytes" in shown
    else:
        assert shown == "980 bytes of 980 bytes  22 documents  5 tokens/s\n"
