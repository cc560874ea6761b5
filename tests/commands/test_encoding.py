"""`--encoding`: of every command that reads text."""

import inspect

import pytest
from typer.testing import CliRunner

from kbert.cli import app
from kbert.commands.common import one_line

TEXTS = [
    f"{word} фильм {i}" for i in range(6) for word in ("хороший", "плохой")
]
TABLE = "text\tlabel\n" + "".join(f"{t}\t{t[:5]}\n" for t in TEXTS)
READERS = {
    *("train", "evaluate", "predict", "embed", "search", "summarize"),
    *("corpus", "vocab"),
}


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same texts in two encodings, and a model that was trained on one."""
    folder = tmp_path_factory.mktemp("encoding")
    for name, text in (("table.tsv", TABLE), ("texts.txt", "\n".join(TEXTS))):
        (folder / name).write_bytes(text.encode("cp1251"))
        (folder / f"utf-8 {name}").write_bytes(text.encode())
    (folder / "vocab.txt").write_text(
        "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nфильм\n", "utf-8"
    )
    done = run(
        *("train", folder / "table.tsv", "-o", folder / "model", "--quiet"),
        *("--preset", "random:1x64", "--epochs", 1, "--max-length", 8),
        *("--encoding", "cp1251"),
    )
    assert done.exit_code == 0, done.output
    return folder


def arguments(command, folder):
    small = ("--model", "random:1x64")
    return {
        "train": (folder / "table.tsv", "-o", folder / "other"),
        "evaluate": (folder / "model", folder / "table.tsv"),
        "predict": (folder / "model", folder / "texts.txt"),
        "embed": (folder / "texts.txt", "-o", folder / "out.npy", *small),
        "search": (folder / "texts.txt", "--query", "фильм", *small),
        "summarize": (folder / "texts.txt", *small),
        "corpus": (
            *(folder / "texts.txt", "-o", folder / "corpus"),
            *("--vocab", folder / "vocab.txt"),
        ),
        "vocab": (folder / "texts.txt", "-o", folder / "v.txt", "--size", 100),
    }[command]


def test_no_command_is_left_out():
    found = {
        command.callback.__name__
        for command in app.registered_commands
        if "encoding" in inspect.signature(command.callback).parameters
    }
    assert found == READERS


@pytest.mark.parametrize("command", sorted(READERS))
def test_another_encoding_is_refused_by_name(files, command):
    given = arguments(command, files)
    result = run(command, *given)
    assert result.exit_code == 1 and result.stdout == ""
    name = (
        "table.tsv, where line 2"
        if command in ("train", "evaluate")
        else ("texts.txt, where line 1")
    )
    for part in (name, "looks like cp1251 ('", "--encoding cp1251 or"):
        assert part in result.stderr
    result = run(command, *given, "--encoding", "cp12511")
    assert result.exit_code == 1 and "mean 'cp1251'" in result.stderr


def test_the_same_text_gives_the_same(files):
    for command in ("evaluate", "predict"):
        model, file = arguments(command, files)
        result = run(command, model, file, "--encoding", "cp1251")
        plain = run(command, model, files / f"utf-8 {file.name}")
        assert result.stdout == plain.stdout != ""
    # A preset of random weights is another one each time.
    search = run("search", *arguments("search", files), "--encoding", "cp1251")
    found = {line.split("\t")[2] for line in search.stdout.splitlines()}
    assert len(found) == 5 and found <= set(TEXTS)


def test_a_validation_file_in_another_encoding(files):
    result = run(
        *("train", *arguments("train", files), "--encoding", "cp1251"),
        *("--validation", files / "utf-8 table.tsv"),
    )
    assert result.exit_code == 1 and "which is UTF-8" in result.stderr
    assert not (files / "other").exists()


def test_only_line_breaks_and_tabs_are_taken_out_of_a_line():
    blanks = "a\u00a0\x85\u2028\x1c\x0c  b"
    assert one_line(blanks) == blanks
    assert one_line("a\r\nb\tc\nd\re") == "a b c d e"
