"""Readers of raw text: every form, and what is wrong with real files."""

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile

import pytest

from kbert.data.documents import expand
from kbert.data.documents import read_documents
from kbert.errors import InputError
from kbert.errors import UnknownNameError

TEXT = "One.\nTwo.\n\n \nThree.\n"
DOCUMENTS = [["One.", "Two."], ["Three."]]

WIKI = """\
<doc id="1" url="u" title="A &amp; B">
A & B

First. 
History.

Last.

</doc>
<doc id="2" url="u" title="Redirect">
Redirect

</doc>
<doc id="3" url="u" title="C">
C

Cut off
"""

WIKITEXT = """\
 
 = Robert Boulter = 
 
 He won 3 @-@ 1 , or 1 @,@ 000 @.@ 5 . 
 
 = = Career = = 
 
 W = 
 = Wins ; L = 
 Losses . 
 = = = 2000 = = = 
 
 = Another One = 
 
 End . 
"""


def read(*files, **options):
    return list(read_documents(list(map(str, files)), **options))


def pack(path, members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            if not isinstance(name, tarfile.TarInfo):
                name = tarfile.TarInfo(name)
            if isinstance(content, str):
                content = content.encode()
                name.size = len(content)
                archive.addfile(name, io.BytesIO(content))
            else:
                name.type, name.linkname = content, "/etc/passwd"
                archive.addfile(name)
    return path


@pytest.mark.parametrize(
    ("name", "content", "documents"),
    [
        ("a.txt", TEXT, DOCUMENTS),
        ("a", "\ufeffOne.\r\n\r\nTwo.", [["One."], ["Two."]]),
        ("a.txt", "a\x0cb\u2028c\n", [["a\x0cb\u2028c"]]),
        ("a.txt", "", []),
        ("a.txt", "\n\n \n", []),
        (
            "wiki_00",
            "\n" + WIKI,
            [["First.", "History.", "Last."], ["Cut off"]],
        ),
        (
            "wiki.raw",
            WIKITEXT,
            [
                [
                    "He won 3-1 , or 1,000.5 .",
                    "W =",
                    "= Wins ; L =",
                    "Losses .",
                ],
                ["End ."],
            ],
        ),
        ("a.jsonl", '{"text": "A.\\nB."}\n\n{"text": ""}\n', [["A.", "B."]]),
        (
            "a.json",
            '{"id": 1, "text": "\\ud83d\\ude00\\ud83d"}',
            [["\U0001f600\ufffd"]],
        ),
        ("a.ndjson", '{"text": "A"}', [["A"]]),
    ],
)
def test_forms(tmp_path, name, content, documents):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8", newline="")
    assert read(path) == documents


def test_format_and_key(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(TEXT)
    assert read(path, format="pages") == [["One.", "Two.", "Three."]]
    path.write_text('{"body": "A."}\n')
    assert read(path) == [['{"body": "A."}']]
    assert read(path, format="jsonl", text_key="body") == [["A."]]
    with pytest.raises(UnknownNameError, match="mean 'jsonl'"):
        read(path, format="json")


def test_other_encodings(tmp_path):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress("раз\n\nдва три\n".encode("cp1251")))
    with pytest.raises(InputError, match="a.txt, where line 1.*cp1251"):
        read(path)
    assert read(path, encoding="cp1251") == [["раз"], ["два три"]]
    (tmp_path / "b.txt").write_text("раз\n", encoding="utf-16")
    assert read(tmp_path / "b.txt") == [["раз"]]
    with pytest.raises(UnknownNameError, match="mean 'cp1251'"):
        read(path, encoding="cp11251")


@pytest.mark.parametrize(
    ("ending", "compress"),
    [(".gz", gzip.compress), (".xz", lzma.compress), (".bz2", bz2.compress)],
)
def test_compressed(tmp_path, ending, compress):
    plain, path = tmp_path / "a.jsonl", tmp_path / f"a.jsonl{ending}"
    plain.write_text('{"text": "A."}\n')
    path.write_bytes(compress(plain.read_bytes()))
    assert read(path) == [["A."]]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=rf"can be read.*a.jsonl{ending}"):
        read(path)


def test_damaged_gzip(tmp_path):
    path = tmp_path / "a.txt.gz"
    content = bytearray(gzip.compress(os.urandom(1000)))
    content[10:60] = bytes(50)
    path.write_bytes(content)
    with pytest.raises(InputError, match="can be read.*a.txt.gz"):
        read(path)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("a.tar", "w"),
        ("a.tar.gz", "w:gz"),
        ("a.tgz", "w:gz"),
        ("a.tar.xz", "w:xz"),
    ],
)
def test_archives(tmp_path, name, mode):
    path = pack(
        tmp_path / name,
        {
            "b/plain.txt": TEXT,
            "b/wiki_00": WIKI,
            "a.jsonl": '{"text": "A."}',
            "README": "",
        },
        mode,
    )
    wiki = [["First.", "History.", "Last."], ["Cut off"]]
    assert read(path) == [*DOCUMENTS, *wiki, ["A."]]


def test_hostile_archive(tmp_path):
    outside = tmp_path / "outside.txt"
    sparse = tarfile.TarInfo("sparse.txt")
    sparse.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.realsize": str(2**60),
    }
    path = pack(
        tmp_path / "a.tar",
        {
            "../outside.txt": "Up.",
            str(outside): "Absolute.",
            "link.txt": tarfile.SYMTYPE,
            "hard.txt": tarfile.LNKTYPE,
            "device": tarfile.CHRTYPE,
            "pipe": tarfile.FIFOTYPE,
            "folder": tarfile.DIRTYPE,
            "._resource.txt": "hidden",
            sparse: "0\n" + "\0" * 510,
            "last.txt": "Last.",
        },
    )
    before = sorted(tmp_path.iterdir())
    assert read(path) == [["Up."], ["Absolute."], ["Last."]]
    assert sorted(tmp_path.iterdir()) == before


def test_folders_and_patterns(tmp_path):
    for name in ("b/2.txt", "b/1.txt", "a/z.txt", ".hidden", "b/.x/3.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    (tmp_path / "c").mkdir()
    one, two = tmp_path / "b" / "1.txt", tmp_path / "b" / "2.txt"
    assert expand([tmp_path / "b"]) == [one, two]
    assert expand([str(tmp_path / "*" / "[0-9].txt")]) == [one, two]
    assert expand([str(tmp_path / "**" / "z.txt")]) == [tmp_path / "a/z.txt"]
    # A file may be read more than once, in the order that is asked for.
    assert read(two, one, two) == [["b/2.txt"], ["b/1.txt"], ["b/2.txt"]]
    assert list(read_documents(one)) == [["b/1.txt"]]
    for nothing in ("c", "*.csv", "none.txt"):
        with pytest.raises(InputError, match="matches nothing"):
            read(tmp_path / nothing)
    odd = tmp_path / "[1].txt"
    odd.write_text("odd")
    assert read(odd) == [["odd"]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"body": "x"}', r"'text' in line 3 of .*a\.jsonl.*KeyError"),
        ('{"text": null}', "line 3"),
        ('{"text": 5}', "line 3"),
        ('["text"]', "line 3"),
        ('{"text": "x"', "line 3.*text_key="),
        ("[" * 100_000, "line 3"),
    ],
)
def test_bad_lines(tmp_path, line, message):
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"text": "fine"}}\n\n{line}\n')
    with pytest.raises(InputError, match=message):
        read(path)


def test_bad_files(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(gzip.compress(b"text"))
    with pytest.raises(InputError, match=r"gzip.*corpus ends in \.gz"):
        read(path)
    path.rename(tmp_path / "a.tar")
    with pytest.raises(InputError, match="can be read.*a.tar"):
        read(tmp_path / "a.tar")
    (tmp_path / "link.txt").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="link.txt"):
        read(tmp_path / "*.txt")


def test_bytes_are_counted(tmp_path):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress("\n".join(map(str, range(9999))).encode()))
    sizes = []
    assert len(read(path, on_read=sizes.append)[0]) == 9999
    assert sum(sizes) == path.stat().st_size


def test_documents_come_while_the_file_is_read(tmp_path):
    path = tmp_path / "a.jsonl"
    line = json.dumps({"text": "x" * 1000}) + "\n"
    path.write_text(line * 4000)
    sizes = []
    next(read_documents(path, on_read=sizes.append))
    assert 0 < sum(sizes) < path.stat().st_size / 2


def test_real_files(data_root):
    wikitext = data_root / "wikitext2"
    # What Merity et al. 2016 count.
    assert len(read(wikitext / "wiki.valid.raw")) == 60
    assert len(read(wikitext / "wiki.test.raw")) == 60
    documents = read_documents(str(data_root / "zhwiki" / "*.tar.xz"))
    first = next(documents)
    assert first[0].startswith("陆伟杰，互联网武术文化视频内容生产商")
