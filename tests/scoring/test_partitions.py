"""Cutting files into parts, and reading parts back."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.errors import UnknownNameError
from kbert.scoring.part_files import read_part
from kbert.scoring.partitions import cut

lines = st.text(st.characters(exclude_characters="\n\r", codec="utf-8"))


def read_all(parts, texts=("text",), keep=()):
    return pa.concat_tables([read_part(p, texts, keep) for p in parts])


@settings(max_examples=50)
@given(
    st.lists(lines, min_size=1, max_size=12), st.integers(1, 5), st.booleans()
)
def test_parts_of_lines_are_the_file(tmp_path_factory, rows, size, ends):
    path = tmp_path_factory.mktemp("lines") / "a.txt"
    # A mark at the very beginning would say how the file is encoded.
    rows[0] = "x" + rows[0]
    if not ends:
        rows[-1] += "x"
    path.write_text("\n".join(rows) + "\n" * ends, "utf-8", newline="")
    parts = cut([path], part_rows=size)
    assert [p.rows for p in parts][:-1] == [size] * (len(parts) - 1)
    assert [p.start for p in parts] == list(range(0, len(rows), size))
    assert read_all(parts)["text"].to_pylist() == rows


def test_lines_end_as_in_windows_and_at_the_end_of_the_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\n\r\nthree\x0b\x0c\r\nfour")
    parts = cut([path], part_rows=2)
    assert read_all(parts)["text"].to_pylist() == [
        "one",
        "",
        "three\x0b\x0c",
        "four",
    ]


@pytest.mark.parametrize("encoding", ["cp1251", "utf-16", "utf-16-be", "gbk"])
def test_parts_of_lines_in_other_encodings(tmp_path, encoding):
    path = tmp_path / "a.txt"
    # U+0A0A and U+040A have a line feed's byte in UTF-16.
    rows = ["раз", "", "два\u040a", "три", "я"]
    if "utf" in encoding:
        rows[3] += "\u0a0a\u0d0a"
    elif encoding == "gbk":
        rows = ["这部", "", "电影", "я", "x"]
    path.write_bytes("\n".join(rows).encode(encoding))
    parts = cut([path], part_rows=2, encoding=encoding)
    assert [part.rows for part in parts] == [2, 2, 1]
    assert read_all(parts)["text"].to_pylist() == rows
    if not encoding.startswith("utf"):
        with pytest.raises(InputError, match=f"line 1.*{encoding[:2]}"):
            cut([path], part_rows=2)


def test_json_lines(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [{"id": i, "text": f"t {i}", "more": [i]} for i in range(7)]
    blank = "\n \n\u3000\n"
    path.write_text(blank.join(map(json.dumps, rows)) + blank, "utf-8")
    parts = cut([path], part_rows=3)
    assert [p.rows for p in parts] == [3, 3, 1]
    table = read_all(parts, keep=("id",))
    assert table.column_names == ["text", "id"]
    assert table["id"].to_pylist() == list(range(7))
    assert table["text"].to_pylist() == [row["text"] for row in rows]


def test_errors_in_json_name_the_line(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b"}\n{"text": 3}\n{"txt": ""}\n')
    parts = cut([path], part_rows=1)
    with pytest.raises(InputError, match="line 3 of"):
        read_part(parts[2], ("text",))
    with pytest.raises(UnknownNameError, match="mean 'txt'.*line 4"):
        read_part(parts[3], ("text",))


def test_values_of_two_kinds_are_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "id": 1}\n{"text": "b", "id": "x"}\n')
    (part,) = cut([path])
    with pytest.raises(InputError, match="of one kind"):
        read_part(part, ("text",), ("id",))


@pytest.mark.parametrize("size", [1, 3, 4, 5, 100])
@pytest.mark.parametrize("group", [1, 4, 10])
def test_parts_cut_through_row_groups(tmp_path, size, group):
    texts = [f"text {i}" for i in range(10)]
    table = pa.table({"id": range(10), "other": texts, "text": texts})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=group)
    parts = cut([tmp_path / "a.parquet"], part_rows=size)
    assert sum(p.rows for p in parts) == 10
    read = read_all(parts, keep=("id",))
    assert read.to_pydict() == {"text": texts, "id": list(range(10))}


def test_parts_are_numbered_over_files(tmp_path):
    pq.write_table(pa.table({"text": ["a"] * 3}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": []}), tmp_path / "b.parquet")
    (tmp_path / "c.txt").write_text("c\n")
    names = [tmp_path / name for name in ("a.parquet", "b.parquet", "c.txt")]
    parts = cut(names, part_rows=2)
    assert [(p.number, p.rows) for p in parts] == [(0, 2), (1, 1), (2, 1)]
    assert parts[2].name == "part-00002.parquet"


def test_missing_column_of_parquet(tmp_path):
    pq.write_table(pa.table({"txt": ["a"]}), tmp_path / "a.parquet")
    (part,) = cut([tmp_path / "a.parquet"])
    with pytest.raises(UnknownNameError, match="mean 'txt'.*a.parquet"):
        read_part(part, ("text",))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"text\n", "can be cut into parts.*a.csv"),
        ("a.txt", b"", "Expected rows"),
        ("a.jsonl", b"\n\n", "Expected rows"),
        ("a.parquet", b"PAR1", "Expected a Parquet file"),
        ("none.txt", None, "none.txt: No such file"),
        ("none.parquet", None, "Expected a Parquet file"),
    ],
)
def test_refused_files(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        cut([path])


def test_parts_have_rows(tmp_path):
    with pytest.raises(ConfigError, match="part_rows=0|Received: 0"):
        cut([tmp_path / "a.txt"], part_rows=0)
