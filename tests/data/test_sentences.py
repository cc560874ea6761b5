"""Sentence splitting: its rules, and that it neither loses nor hangs."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbert.data.sentences import split_sentences


@pytest.mark.parametrize(
    "sentences",
    [
        ["It rained.", "It rained!", "Did it?", "It did..."],
        ["Dr. Lee met Mrs. J. R. Smith.", "They left."],
        ["See e.g. Smith et al. (2006) or cf. Jones.", "It costs 3.14."],
        ["He lived in the U.S.", "The U.S. Navy came.", "At 5 p.m. EST, too."],
        ["It left Washington, D.C.", "In 1990 it came back."],
        ["The answer was no.", "It is No. 5 in Vol. 2, pp. 3-9.", "Art."],
        ["George W. Bush won.", "World War I.", "The end."],
        ['She said "Go!"', "He went.", '"Who?" he asked.', "(It is so.)"],
        ["Wait ... what?", "Yahoo! is a firm.", "Ah... So it is."],
        ["1. The cat sat.", "2. The dog ran.", "In 1990.", "5 came."],
        ["no capitals here.", "so these are two."],
        ["He left .", "( See it . )", "Capt . , so ."],
        ["天晴了。", "真的？！", "是的……", "他回来了；", "好。"],
        ["他说：“你好！”", "然后走了。", "（他来了。）", "完"],
        ["《加油！》是歌。", "佐野（；），名荣寿。"],
        ["价格是3.14元。", "He said 你好。", "Then he left."],
        [],
    ],
)
@pytest.mark.parametrize("blank", [" ", "\n\t"])
def test_rules(sentences, blank):
    text = blank.join(sentences)
    if "Ah... So it is." in sentences:
        sentences = [*sentences[:-1], "Ah...", "So it is."]
    assert split_sentences(text) == sentences


def test_chinese_needs_no_blanks():
    assert split_sentences("天晴了。他说：“好！”走了") == [
        "天晴了。",
        "他说：“好！”",
        "走了",
    ]


PIECES = st.sampled_from(
    [
        *".!?。！？；…,，、;\"'”）)】 \n\t\u3000",
        "Dr",
        "U.S",
        "no",
        "1",
        "a",
        "B",
    ]
)


@given(st.lists(PIECES | st.text(max_size=3)).map("".join))
def test_nothing_is_lost(text):
    sentences = split_sentences(text)
    assert all(sentence == sentence.strip() != "" for sentence in sentences)
    assert "".join("".join(sentences).split()) == "".join(text.split())


@pytest.mark.parametrize(
    "text",
    [
        "a" * 10**6,
        "." * 10**6,
        "。" * 10**6 + "，",
        "." + ")" * 10**6,
        ".)" * 500_000,
        ". " * 500_000,
        '. "' * 300_000,
        "A. " * 300_000,
        "No. 1 " * 150_000,
        "." + " " * 10**6 + "a",
        ". " + "(" * 10**6,
    ],
    ids=lambda text: repr(text[:6]),
)
def test_time_is_linear(text):
    start = time.process_time()
    split_sentences(text)
    # A tenth of it in fact; quadratic time would be hours.
    assert time.process_time() - start < 10
