"""Texts and labels that UTF-8 cannot hold: one cleaning, and one refusal."""

import json

import numpy as np
import pytest

import kbert
from kbert.data.files import read_columns
from kbert.data.files import read_table
from kbert.data.texts import as_labels
from kbert.data.texts import as_texts
from kbert.data.texts import encode_texts
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.summary import summarize

HALF = "\ud83d"
FAST = {"epochs": 1, "verbose": 0}


def tiny(head="classification", **options):
    return kbert.Classifier("random:1x64", head=head, seed=0, **options)


@pytest.fixture(scope="module")
def trained():
    clf = tiny(max_length=12)
    clf.fit(["aa", "bb", f"a{HALF}a", "bb"] * 4, ["a", "b"] * 8, **FAST)
    return clf


def test_texts_are_cleaned_one_for_one():
    for x in ([f"a{HALF}b"], {"text": [f"a{HALF}b"]}, np.array([f"a{HALF}b"])):
        assert as_texts(x, ("text",)) == [["a\ufffdb"]]
    assert as_texts([("\udcff", "\U0001f600")], ("a", "b")) == [
        *(["\ufffd"], ["\U0001f600"])
    ]
    assert encode_texts([HALF, b"\xff"]) == ["\ufffd".encode(), b"\xff"]


def test_answers_are_those_without_it(trained):
    texts, clean = [f"a{HALF}a", HALF, f"{HALF}\udc00 bb"], ["aa", "", " bb"]
    np.testing.assert_allclose(
        trained.predict_proba(texts), trained.predict_proba(clean), atol=1e-6
    )
    assert list(trained.stream(texts)) and trained.evaluate(texts, ["a"] * 3)
    tokens = trained.tokenizer.tokenize(texts).to_list()
    assert tokens == trained.tokenizer.tokenize(clean).to_list()


def test_vectors_search_and_summary():
    pytest.importorskip("faiss")
    embedder = kbert.Embedder("random:1x64")
    vectors = embedder.encode([f"a{HALF}b", "ab"])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    index = kbert.SearchIndex(embedder, [f"aa{HALF}", "bb"])
    assert index.search(HALF, k=2)
    assert {hit.text for hit in index.search("aa", 2)} == {"aa\ufffd", "bb"}
    text = f"One{HALF} is here. Two is there. Three is far."
    assert len(summarize(text, 2, embedder)) == 2


def test_places_in_the_text_stay():
    text = f"a{HALF} Ann left"
    head = tiny("ner", labels=["PER"]).head
    (found,) = head.read([[(3, 6, "PER")]], as_texts([text], ("text",)))
    assert found == [(5, 8, "PER")]
    given = {"start": 3, "end": 6, "type": "PER", "text": "Ann"}
    assert head.read([[given]], [[text]]) == [found]
    head = tiny("qa").head
    for answer, start in (("Ann", 3), (f"a{HALF} Ann", 0)):
        y = [{"text": answer, "answer_start": start}]
        (target,) = head.read(y, [["q"], [text]])
        assert target["span"][1] == 8


# === Labels ===


@pytest.mark.parametrize(
    ("head", "x", "y", "message"),
    [
        ("classification", ["a", "b"], ["x", HALF], r"'\\ud83d' in row 1"),
        ("classification", ["a", "b"], ["x", b"rat\xe9"], "row 1.*cp1252"),
        ("multi_label", ["a", "b"], [["x"], ["y", HALF]], r"ud83d.*row 1"),
        ("multi_label", ["a", "b"], ["x", f'["y", "{HALF}"]'], r"ud83d.*row 1"),
        ("multi_label", ["a", "b"], ["x", b"\xe9,y"], "row 1"),
        ("ner", [["a"], ["b"]], [["O"], [f"B-{HALF}"]], "UTF-8 can hold"),
        ("ner", ["a"], [[(0, 1, HALF)]], "UTF-8 can hold"),
    ],
)
def test_labels_are_refused_before_training(head, x, y, message):
    clf = tiny(head)
    with pytest.raises((InputError, ConfigError), match=message):
        clf.fit(x, y, **FAST)
    assert clf.model is None


def test_names_that_are_given(tmp_path):
    for head in ("classification", "multi_label", "ner"):
        with pytest.raises(ConfigError, match="UTF-8 can hold"):
            tiny(head, labels=["a", HALF])
    with pytest.raises(InputError, match="UTF-8 can hold"):
        as_labels([f"a{HALF}"], 1)
    with pytest.raises(ConfigError, match="name of a task"):
        kbert.MultiTask("random:1x64", {HALF: "classification"})


# === Bytes and files ===


def test_bytes_are_no_training_data_but_in_utf8(trained):
    texts = ["хорошо".encode("cp1251"), "плохо".encode("cp1251")]
    for call in (trained.evaluate, tiny().fit):
        with pytest.raises(InputError, match=r"in row 0, which looks like cp"):
            call(texts, ["a", "b"])
    with pytest.raises(InputError, match="row 0"):
        kbert.Embedder("random:1x64").fit([(texts[0], b"x")] * 2)
    # The tokenizer of a service takes anything.
    assert len(trained.predict(texts)) == 2


def test_json_lines(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [{"text": f"a{HALF}", "label": "x", "id": HALF, "more": [HALF]}]
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    x, y = read_table(path, ("text",), "label")
    assert x["text"] == ["a\ufffd"] and y == ["x"]
    found = read_columns(path, ("text",), ("id",))
    assert found == {"text": ["a\ufffd"], "id": ["\ufffd"]}
    x, y = read_table(path, ("text",), "id")
    with pytest.raises(InputError, match="line 1 of .*a.jsonl"):
        tiny().fit(x, y, **FAST)
