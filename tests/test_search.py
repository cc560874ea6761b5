"""`SearchIndex`: what it finds, files, bad input."""

import json
import sys

import numpy as np
import pytest

import kbert
from kbert.errors import CheckpointError
from kbert.errors import ConfigError
from kbert.errors import InputError

pytest.importorskip("faiss")

TEXTS = [f"{c * 3} {i}" for i, c in enumerate("abcdefgh")]


@pytest.fixture(scope="module")
def embedder():
    return kbert.Embedder("random:1x64", seed=0)


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_finds_the_nearest(embedder, kind):
    index = kbert.SearchIndex(embedder, TEXTS[:5], kind=kind)
    index.add(text.encode() for text in TEXTS[5:])
    assert len(index) == 8
    queries = ["bbb 9", TEXTS[6]]
    found = index.search(queries, k=3)
    table = embedder.similarity(queries, TEXTS)
    for hits, scores in zip(found, table, strict=True):
        rows = np.argsort(-scores)[:3]
        assert [hit.row for hit in hits] == rows.tolist()
        assert [hit.text for hit in hits] == [TEXTS[i] for i in rows]
        np.testing.assert_allclose(
            [hit.score for hit in hits], scores[rows], atol=1e-5
        )
    assert index.search(TEXTS[6], k=1)[0].text == TEXTS[6]
    assert len(index.search("a", k=100)) == 8


def test_save_and_load(embedder, tmp_path):
    index = kbert.SearchIndex(embedder, ["line\nbreak", "ü 中 😀"], kind="hnsw")
    index.save(tmp_path / "index")
    loaded = kbert.SearchIndex.load(tmp_path / "index", embedder)
    assert loaded.kind == "hnsw" and loaded.texts == index.texts
    assert loaded.search("line") == index.search("line")
    with pytest.raises(CheckpointError, match="exists already"):
        index.save(tmp_path / "index")
    other = kbert.Embedder("random:1x32")
    with pytest.raises(CheckpointError, match=r"\(2, 32\).*\(2, 64\)"):
        kbert.SearchIndex.load(tmp_path / "index", other)
    (tmp_path / "index" / "texts.jsonl").write_text(json.dumps("one") + "\n")
    with pytest.raises(CheckpointError, match=r"\(1, 64\)"):
        kbert.SearchIndex.load(tmp_path / "index", embedder)
    with pytest.raises(CheckpointError, match="SearchIndex.save"):
        kbert.SearchIndex.load(tmp_path / "nowhere", embedder)


def test_bad_input(embedder, monkeypatch):
    for texts, message in (([], "at least one"), ("a", "list"), ([1], "row 0")):
        with pytest.raises(InputError, match=message):
            kbert.SearchIndex(embedder, texts)
    with pytest.raises(ConfigError, match="kind='tree'"):
        kbert.SearchIndex(embedder, TEXTS, kind="tree")
    index = kbert.SearchIndex(embedder, TEXTS)
    with pytest.raises(ConfigError, match="k=0"):
        index.search("a", k=0)
    with pytest.raises(InputError, match="at least one text"):
        index.search([])
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ConfigError, match=r"kbert-keras\[search\]"):
        kbert.SearchIndex(embedder, TEXTS)
