"""SQuAD's files, and its figures as the official scripts count them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbert.data import squad
from kbert.data.files import read_table
from kbert.errors import InputError

# What evaluate-v2.0.py gives for them: exact, F1.
OFFICIAL = [
    ("Denver Broncos", ["Denver Broncos"], 1, 1.0),
    ("the Denver Broncos!", ["denver broncos"], 1, 1.0),
    ("Broncos", ["Denver Broncos", "The Broncos"], 1, 1.0),
    ("Denver", ["Denver Broncos"], 0, 2 / 3),
    ("a b b c", ["b b d"], 0, 2 * 2 / (3 + 3)),
    ("", ["Denver"], 0, 0.0),
    ("", [], 1, 1.0),
    ("Denver", [], 0, 0.0),
    ("the", ["a"], 1, 1.0),
    ("Eiffel-Tower", ["Eiffel Tower"], 0, 0.0),
    ("4,000", ["4000"], 1, 1.0),
]


@pytest.mark.parametrize(("answer", "true", "exact", "f1"), OFFICIAL)
def test_figures(answer, true, exact, f1):
    assert squad.best(squad.exact_match, answer, true) == exact
    assert squad.best(squad.f1, answer, true) == pytest.approx(f1)


def test_report_parts():
    report = squad.report(["a b", "", "x"], [["b"], [], []])
    assert report["exact"] == pytest.approx(2 / 3)
    assert report["no_answer"] == {"exact": 0.5, "f1": 0.5, "questions": 2}
    assert report["has_answer"]["exact"] == 1.0
    assert "no_answer" not in squad.report(["x"], [["x"]])


@given(
    st.lists(
        st.tuples(st.integers(-3, 3), st.booleans(), st.sampled_from("xy")),
        min_size=1,
        max_size=8,
    )
)
def test_no_threshold_is_better(rows):
    differences = [float(d) for d, _, _ in rows]
    true = [["x"] if has else [] for _, has, _ in rows]
    answers = [answer for *_, answer in rows]

    def total(threshold):
        given_ = [
            a if d <= threshold else ""
            for a, d in zip(answers, differences, strict=True)
        ]
        return squad.report(given_, true)["f1"]

    found = squad.best_threshold(differences, answers, true)
    best = max(total(t / 2) for t in range(-9, 10))
    assert total(found) == pytest.approx(best)


def squad_file(path, **changes):
    qa = {
        "id": "1",
        "question": "Who?",
        "answers": [{"text": "Ann", "answer_start": 0}],
    }
    qas = [qa | changes, {"question": "Why?", "answers": [], "id": "2"}]
    paragraph = {"context": "Ann left.", "qas": qas}
    path.write_text(json.dumps({"data": [{"paragraphs": [paragraph]}]}))
    return path


def test_file(tmp_path):
    path = squad_file(tmp_path / "train.json")
    x, y = read_table(path, ("question", "context"), "label", format="squad")
    assert x == {"question": ["Who?", "Why?"], "context": ["Ann left."] * 2}
    assert y == [
        {"text": ["Ann"], "answer_start": [0]},
        {"text": [], "answer_start": []},
    ]


def test_impossible_question_has_no_answer(tmp_path):
    path = squad_file(tmp_path / "x.json", is_impossible=True)
    _, y = read_table(path, ("question", "context"), "label", format="squad")
    assert y[0]["text"] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "a SQuAD file.*after question 0"),
        ('{"data": 3}', "a SQuAD file"),
        ('{"data": [{"paragraphs": [{"qas": [{}]}]}]}', "after question 1"),
        (b'{"data": "rat\xe9"}', "^Expected text in UTF-8.*--encoding cp1252"),
    ],
)
def test_other_files(tmp_path, text, message):
    path = tmp_path / "x.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message):
        read_table(path, ("question", "context"), "label", format="squad")
