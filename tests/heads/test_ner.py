"""The head `ner`: tags to pieces, entities back, and what it refuses."""

import warnings

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

import kbert
from kbert.data.batching import TokenTargets
from kbert.errors import InputError
from kbert.heads.ner import EntityHead
from kbert.heads.spans import read_entities
from kbert.heads.tags import entities
from kbert.tokenizers.windows import make_windows

NAMES = ["Ann", "Bob", "AL-AIN", "北京", "Café"]
FAST = {"epochs": 1, "batch_size": 8, "verbose": 0}


def tiny(**options):
    return kbert.Classifier("random:1x64", head="ner", seed=0, **options)


@pytest.fixture(scope="module")
def trained():
    """Capital letters are names: one that learns on so little data."""
    x = [[NAMES[i % 5], "saw", NAMES[i % 3], "."] for i in range(40)]
    y = [["B-PER", "O", "B-LOC", "O"]] * 40
    clf = tiny(max_length=16, overlap=4)
    clf.fit(x, y, epochs=16, batch_size=8, learning_rate=3e-3, verbose=0)
    return clf, x, y


def perfect(clf, texts, spans):
    """Outputs of a model that tags every token of `spans` right."""
    head = clf.head
    windows = clf.windows([texts])
    targets = head.align(head.read(spans, [texts]), windows)
    tags = np.maximum(targets.values, 0)
    tokens = clf.tokens([[text.encode() for text in texts]])
    splits = windows.table.offsets
    outputs = {
        "tag": tf.RaggedTensor.from_row_splits(tags, splits),
        "score": tf.RaggedTensor.from_row_splits(
            tags * 0 + np.float32(0.5), splits
        ),
    }
    answers = clf.finish(outputs, tokens, [tf.constant(texts)])
    return head.rows({key: value.numpy() for key, value in answers.items()})


WORDS = st.lists(
    st.tuples(
        st.sampled_from(["Ann", "北京", "😀", "Zoë-É", "x.y", "don't"]),
        st.sampled_from(["", "PER", "LOC"]),
    ),
    min_size=1,
    max_size=25,
)


# Several texts at once: each call costs much, and more texts cost little.
@given(st.lists(WORDS, min_size=5))
@settings(max_examples=5)
def test_spans_come_back_through_windows(trained, drawn):
    clf, *_ = trained
    texts, spans = [], []
    for pieces in drawn:
        text, found = "", []
        for piece, kind in pieces:
            if kind:
                found.append((len(text), len(text) + len(piece), kind))
            text += piece + " "
        texts.append(text)
        spans.append(found)
    rows = perfect(clf, texts, spans)
    for text, row, expected in zip(texts, rows, spans, strict=True):
        found = [(e["start"], e["end"], e["type"]) for e in row["entities"]]
        assert found == expected
        raw = text.encode()
        for entity in row["entities"]:
            assert text[entity["start"] : entity["end"]] == entity["text"]
            part = raw[entity["start_byte"] : entity["end_byte"]]
            assert part.decode() == entity["text"]


# Characters that BERT deletes, or that go with the ones before them.
MARKS = ["\u0301", "\u0942", "\u094d", "\u0e48", "\u064e", "\u05b0", "\ufe0f"]
CONTROLS = ["\u200b", "\u200d", "\u200f", "\ufeff", "\u00ad", "\0", "\x85"]


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize(
    "word", ["हिन्दू", "Rene\u0301", "שָׁלוֹם", "สวัสดี่", "سَلَامٌ", "👩‍💻️"]
)
def test_ends_reach_over_marks(trained, lowercase, word):
    clf = trained[0] if lowercase else cased()
    text = f"{word} , {word}. {word}"
    spans = [
        (place, place + len(word), "PER")
        for place in (0, len(word) + 3, 2 * len(word) + 5)
    ]
    (row,) = perfect(clf, [text], [spans])
    assert [e["text"] for e in row["entities"]] == [word] * 3
    assert [(e["start"], e["end"], e["type"]) for e in row["entities"]] == spans


def cased():
    """A head behind a tokenizer that keeps capitals and accents."""
    clf = tiny(max_length=16, overlap=4, labels=["LOC", "PER"])
    clf.tokenizer = kbert.Tokenizer(clf.tokenizer.vocabulary, lowercase=False)
    clf.build()
    return clf


NOISE = st.text(st.sampled_from([*MARKS, *CONTROLS]), max_size=2)
PIECE = st.tuples(
    *(NOISE, st.sampled_from(["Ann", "北", "é", "😀", "."]), NOISE),
    *(st.booleans(), st.floats(0, 1), st.floats(0, 1)),
)


@given(st.lists(st.lists(PIECE, min_size=1, max_size=8), min_size=8))
@settings(max_examples=5)
def test_a_right_model_has_f1_1(trained, rows):
    """Whatever is deleted around the words, and wherever a span ends there."""
    clf, *_ = trained
    texts, spans = [], []
    for row in rows:
        text, found = "", []
        for before, word, after, named, begin, stop in row:
            start = len(text) + round(begin * len(before))
            end = len(text + before + word) + round(stop * len(after))
            text += f"{before}{word}{after} "
            found += [(start, end, "PER")] * named
        texts.append(text)
        spans.append(found)
    targets = clf.head.read(spans, [texts])
    found = perfect(clf, texts, spans)
    for text, row, target in zip(texts, found, targets, strict=True):
        assert target == [
            (e["start_byte"], e["end_byte"], e["type"]) for e in row["entities"]
        ]
        for entity in row["entities"]:
            assert text[entity["start"] : entity["end"]] == entity["text"]
    assert list(map(len, targets)) == list(map(len, spans))


def test_entities_of_which_nothing_is_kept(trained):
    clf, *_ = trained
    with pytest.raises(
        InputError, match=r"BERT keeps.*'\\u200b'.*PER in row 1"
    ):
        clf.head.read([["O"], ["O", "B-PER"]], [["a", "a \u200b"]])
    with pytest.raises(InputError, match="BERT keeps.*row 0"):
        clf.head.read([[(1, 3, "PER")]], [["a\u00a0\u0301 b"]])


def test_neighbouring_entities_of_one_type_stay_two(trained):
    clf, *_ = trained
    (row,) = perfect(clf, ["Ann Bob"], [[(0, 3, "PER"), (4, 7, "PER")]])
    assert [e["text"] for e in row["entities"]] == ["Ann", "Bob"]


def test_decoding_follows_seqeval(trained):
    """Tags of any kind become the entities that seqeval finds in them."""
    clf, *_ = trained
    tags = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    random = np.random.default_rng(0)
    texts = [" ".join(["ann"] * n) for n in (1, 3, 7, 12, 20)]
    tokens = clf.tokens([texts])
    words = tokens["first"] & tokens["own"]
    drawn = random.integers(0, 5, tokens["token_ids"].values.shape[0])
    chosen = tokens["own"].with_values(tf.constant(drawn, tf.int64))
    score = chosen.with_values(tf.ones_like(chosen.values, tf.float32))
    answers = clf.finish(
        {"tag": chosen, "score": score}, tokens, [tf.constant(texts)]
    )
    rows = clf.head.rows({k: v.numpy() for k, v in answers.items()})
    by_row = [[] for _ in texts]
    picked = tf.ragged.boolean_mask(chosen, words).to_list()
    for row, part in zip(tokens["row"].numpy(), picked, strict=True):
        by_row[row] += [tags[i] for i in part]
    for text, row, ours in zip(texts, by_row, rows, strict=True):
        starts = [4 * i for i in range(len(text.split()))]
        expected = [
            (starts[a], starts[b - 1] + 3, kind) for a, b, kind in entities(row)
        ]
        assert expected == [
            (e["start"], e["end"], e["type"]) for e in ours["entities"]
        ]


def test_an_entity_scores_the_mean_of_its_words(trained):
    clf, *_ = trained
    texts = ["ann bob ann saw bob"]
    tokens = clf.tokens([texts])
    word = (tokens["first"].values & tokens["own"].values).numpy()
    tag, score = np.zeros(len(word), "int32"), np.zeros(len(word), "float32")
    # An entity of three words, and one of one; other pieces do not count.
    tag[word] = [1, 2, 2, 0, 3]
    score[word] = [0.25, 0.5, 0.9, 1.0, 0.75]
    score[~word] = 7.0
    outputs = {
        "tag": tokens["own"].with_values(tf.constant(tag)),
        "score": tokens["own"].with_values(tf.constant(score)),
    }
    answers = clf.finish(outputs, tokens, [tf.constant(texts)])
    (row,) = clf.head.rows({k: v.numpy() for k, v in answers.items()})
    found = [(e["text"], round(e["score"], 6)) for e in row["entities"]]
    assert found == [("ann bob ann", 0.55), ("bob", 0.75)]


def test_first_pieces_are_tagged_and_others_ignored():
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = kbert.Tokenizer([*vocabulary, "al", "-", "a", "##in", "x"])
    tokens = make_windows(tokenizer, ["Al-Ain x"], max_length=10, overlap=0)
    from kbert.tokenizers.windows import Windows

    windows = Windows.from_tensors(tokens, 0)
    head = EntityHead(labels=["LOC"])
    targets = head.align(head.read([["B-LOC", "O"]], [["Al-Ain x"]]), windows)
    assert isinstance(targets, TokenTargets)
    # [CLS] al - a ##in x [SEP]
    assert targets.values.tolist() == [-1, 1, 2, 2, -1, 0, -1]


def test_learns_and_reports(trained):
    clf, x, y = trained
    report = clf.evaluate(x, y)
    assert report["f1"] > 0.9
    assert set(report["per_class"]) == {"LOC", "PER"}
    (entities_of_first,) = clf.predict(x[:1])
    assert [e["text"] for e in entities_of_first] == ["Ann", "Ann"]
    assert entities_of_first[0]["type"] == "PER"
    assert 0 < entities_of_first[0]["score"] <= 1


def test_texts_and_spans_are_taken_too(trained):
    clf, x, y = trained
    texts = [" ".join(words) for words in x]
    spans = [
        [
            {"start": 0, "end": len(words[0]), "label": "PER"},
            (len(words[0]) + 5, len(words[0]) + 5 + len(words[2]), "LOC"),
        ]
        for words in x
    ]
    assert clf.evaluate(texts, spans) == clf.evaluate(x, y)


def test_long_texts_are_read_to_their_end(trained):
    clf, *_ = trained
    (row,) = clf.predict(["Ann saw Bob . " * 20])
    assert row and row[-1]["end"] > 200


def test_texts_of_any_form(trained):
    clf, *_ = trained
    text = "Ann saw Bob ."
    for x in (
        [text],
        [text.split()],
        np.array([text]),
        tf.constant([text]),
        {"text": [text]},
        {"text": [text.split()]},
    ):
        assert clf.columns(x) in ([[text]], [[text.encode()]])


def test_no_entities_and_no_text(trained):
    clf, *_ = trained
    assert clf.predict(["", " \n"]) == [[], []]


ASK = """
import json, sys
import tensorflow as tf

path, texts = json.loads(sys.argv[1])
serve = tf.saved_model.load(path).signatures["serving_default"]
answer = serve(text=tf.constant([bytes(t) for t in texts]))
print(json.dumps({
    k: v.numpy().astype(str).tolist() if v.dtype == tf.string and k == "type"
    else [[x.decode() for x in row] for row in v.numpy()]
    if v.dtype == tf.string else v.numpy().tolist()
    for k, v in answer.items()
}))
"""


def test_saved_model_equals_predict_in_a_fresh_process(
    trained, tmp_path, plain_tensorflow
):
    clf, *_ = trained
    texts = [
        b"Ann saw Bob .",
        "😀 北京 saw Café".encode(),
        b"\xff Ann saw \xe5\x8c Bob",
        b"",
        b"Ann saw Bob . " * 9,
    ]
    path = clf.export(tmp_path / "ner", check_ops="2.12.1")
    served = plain_tensorflow(ASK, path, [list(text) for text in texts])
    for i, (text, row) in enumerate(
        zip(texts, clf.predict(texts), strict=True)
    ):
        assert served["count"][i] == len(row)
        for j, entity in enumerate(row):
            for key, value in entity.items():
                assert served[key][i][j] == (
                    pytest.approx(value, abs=1e-5) if key == "score" else value
                )
            part = text[entity["start_byte"] : entity["end_byte"]]
            assert part.decode("utf-8", "ignore") == entity["text"]
            whole = text.decode("utf-8", "ignore")
            assert whole[entity["start"] : entity["end"]] == entity["text"]
    assert served["count"][0] > 0 and served["count"][4] > 2
    padding = served["count"][0]
    assert set(served["start"][0][padding:]) <= {-1}
    assert set(served["type"][0][padding:]) <= {""}


# === What it refuses ===


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([["a", "b"]], [["O"]], "1 tags for 2 words in row 0"),
        (["a b", "c"], [["O", "O"], ["O", "O"]], "2 tags for 1 words in row 1"),
        ([["a"], ["b"]], [["O"], ["I-X"]], "I-X only after B-X.*row 1"),
        ([["a"]], [["O"], ["O"]], "1 texts and 2 rows"),
        ([["a"]], ["O"], "a list of tags.*'O' in row 0"),
        ([["a b"]], [["O"]], "words without spaces.*'a b' in row 0"),
        (["ab"], [[(0, 3, "X")]], "within the text of 2 characters"),
        (["ab"], [[(1, 1, "X")]], "within the text"),
        (["abc"], [[(0, 2, "X"), (1, 3, "Y")]], "do not overlap.*row 0"),
        (["abc"], [[(0, 2)]], r"\(start, end, type\)"),
        (["a"], [[(0, 1, "")]], r"\(start, end, type\)"),
        (["a b"], [[(1, 2, "X")]], "that BERT keeps.*' ' as X in row 0"),
        (
            ["é ab"],
            [[{"start": 3, "end": 5, "type": "X", "text": "ab"}]],
            "within the text of 4",
        ),
        (
            ["é ab c"],
            [[{"start": 3, "end": 5, "type": "X", "text": "ab"}]],
            "'ab' where the span is.*row 0, where 'b ' stands",
        ),
        ([["a", ""]], [["B-X", "O"]], "words without spaces.*'' in row 0"),
        (["abc"], [[{"start": 0, "end": 1}]], r"\(start, end, type\)"),
        ([["a"]], [["O"]], "at least 1 label"),
    ],
)
def test_bad_input(x, y, message):
    with pytest.raises(InputError, match=message):
        tiny().fit(x, y, **FAST)


def test_spans_as_libraries_give_them():
    """Indices of NumPy, and spaces around a name."""
    y = [[(np.int64(1), np.int64(5), "X")], []]
    assert read_entities(y, [" Ann left", "北京"], None) == [[(1, 4, "X")], []]


def test_spans_that_split_words_are_told():
    texts = ["北京人 came", "é Ann left"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_entities([[(0, 2, "X")], [(2, 5, "X")]], texts, None)
    with pytest.warns(UserWarning, match=r"1 spans.*\(3, 5, 'X'\) in row 1"):
        read_entities([[], [(3, 6, "X")]], texts, None)
    for text in ("हिन्दू", "ab\u0301cd", "a\u200bb", "Ann\u200d\u0301a"):
        with pytest.warns(UserWarning, match="inside of a word"):
            read_entities([[(0, 1, "X")]], [text], None)


def test_a_span_that_splits_a_word_is_learned_with_it(trained):
    clf, *_ = trained
    with pytest.warns(UserWarning, match="Whole words are learned"):
        (row,) = perfect(clf, ["Bobby Ann"], [[(3, 9, "PER")]])
    assert [e["text"] for e in row["entities"]] == ["Bobby Ann"]


def test_type_that_was_not_trained(trained):
    clf, x, _ = trained
    with pytest.raises(InputError, match="types LOC, PER.*'ORG' in row 1"):
        clf.evaluate(x[:2], [["O"] * 4, ["B-ORG", "O", "O", "O"]])
