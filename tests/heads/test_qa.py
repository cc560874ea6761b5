"""The head `qa`: spans of contexts, no answer, and what it refuses."""

import numpy as np
import pytest
import tensorflow as tf

import kbert
from kbert.errors import ConfigError
from kbert.errors import InputError

FAST = {"epochs": 1, "batch_size": 8, "verbose": 0}


def tiny(**options):
    options = {"max_length": 24, "overlap": 6} | options
    return kbert.Classifier("random:1x64", head="qa", seed=0, **options)


@pytest.fixture(scope="module")
def trained():
    x, y = [], []
    for i in range(32):
        context = f"the cat {i:02} met zzz 北京 😀 there"
        x.append(("who", context if i % 2 else context.replace("zzz", "aaa")))
        answer = {"text": ["zzz 北京"], "answer_start": [context.index("zzz")]}
        y.append(answer if i % 2 else None)
    clf = tiny()
    clf.fit(
        x, y, validation_data=(x, y), epochs=8, batch_size=8,
        learning_rate=3e-3, verbose=0,
    )  # fmt: skip
    return clf, x, y


def logits(clf, question, context, start, end, height=9.0):
    """Outputs of a model that is sure of the words of `context[start:end]`."""
    raw = [question.encode()], [context.encode()]
    tokens = clf.tokens(list(raw))
    begin = len(context[:start].encode())
    stop = len(context[:end].encode())
    outputs = {
        "start": tokens["start"].with_values(
            tf.where(tokens["start"].values == begin, height, 0.0)
        ),
        "end": tokens["end"].with_values(
            tf.where(tokens["end"].values == stop, height, 0.0)
        ),
    }
    answers = clf.finish(outputs, tokens, [tf.constant(text) for text in raw])
    return clf.head.rows({k: v.numpy() for k, v in answers.items()})[0]


@pytest.mark.parametrize("answer", ["Ann", "北京", "x 😀 y", "Zoë"])
def test_the_best_span_is_found_in_any_window(trained, answer):
    clf, *_ = trained
    for before in (0, 5, 17, 40):
        context = "w " * before + answer + " v" * 20
        start = 2 * before
        row = logits(clf, "who", context, start, start + len(answer))
        assert row["best"] == answer
        assert row["answer"] in (answer, "")
        if row["answer"]:
            assert context[row["start"] : row["end"]] == answer
            raw = context.encode()[row["start_byte"] : row["end_byte"]]
            assert raw.decode() == answer


def test_scores_are_one_distribution(trained):
    clf, *_ = trained
    row = logits(clf, "who", "Ann left", 0, 3, height=0.0)
    total = 1 / row["score"]
    assert row["score"] == pytest.approx(row["no_answer_score"])
    assert total == pytest.approx(round(total), rel=1e-4) and total > 4


def test_longest_answer(trained):
    head = kbert.Classifier(
        "random:1x64", head="qa", no_answer=False, max_answer_length=2
    )
    row = logits(head, "who", "! ? . ,", 0, 7)
    # The first and the last are four tokens apart: either, with a neighbour.
    assert len(row["answer"].split()) <= 2


def test_learns_answers_and_no_answers(trained):
    clf, x, y = trained
    assert clf.head.no_answer is True
    report = clf.evaluate(x, y)
    assert report["has_answer"]["questions"] == 16
    assert report["exact"] > 0.9
    assert set(clf.predict(x)) <= {"zzz 北京", ""} or report["f1"] > 0.9


def test_answers_in_either_form(trained):
    clf, x, y = trained
    squad = [
        [{"text": a["text"][0], "answer_start": a["answer_start"][0]}]
        if a
        else []
        for a in y
    ]
    assert clf.evaluate(x, squad) == clf.evaluate(x, y)


ASK = """
import json, sys
import tensorflow as tf

path, rows = json.loads(sys.argv[1])
serve = tf.saved_model.load(path).signatures["serving_default"]
question, context = zip(*rows)
answer = serve(question=tf.constant(question), context=tf.constant(context))
print(json.dumps({
    k: [x.decode() for x in v.numpy()] if v.dtype == tf.string
    else v.numpy().tolist() for k, v in answer.items()
}))
"""


def test_saved_model_equals_predict_in_a_fresh_process(
    trained, tmp_path, plain_tensorflow, unexplained
):
    clf, x, _ = trained
    rows = [*x[:4], ("who", "long " * 40 + x[1][1])]
    path = clf.export(tmp_path / "qa", check_ops="2.12.1")
    served = plain_tensorflow(ASK, path, [*rows, ("who", " ")])
    # A server is asked without `texts`, which refuses such a row.
    empty = {key: column.pop() for key, column in served.items()}
    assert empty["answer"] == ""
    assert empty["start"] == -1
    for i, row in enumerate(clf.stream(rows)):
        for key, value in row.items():
            if np.asarray(value).dtype.kind == "f":
                assert served[key][i] == pytest.approx(value, abs=1e-4)
            else:
                assert served[key][i] == value
    assert clf.predict(rows) == served["answer"]


# === Answers whose edges are no words' edges ===

EDGES = [
    ("Ann left Oslo", "Ann ", "Ann"),
    ("Ann left Oslo", " left", "left"),
    ("Ann left\nOslo", "left\n", "left"),
    ("10\u00a0000\u00a0people", "10\u00a0000\u00a0", "10\u00a0000"),
    ("Rene\u0301 left", "Rene\u0301", "Rene\u0301"),
    ("Rene\u0301 left", "Rene", "Rene\u0301"),
    ("ที่นี่ ไกล", "ที่นี่", "ที่นี่"),
    ("हिन्दू धर्म", "हिन्दू", "हिन्दू"),
    ("سَلَامٌ عليكم", "سَلَامٌ", "سَلَامٌ"),
    ("שָׁלוֹם לכם", " לכם", "לכם"),
    ("x Ann\u200b left", "Ann\u200b", "Ann\u200b"),
    ("x \u200bAnn left", "\u200bAnn", "Ann"),
    ("\ufeffAnn left", "\ufeffAnn ", "Ann"),
    ("👩\u200d💻️ left", "👩\u200d💻️ ", "👩\u200d💻️"),
    ("x \x07Ann\x00 left", "\x07Ann\x00", "Ann\x00"),
]


@pytest.fixture(scope="module")
def bare():
    """Untrained, behind a tokenizer that lower-cases, and one that does not."""
    found = {}
    for lowercase in (True, False):
        found[lowercase] = clf = tiny(no_answer=False)
        clf.tokenizer = kbert.Tokenizer(
            clf.tokenizer.vocabulary, lowercase=lowercase
        )
        clf.build()
    return found


@pytest.mark.parametrize("lowercase", [True, False])
def test_an_answer_is_the_words_in_it(bare, lowercase):
    """In any window, of `str` and of bytes."""
    rows = [
        (given, answer, text.index(answer), expected)
        for context, answer, expected in EDGES
        for text in (context, "w " * 40 + context + " v" * 40)
        for given in (text, b"\xff" + text.encode() + b"\xff")
    ]
    contexts, answers, starts, expected = zip(*rows, strict=True)
    y = [
        {"text": text, "answer_start": start}
        for text, start in zip(answers, starts, strict=True)
    ]
    columns = [["who"] * len(rows), [*contexts]]
    clf = bare[lowercase]
    windows, targets = clf.windows(columns), clf.head.read(y, columns)
    assert [t["text"] for t in targets] == [[text] for text in expected]
    aligned = clf.head.align(targets, windows)
    for row, (given, text) in enumerate(zip(contexts, expected, strict=True)):
        raw = given if isinstance(given, bytes) else given.encode()
        found = np.flatnonzero((windows.row == row) & aligned.any(axis=1))
        assert len(found)
        for window in found:
            first, last = windows.table.offsets[window] + aligned[window]
            words = raw[windows.start[first] : windows.end[last]]
            assert words.decode("utf-8", "ignore") == text


@pytest.mark.parametrize(("context", "answer", "expected"), EDGES)
def test_answers_reach_over_what_is_deleted(bare, context, answer, expected):
    begin = context.index(expected)
    row = logits(bare[True], "who", context, begin, begin + len(expected))
    assert row["answer"] == expected
    assert context[row["start"] : row["end"]] == expected
    target = [{"text": answer, "answer_start": context.index(answer)}]
    read = bare[True].head.read(target, [["who"], [context]])
    answers = {"answer": np.array([row["answer"]], object)}
    assert bare[True].head.report(answers, read)["exact"] == 1


def test_answers_that_cannot_be_placed_are_told(bare):
    head, windows = bare[True].head, bare[True].windows
    for context, answer in (("a \u200b b", "\u200b"), ("a  b", " ")):
        with pytest.raises(InputError, match="BERT keeps.*in row 1"):
            head.read(
                [None, {"text": answer, "answer_start": 1 + (answer > " ")}],
                [["q"] * 2, ["a", context]],
            )
    columns = [["q"] * 3, ["a", "w " * 40, "annual"]]
    answers = [None, {"text": "w " * 40, "answer_start": 0}, None]
    targets = head.read(answers, columns)
    with pytest.warns(UserWarning, match="1 answers are in no window.*row 1"):
        head.align(targets, windows(columns))
    answers = [None, None, {"text": "ann", "answer_start": 0}]
    with pytest.warns(UserWarning, match="1 answers begin or end.*row 2"):
        head.align(head.read(answers, columns), windows(columns))


# === What it refuses ===


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (
            [("q", "abc")],
            [{"text": "x", "answer_start": 0}],
            "'x' at 0 in row 0",
        ),
        ([("q", "abc")], [{"text": "c", "answer_start": 1}], "'b' stands"),
        ([("q", "abc")], [{"text": "a", "answer_start": -3}], "at -3 in row 0"),
        ([("q", "abc")], [{"text": "", "answer_start": 0}], "'' at 0"),
        ([("q", "a"), ("q", " ")], [None, None], "an empty one in row 1"),
        ([("q", "a")], ["a"], "a dict of `text`.*'a' in row 0"),
        ([("q", "a")], [["a"]], "a dict of `text`"),
        ([("q", "a")], [{"text": "a"}], "a dict of `text`"),
        ([("q", "a")], [None, None], "1 contexts and 2 rows"),
        (
            [("q", "a"), ("q", "a")],
            [None, {"text": ["a"], "answer_start": [0, 1]}],
            "1 texts and 2 places in row 1",
        ),
        ([("q", "a")], [{"text": "a", "answer_start": None}], "in row 0"),
        ([("q", "a")], [{"text": None, "answer_start": 0}], "in row 0"),
        ([("q", "a")], [[{"text": "a"}]], "a dict of `text`.*in row 0"),
        ([("q", "a")], [{"text": [3], "answer_start": [0]}], "in row 0"),
        ([("q", "a")], [{"text": "a", "answer_start": "x"}], "in row 0"),
    ],
)
def test_bad_input(x, y, message):
    with pytest.raises(InputError, match=message):
        tiny().fit(x, y, **FAST)


def test_no_answer_has_to_be_trained():
    clf = tiny(no_answer=False)
    with pytest.raises(InputError, match="none in row 1"):
        clf.fit(
            [("q", "a b"), ("q", "c")],
            [{"text": "a", "answer_start": 0}, None],
            **FAST,
        )


def test_empty_context_in_predict(trained):
    clf, x, _ = trained
    with pytest.raises(InputError, match="an empty one in row 1"):
        clf.predict([x[0], ("who", "")])


@pytest.mark.parametrize(
    "options",
    [
        {"overlap": -1},
        {"max_answer_length": 0},
        {"overlap": 0.5},
        {"inputs": ("text",), "no_answer": False},
    ],
)
def test_bad_arguments(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        tiny(**options)
