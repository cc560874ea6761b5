"""Files of texts: their forms, and what is wrong with real ones."""

import csv
import io
import json
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbert.data import files
from kbert.data import lines
from kbert.data.documents import read_documents
from kbert.data.files import Span
from kbert.data.files import read_columns
from kbert.data.files import read_rows
from kbert.data.files import read_table
from kbert.data.files import read_texts
from kbert.errors import InputError
from kbert.errors import UnknownNameError
from kbert.scoring.partitions import cut


@pytest.fixture
def write(tmp_path):
    def write(content, name="data.tsv"):
        path = tmp_path / name
        if isinstance(content, str):
            content = content.encode()
        path.write_bytes(content)
        return path

    return write


def table(path, **options):
    x, y = read_table(path, ("text",), "label", **options)
    return x["text"], y


@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        ("a.tsv", "text\tlabel\nx\t1\ny\t0\n", ["x", "y"]),
        ("a.tsv", "text\tlabel\r\nx\t1\r\ny\t0", ["x", "y"]),
        ("a.tsv", "\ufefftext\tlabel\nx\t1\n\ny\t0\n", ["x", "y"]),
        ("a.tsv", '"text\tlabel\n"x\t1\n'.replace('"t', "t"), ['"x']),
        ("a.tsv", "text\tlabel\na\rb\u2028c\x0c\t1\n", ["a\rb\u2028c\x0c"]),
        ("a.csv", 'label,text\n1,"x, ""y""\nz"\n', ['x, "y"\nz']),
        ("a.csv", "\ufeff label , text\r\n1,x\r\n", ["x"]),
        ("a.CSV", "text,label\nx,1\n\ny,0\n", ["x", "y"]),
        ("a.jsonl", '{"text": "x", "label": 1}\n\n', ["x"]),
        ("a.json", '{"label": "1", "text": "\\ud83d\\ude00"}', ["\U0001f600"]),
    ],
)
def test_forms(write, name, content, texts):
    assert table(write(content, name))[0] == texts


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.txt", "a.conll"])
def test_lines_of_old_macs_are_not_one_line(write, name):
    rows = {"a.tsv": "text\tlabel\nx\t1\ny\t0\n", "a.txt": "x\ny\n"}
    rows |= {"a.csv": "text,label\nx,1\n", "a.conll": "Ann B-PER\nleft O\n"}
    path = write(rows[name].replace("\n", "\r"), name)
    form = "text" if name == "a.txt" else None
    with pytest.raises(InputError, match=f"{name}, where a carriage return"):
        list(read_rows(path, format=form))
    with pytest.raises(InputError, match="tr '"):
        list(read_documents([path], format="text"))
    if name == "a.txt":
        with pytest.raises(InputError, match="carriage return alone"):
            cut([path])
    # One at the end of a line is of the line's end.
    assert [*read_rows(write("x\r", "b.txt"), format="text")][0].cells == {
        "text": "x"
    }


def test_columns_that_a_spreadsheet_left_empty(write):
    path = write("v1,v2,,,\r\nham,Ok lar,,,\r\n", "spam.csv")
    x, y = read_table(path, ("v2",), "v1")
    assert (x["v2"], y) == (["Ok lar"], ["ham"])
    with pytest.raises(InputError, match="different names"):
        read_table(write("v1,v1,\na,b,\n", "b.csv"), ("v1",), "label")


def test_one_json_document_is_no_json_lines(write):
    for content in ('[{"text": "x"}]', '[\n  {"text": "x"}\n]\n', "{\n}"):
        with pytest.raises(InputError, match="pandas.read_json"):
            list(read_rows(write(content, "a.json")))


JSON = '{"text": "é", "label": 1}'


def test_other_encodings(write):
    rows = "text\tlabel\nraté\ta\nratê\tb\n"
    path = write(rows.encode("cp1252"))
    with pytest.raises(InputError, match="data.tsv, where line 2.*cp1252"):
        table(path)
    assert table(path, encoding="cp1252") == (["raté", "ratê"], ["a", "b"])
    for name, encoding in (("a.csv", "utf-16"), ("b.jsonl", "utf-8-sig")):
        text = {"a.csv": "text,label\né,a\n", "b.jsonl": JSON}[name]
        assert table(write(text.encode(encoding), name))[0] == ["é"]
    with pytest.raises(UnknownNameError, match="mean 'cp1252'"):
        table(path, encoding="cp11252")


def test_columns_and_format(write):
    path = write("1,x\n0,y\n", "a.dat")
    found = table(path, columns=["label", "text"], format="csv")
    assert found == (["x", "y"], ["1", "0"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", "", "Expected rows in .*a.tsv. Received: none"),
        ("a.tsv", "text\tlabel\n", "Expected rows"),
        ("a.jsonl", "\n", "Expected rows"),
        ("a.tsv", "text\tlabel\nx\t1\ny\n", r"2 columns.*1 in line 3"),
        ("a.tsv", "text\tlabel\nx\t1\t2\n", r"3 in line 2.*CSV or JSON"),
        ("a.tsv", "text\ttext\nx\t1\n", "different names"),
        ("a.tsv", "text\tlabel\nx\t\n", "a label in every row.*line 2"),
        ("a.csv", 'text,label\nx,1\n"y,0\n', "Expected CSV.*line 3"),
        ("a.csv", 'text,label\n"a\nb",1\nx\n', "1 in line 4"),
        ("a.jsonl", '{"text": "x", "label": 1}\n{"tex', "object in line 2"),
        ("a.jsonl", "[1]\n", "line 1.*list"),
        ("a.jsonl", "[" * 100_000, "object in line 1"),
        ("a.jsonl", '{"text": null, "label": 1}', "'text'.*None in line 1"),
        ("a.jsonl", '{"text": "x", "label": null}', "none in line 1"),
        ("a.tsv", "text\tlabel\n".encode("utf-16-le"), "utf-16-le"),
        ("a.csv", b"PK\x03\x04rest", "workbook"),
        ("a.tsv", b"\x1f\x8brest", "gzip"),
    ],
)
def test_what_is_wrong_with_a_file(write, name, content, message):
    with pytest.raises(InputError, match=message):
        table(write(content, name))


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        table(tmp_path / "none.tsv")
    with pytest.raises(InputError, match="directory"):
        table(tmp_path)


def test_missing_column(write):
    with pytest.raises(UnknownNameError, match="mean 'texts'") as error:
        table(write("texts\tlabel\nx\t1\n"))
    assert error.value.kind == "column"
    later = '{"text": "x", "label": 1}\n{"label": 1}\n'
    with pytest.raises(UnknownNameError, match="line 2"):
        table(write(later, "a.jsonl"))
    # Without a header the names are a row's cells, which can be long.
    with pytest.raises(UnknownNameError) as error:
        table(write("x" * 10_000 + "\t1\ny\t0\n"))
    assert len(str(error.value)) < 300


def test_one_column_for_both(write):
    with pytest.raises(InputError, match="different columns"):
        read_table(write("text\nx\n"), ("text",), "text")


# Zeros at every other byte are UTF-16.
CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0\t\n\r"))
ROWS = st.lists(st.tuples(CELL, CELL.filter(bool)), min_size=1)


def test_a_zero_makes_no_utf_16(write):
    assert table(write(b"text\tlabel\n\t\0\n")) == ([""], ["\0"])
    # Where it is no UTF-8, it does.
    with pytest.raises(InputError, match="utf-16-le"):
        table(write("电影很好看吗\n".encode("utf-16-le"), "a.csv"))


@given(ROWS)
def test_tsv_round_trip(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "round.tsv"
    body = "".join(f"{text}\t{label}\n" for text, label in rows)
    path.write_bytes(f"text\tlabel\n{body}".encode())
    assert table(path) == ([t for t, _ in rows], [y for _, y in rows])


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8")),
            st.text(st.characters(codec="utf-8"), min_size=1),
        ),
        min_size=1,
    )
)
def test_csv_round_trip(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "round.csv"
    file = io.StringIO(newline="")
    csv.writer(file).writerows([("text", "label"), *rows])
    path.write_bytes(file.getvalue().encode())
    assert table(path) == ([t for t, _ in rows], [y for _, y in rows])


@given(
    st.lists(st.text(), min_size=1),
    st.booleans(),
)
def test_json_round_trip(tmp_path_factory, texts, ascii):
    path = tmp_path_factory.getbasetemp() / "round.jsonl"
    rows = [
        json.dumps({"text": t, "label": 1}, ensure_ascii=ascii) for t in texts
    ]
    path.write_bytes("\n".join(rows).encode())
    assert table(path)[0] == texts


@given(
    st.binary() | st.text().map(str.encode),
    st.sampled_from(files.FORMATS),
    st.sampled_from([None, ["text"], ["text", "label"]]),
)
def test_any_bytes_are_read_or_refused_by_name(
    tmp_path_factory, content, format, columns
):
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(content)
    try:
        table(path, columns=columns, format=format)
    except (InputError, UnknownNameError):
        pass


@given(st.binary(), st.integers(1, 5))
def test_lines_do_not_depend_on_chunks(tmp_path_factory, content, chunk):
    # What is refused is so by its first chunk, or by a byte.
    content = b"x\n" + content.decode("utf-8", "ignore").encode()
    path = tmp_path_factory.getbasetemp() / "chunks.txt"
    path.write_bytes(content)
    expected = content.decode().split("\n")
    if not expected[-1]:
        expected.pop()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "CHUNK", chunk)
        rows = list(read_rows(path, format="text"))
    assert [row.cells["text"] for row in rows] == [
        line.removesuffix("\r") for line in expected
    ]


def test_rows_come_as_they_arrive(monkeypatch):
    reader, writer = os.pipe()
    with open(reader, "rb") as stdin, open(writer, "wb", buffering=0) as pipe:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(stdin))
        rows = read_texts("-", ("text",), 3, format="text")
        pipe.write(b"a\nb\nc")
        assert next(rows) == [("a",), ("b",)]
        pipe.write(b"1\nd\ne\nf\ng\n")
        assert next(rows) == [("c1",), ("d",), ("e",)]
        assert next(rows) == [("f",), ("g",)]
        # An empty line after a row must not hold the row back.
        rows = read_texts("-", ("text",), 3, format="jsonl")
        pipe.write(b'{"text": "a"}\n\n')
        assert next(rows) == [("a",)]
        threading.Timer(0.1, pipe.close).start()
        assert list(rows) == []


def test_text_lines_keep_their_number(write):
    path = write("a\n\nb", "a.txt")
    parts = read_texts(path, ("text",), 9, format="text")
    assert [row for part in parts for row in part] == [("a",), ("",), ("b",)]
    with pytest.raises(InputError, match="one column"):
        list(read_rows(path, ["a", "b"], format="text"))


# === Some lines, some columns ===


def test_lines_of_a_span_keep_their_numbers(write):
    path = write("a\nb\n\nc\n", "a.txt")
    rows = read_rows(path, format="text", span=Span(2, 5, 2))
    assert [(r.line, r.cells) for r in rows] == [
        *((2, {"text": "b"}), (3, {"text": ""}))
    ]
    path = write('{"text": "a"}\n{"text": 3}\n', "a.jsonl")
    with pytest.raises(InputError, match="line 2 of"):
        read_columns(path, ("text",), span=Span(14, 26, 2))


def test_a_byte_order_mark_is_one_at_the_beginning_only(write):
    path = write("\ufeffa\n\ufeffb\n".encode(), "a.txt")
    whole = [row.cells["text"] for row in read_rows(path, format="text")]
    spans = [Span(0, 5, 1), Span(5, 10, 2)]
    parts = [read_columns(path, ("text",), (), "text", span) for span in spans]
    assert [part["text"][0] for part in parts] == whole == ["a", "\ufeffb"]


def test_columns_of_a_file(write):
    path = write('{"id": 7, "text": "a", "more": []}\n\n', "a.jsonl")
    found = read_columns(path, ("text",), ("id",))
    assert found == {"text": ["a"], "id": [7]}
    with pytest.raises(UnknownNameError, match="mean 'id'"):
        read_columns(path, ("text",), ("idd",))
