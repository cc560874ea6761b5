"""check_head passes the built-in heads that have no single label a row."""

import pytest

from kbert.heads.multi_label import MultiLabelHead
from kbert.heads.ner import EntityHead
from kbert.heads.qa import AnswerHead
from kbert.heads.regression import RegressionHead
from kbert.testing import check_head

LETTERS = "abab" * 8
TEXTS = [f"{letter} {i:02} {letter}" for i, letter in enumerate(LETTERS)]

ENTITIES = (
    [["aaa", f"{i:02}", "bbb", "ccc"] for i in range(32)],
    [["B-A", "O", "B-B", "I-B"]] * 32,
)
QUESTIONS = (
    [("who", f"aaa {i:02} bbb") for i in range(32)],
    [{"text": ["aaa"], "answer_start": [0]}, None] * 16,
)


@pytest.mark.parametrize(
    ("head", "labels", "data"),
    [
        (
            MultiLabelHead,
            ("a", "b"),
            (
                TEXTS,
                [[c] if i % 4 else ["a", "b"] for i, c in enumerate(LETTERS)],
            ),
        ),
        (RegressionHead, None, (TEXTS, [float(ord(c)) for c in LETTERS])),
        # As the next it answers tokens, of one text.
        pytest.param(
            *(EntityHead, ("A", "B"), ENTITIES), marks=pytest.mark.large
        ),
        (AnswerHead, None, QUESTIONS),
    ],
)
def test_check_head_passes(head, labels, data):
    check_head(head, labels=labels, data=data)
