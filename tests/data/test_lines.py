"""Lines of files in any encoding: all of the text, or an error."""

import codecs
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbert.data import lines as lines_module
from kbert.data.encodings import check_encoding
from kbert.data.lines import Lines
from kbert.data.lines import decode
from kbert.data.lines import line_ends
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.errors import UnknownNameError

RUSSIAN = ["Отличный фильм, всем советую", "Плохо, скучно", "Привет"]
FRENCH = ["C'était raté, dommage", "rat", "ratê à Noël"]
CHINESE = ["这部电影很好看", "我非常喜欢，推荐大家去看"]
JAPANESE = ["映画はとても面白かったです", "つまらない"]


@pytest.mark.parametrize(
    "encoding",
    [
        *("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"),
        *("utf-32", "cp1251", "koi8-r", "gb18030", "cp037", "iso2022_jp"),
    ],
)
def test_an_encoding_that_is_named_is_read(encoding):
    text = {"cp037": "raté\nÀ", "iso2022_jp": "\n".join(JAPANESE)}.get(
        encoding, "\n".join(RUSSIAN)
    )
    assert decode(text.encode(encoding), "a.txt", encoding) == text


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_mark_says_the_encoding(encoding):
    text = "\n".join(RUSSIAN + CHINESE)
    assert decode(text.encode(encoding), "a.txt") == text
    swapped = codecs.BOM_UTF16_BE + text.encode("utf-16-be")
    assert decode(swapped, "a.txt") == text
    # In the middle it is text.
    assert decode("a\ufeffb\n\ufeff".encode(), "a.txt") == "a\ufeffb\n\ufeff"


@pytest.mark.parametrize(
    ("texts", "encoding", "name"),
    [
        (RUSSIAN, "cp1251", "cp1251"),
        (RUSSIAN, "koi8-r", "koi8_r"),
        (["хороший фильм 1\tда", "плохой\tнет"] * 9, "cp1251", "cp1251"),
        (["é"], "cp1252", "cp1252"),
        (["плохо"], "cp1251", "cp1251"),
        (FRENCH, "latin-1", "cp1252"),
        (["don’t"], "cp1252", "cp1252"),
        (["caf", "café"], "cp1252", "cp1252"),
        (CHINESE, "gb18030", "gb18030"),
        (["這部電影很好看", "謝謝大家"], "big5", "big5"),
        (JAPANESE, "shift_jis", "cp932"),
        (JAPANESE, "euc-jp", "euc_jp"),
        (["これは0良い映画\t良", "これは0悪い映画\t悪"], "shift_jis", "cp932"),
        (["これは0良い映画\t良", "これは0悪い映画\t悪"], "euc-jp", "euc_jp"),
        (["한국어 영화", "재미있어요"], "euc-kr", "cp949"),
        (RUSSIAN, "utf-16-le", "utf-16-le"),
        (RUSSIAN, "utf-16-be", "utf-16-be"),
        (CHINESE, "utf-16-le", "utf-16-le"),
    ],
)
def test_another_encoding_is_told_by_name(texts, encoding, name):
    data = "\n".join(texts).encode(encoding)
    with pytest.raises(InputError) as error:
        decode(data, "in/a.txt")
    assert "in/a.txt" in str(error.value)
    assert f"--encoding {name} or encoding={name!r}" in str(error.value)
    # What the advice says, works.
    assert decode(data, "in/a.txt", name) == "\n".join(texts)


@pytest.mark.parametrize("chunk", [1, 3, 1 << 20])
def test_the_line_is_named_and_those_before_are_given(chunk, monkeypatch):
    monkeypatch.setattr(lines_module, "CHUNK", chunk)
    data = "é\nà\n\nraté".encode() + b"\nrat\xe9\nx\n"
    lines = Lines(io.BytesIO(data), "a.txt")
    assert [next(lines) for _ in range(4)] == ["é\n", "à\n", "\n", "raté\n"]
    with pytest.raises(InputError, match="where line 5 is not: b'"):
        next(lines)
    # A character that the end of the file cuts.
    lines = Lines(io.BytesIO("a\nраз".encode()[:-1]), "a.txt")
    assert next(lines) == "a\n"
    with pytest.raises(InputError, match="line 2"):
        next(lines)


@pytest.mark.parametrize(
    ("data", "encoding", "message"),
    [
        ("\n".join(RUSSIAN).encode(), "cp1251", "cp1251.*which is UTF-8"),
        ("é".encode("utf-16"), "cp1252", "mark of utf-16-le"),
        ("é".encode("utf-8-sig"), "cp1252", "mark of utf-8"),
        ("é".encode(), "ascii", "in ASCII"),
        ("é".encode("utf-16-le") + b"\x00", "utf-16-le", "no encoding of text"),
        (bytes(range(128, 256)), "euc_jp", "in EUC_JP"),
        (b"PK\x03\x04rest", None, "a workbook or a zip"),
    ],
)
def test_an_encoding_that_is_wrong(data, encoding, message):
    with pytest.raises(InputError, match=message):
        decode(data, "a.txt", encoding)


def test_names():
    check_encoding(None)
    for name in ("utf-8", "CP1251", "latin-1", "windows-1252", "shift-jis"):
        check_encoding(name)
    for name in ("cp12151", "hex", "rot13", "utf-9", "", "a\0b"):
        with pytest.raises(UnknownNameError):
            check_encoding(name)
    with pytest.raises(UnknownNameError, match="mean 'windows-1251'"):
        check_encoding("windows1251")
    for name in (5, b"utf-8", ["utf-8"]):
        with pytest.raises(ConfigError, match="encoding="):
            check_encoding(name)


@given(
    st.text(st.sampled_from("ab\r\n \u0085\u2028é中я~\ufeff")),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"]),
    st.integers(1, 5),
)
def test_lines_and_their_ends_are_the_file(
    tmp_path_factory, text, encoding, chunk
):
    path = tmp_path_factory.getbasetemp() / "ends.txt"
    text = "x" + text  # A mark at the beginning would be one.
    path.write_bytes(text.encode(encoding))
    given = None if encoding in ("utf-8", "utf-8-sig") else encoding
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines_module, "CHUNK", chunk)
        ends = list(line_ends(path, given))
    assert "".join(line for _, line in ends) == text
    assert all(line.endswith("\n") for _, line in ends[:-1])
    # Read from any end on, the rest comes.
    assert ends[-1][0] == path.stat().st_size
    places = [0, *(end for end, _ in ends)]
    for number, (_, line) in enumerate(ends):
        span = (*places[number : number + 2], number + 1)
        with open(path, "rb") as file:
            assert "".join(Lines(file, path, given, span)) == line


@pytest.mark.parametrize("encoding", ["euc_jp", "cp037", "big5"])
def test_ends_of_other_encodings(tmp_path, encoding):
    path = tmp_path / "a.txt"
    # EUC-JP has a second, longer tilde that is read as the first.
    data = "a~b\né".replace("é", "" if encoding != "cp037" else "é")
    raw = data.encode(encoding)
    if encoding == "euc_jp":
        raw = raw.replace(b"~", b"\x8f\xa2\xb7")
    path.write_bytes(raw)
    assert list(line_ends(path, encoding))[-1][0] == len(raw)


def test_lines_that_lean_on_others_are_not_cut(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\n".join(JAPANESE).encode("iso2022_jp"))
    with pytest.raises(InputError, match="iso2022_jp. Save it as UTF-8"):
        list(line_ends(path, "iso2022_jp"))


def test_one_line_of_another_encoding_is_to_be_corrected():
    # What the advice for a whole file says would spoil the other lines.
    for data, number in (
        ("raté\nà Noël\n".encode() + "déjà vu\n".encode("cp1252"), 3),
        ("déjà\n".encode("cp1252") + "raté\nà Noël\n".encode(), 1),
        ("привет мир\nдо свидания\n".encode() + "да\n".encode("cp1251"), 3),
        ("привет\nраз".encode()[:-1], 2),
    ):
        with pytest.raises(InputError, match="Other lines are UTF-8") as error:
            decode(data, "a.txt")
        assert f"line {number} is not" in str(error.value)
        assert "encoding=" not in str(error.value)
        assert str(error.value).endswith("Correct it.")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("件名\t今日は良い天気\n", "iso2022_jp"),
        ("한국어 영화\n", "iso2022_kr"),
    ],
)
def test_encodings_that_change_by_escapes_are_no_ascii(text, encoding):
    data = b"plain\n" + text.encode(encoding)
    with pytest.raises(InputError, match=f"encoding={encoding!r}"):
        decode(data, "a.txt")
    assert decode(data, "a.txt", encoding) == f"plain\n{text}"
    assert decode(b"\x1b[31mred\x1b[0m $B", "a.txt").startswith("\x1b[31m")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_utf_8_that_is_called_something_wider(encoding):
    with pytest.raises(InputError, match="looks like utf-8: leave `encoding`"):
        decode(b"text\tlabel\na\tx\n", "a.tsv", encoding)
