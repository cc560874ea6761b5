"""Rows in messages: the file's line, or the number among all rows."""

import pytest

from kbert.data.files import read_table
from kbert.data.files import read_texts
from kbert.data.row_names import naming_rows
from kbert.data.row_names import row_name
from kbert.data.row_names import rows_from
from kbert.data.row_names import rows_of
from kbert.data.texts import as_texts
from kbert.errors import InputError


def test_names_nest_and_end():
    with rows_of([], "validation_data"), rows_from(100):
        assert row_name(3) == "row 103 of validation_data"
    with naming_rows("line {}".format), rows_from(2), rows_from(10):
        assert row_name(1) == "line 13"
    with pytest.raises(ZeroDivisionError), rows_from(5):
        raise ZeroDivisionError
    assert row_name(1) == "row 1"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.tsv", "text\tlabel\na\t1\n\nb\t2\n", "line 4"),
        ("a.csv", 'text,label\n"a\nb",1\nc,2\n', "line 4"),
        ("a.jsonl", '{"text": "a", "label": 1}\n\n' * 2, "line 3"),
    ],
)
def test_tables_know_their_lines(tmp_path, name, content, expected):
    path = tmp_path / name
    path.write_text(content)
    x, y = read_table(path, ("text",), "label")
    assert len(y) == 2
    with rows_of(x.renamed(["body"])):
        assert row_name(1) == f"{expected} of {path}"
    [window] = read_texts(path, ("text",), 10)
    with rows_of(window, "of no use"):
        assert row_name(1) == f"{expected} of {path}"


def test_every_check_of_texts_has_the_line(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("text\tlabel\na\t1\nb\t2\n")
    x, _ = read_table(path, ("text",), "label")
    x["text"][1] = None
    with pytest.raises(InputError, match="line 3 of .*a.tsv"):
        as_texts(x, ("text",))
