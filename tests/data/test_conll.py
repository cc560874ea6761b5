"""CoNLL files: words joined to texts, and tags by word."""

import pytest

from kbert.data.files import read_table
from kbert.errors import InputError
from kbert.heads.tags import word_spans

TEXT = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O

# text = Peter
Peter NNP B-NP B-PER
"""


def write(tmp_path, text, name="x.conll"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_words_and_tags(tmp_path):
    x, y = read_table(write(tmp_path, TEXT), ("text",), "label")
    assert x["text"] == ["EU rejects", "Peter"]
    assert y == [["B-ORG", "O"], ["B-PER"]]


def test_named_columns(tmp_path):
    names = ["word", "pos", "chunk", "entity"]
    x, y = read_table(write(tmp_path, TEXT), ("word",), "pos", names)
    assert x["word"] == ["EU rejects", "Peter"] and y[0] == ["NNP", "VBZ"]


def test_tabs_and_windows_line_ends(tmp_path):
    path = write(tmp_path, "北\tB-A\r\n京\tI-A\r\n\r\n\r\nx\tO\r\n")
    x, y = read_table(path, ("text",), "label")
    assert x["text"] == ["北 京", "x"] and y == [["B-A", "I-A"], ["O"]]


@pytest.mark.parametrize("blank", "\u00a0\u0085\u2028\u3000\x1c\x0b\x0c\u200b")
@pytest.mark.parametrize("between", [" ", "  ", "\t"])
def test_other_blanks_are_of_the_words(tmp_path, blank, between):
    words = [f"10{blank}000", f"{blank}x", f"y{blank}", blank]
    rows = [between.join((word, "N", "B-A")) + between[1:] for word in words]
    path = write(tmp_path, "\n".join(rows) + "\n\nz N O\n")
    x, y = read_table(path, ("text",), "label")
    assert x["text"] == [" ".join(words), "z"]
    assert y == [["B-A"] * 4, ["O"]]
    assert word_spans(x["text"][0], 4)[0] == (0, 6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a O\nb\n", "Expected 2 columns.*Received: 1 in line 2"),
        ("a\n", "Received: 1 in line 1"),
        ("\n\n", "Expected rows"),
    ],
)
def test_other_lines(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_table(write(tmp_path, text), ("text",), "label")
