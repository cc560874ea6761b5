"""`kbert embed`, `kbert search`, `kbert summarize`."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import kbert
from kbert.cli import app


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "embedder"
    kbert.Embedder("random:1x64", seed=0).save(path)
    return path


def run(*arguments, code=0, input=None):
    result = CliRunner().invoke(app, [*map(str, arguments)], input=input)
    assert result.exit_code == code, result.output
    return result


def test_embed(model, tmp_path):
    texts = ["aaa", "", "zz 中"]
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n")
    target = tmp_path / "vectors.npy"
    run("embed", tmp_path / "texts.txt", "-o", target, "-m", model, "-q")
    expected = kbert.load(model).encode(texts)
    np.testing.assert_allclose(np.load(target), expected, atol=1e-5)
    (tmp_path / "t.csv").write_text("id,body\n1,aaa\n")
    run(
        "embed", tmp_path / "t.csv", "-o", target, "-m", model, "--text", "body"
    )
    np.testing.assert_allclose(np.load(target), expected[:1], atol=1e-5)


def test_search(model, tmp_path):
    pytest.importorskip("faiss")
    path = tmp_path / "texts.txt"
    path.write_text("aaa\nbbb\nzz y\n")
    options = ("--query", "bbb", "-k", 2, "-m", model)
    first = run("search", path, *options).stdout.splitlines()[0]
    assert first.split("\t") == ["1.0000", "2", "bbb"]
    [answer] = json.loads(run("search", path, *options, "--json").stdout)
    assert answer["query"] == "bbb" and answer["hits"][0]["row"] == 1
    assert len(answer["hits"]) == 2


def test_summarize(model):
    text = "One is here. Two is there. Three is gone."
    lines = run("summarize", "-", "-n", 2, "-m", model, input=text).stdout
    assert len(lines.splitlines()) == 2
    result = run("summarize", "-", "-m", model, "--json", input=text).stdout
    assert json.loads(result) == text.replace(". ", ".\n").splitlines()


def test_embed_never_takes_the_place_of_its_texts(model, tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("aaa\n")
    result = run("embed", path, "-o", path, "-m", model, code=1)
    assert "another file than those that are read" in result.output
    assert path.read_text() == "aaa\n"


def test_errors(model, tmp_path):
    result = run("summarize", "-", "-m", model, input=" ", code=1)
    assert "at least one sentence" in result.output
    result = run("summarize", tmp_path / "no.txt", "-m", model, code=1)
    assert "readable file" in result.output
    path = tmp_path / "classifier"
    kbert.Classifier("random:1x64", labels=["a", "b"]).save(path)
    result = run("summarize", "-", "-m", path, input="A. B.", code=1)
    assert "the folder of an embedder" in result.output
