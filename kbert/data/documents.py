"""Readers of raw text: files, folders and archives to documents.

A document is a list of paragraphs.
"""

from __future__ import annotations

import bz2
import glob
import gzip
import io
import itertools
import json
import lzma
import os
import re
import tarfile
import zlib
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from typing import BinaryIO
from typing import Literal

from kbert.data.encodings import check_encoding
from kbert.data.encodings import clean
from kbert.data.lines import Lines
from kbert.errors import InputError
from kbert.errors import UnknownNameError
from kbert.errors import short
from kbert.utils.paths import as_path

_OPENERS = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}

_DOC = re.compile(r"<doc\b[^>]*>")
# What damaged archives raise.
_BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError)

# What a line raises that is no JSON, no object, or has no such text in it;
# too many brackets end in a RecursionError.
_NO_TEXT = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RecursionError,
)

# WikiText: " = Title = " begins a document, " = = Section = = " does not.
_HEADING = re.compile(r" (=(?: =)*) [^=].* \1 ")
_ESCAPE = re.compile(r" @([-,.])@ ")

Documents = Iterator[list[str]]
Format = Literal["text", "pages", "wiki", "wikitext", "jsonl"]


def read_documents(
    files: str | os.PathLike | Iterable[str | os.PathLike],
    format: str | None = None,
    text_key: str = "text",
    on_read: Callable[[int], None] | None = None,
    encoding: str | None = None,
) -> Documents:
    """Stream the documents of files, folders, globs and archives.

    Files may be compressed (.gz, .xz, .bz2) and lie in .tar archives, which
    are read as streams; nothing is written to the disk. Folders are read with
    all that is under them, in the order of names, but for hidden files.

    Args:
        files: one or more files, folders or glob patterns.
        format: `"text"`: blank lines part documents, each line is a
            paragraph. `"pages"`: each file is one document. `"wiki"`:
            WikiExtractor's `<doc>` blocks; the title line is left out.
            `"wikitext"`: ` = Title = ` lines begin documents, headings are
            left out and `@-@` is undone. `"jsonl"`: an object a line, with
            paragraphs parted by line breaks. By default as the file shows:
            jsonl by its ending (.jsonl, .json, .ndjson), wiki and wikitext
            by its first line that is not blank, else text.
        text_key: where `"jsonl"` keeps the text.
        on_read: called with the number of bytes read from the disk.
        encoding: of the files, such as `"cp1251"`; by default UTF-8, or what
            a file's byte order mark says.

    Yields:
        Documents, lists of paragraphs; none of them empty.

    Raises:
        InputError: no file matches, or one cannot be read or is in another
            encoding.
        UnknownNameError: no such format or encoding.

    Example:

    >>> next(read_documents(["enwiki/*.tar.xz"]))
    ['Anarchism is often defined as ...', ...]
    """
    if format is not None and format not in FORMATS:
        raise UnknownNameError("text format", format, FORMATS)
    check_encoding(encoding)
    for path in expand(files):
        try:
            with open(path, "rb") as raw:
                file = raw
                if on_read is not None:
                    file = io.BufferedReader(_Counted(raw, on_read))
                for name, stream in _members(str(path), file):
                    lines = Lines(stream, name, encoding)
                    lines.check_ends()
                    for document in _parse(name, lines, format, text_key):
                        if document:
                            yield document
        except _BROKEN as error:
            raise InputError(
                f"Expected a file of text that can be read. Received: {path}: "
                f"{error}."
            ) from error


def expand(
    files: str | os.PathLike | Iterable[str | os.PathLike],
) -> list[Path]:
    """The files behind names of files, folders and glob patterns.

    Raises:
        InputError: nothing matches one of them.
    """
    if isinstance(files, str | os.PathLike):
        files = [files]
    if isinstance(files, bytes | Mapping) or not isinstance(files, Iterable):
        raise InputError(
            f"Expected a list of files or folders. Received: {short(files)} "
            f"({type(files).__name__})."
        )
    found = []
    for name in files:
        if not isinstance(name, str | os.PathLike):
            raise InputError(
                f"Expected paths of files or folders. Received: {short(name)} "
                f"({type(name).__name__})."
            )
        name = os.fspath(name)
        paths = [name]
        if not os.path.exists(name):
            paths = sorted(glob.glob(name, recursive=True))
        inside = [file for path in paths for file in _walk(as_path(path))]
        if not inside:
            raise InputError(
                f"Expected files, folders or patterns of text files. "
                f"Received: {name}, which matches nothing. Check the path; "
                f"quote a pattern with ** in it."
            )
        found += inside
    return found


def _walk(path: Path) -> list[Path]:
    """A file itself, or all that is under a folder but hidden files."""
    if not path.is_dir():
        return [path]
    return sorted(
        file
        for file in path.rglob("*")
        if not file.is_dir()
        and not any(p.startswith(".") for p in file.relative_to(path).parts)
    )


class _Counted(io.RawIOBase):
    """A binary file that tells how much of it was read."""

    def __init__(self, file: Any, on_read: Callable[[int], None]):
        self._file = file
        self._on_read = on_read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        size = self._file.readinto(buffer)
        self._on_read(size)
        return size


def _members(name: str, file: Any) -> Iterator[tuple[str, BinaryIO]]:
    """The plain streams in a file: itself, decompressed, or an archive's."""
    stem, ending = os.path.splitext(name)
    if ending == ".tgz":
        stem, ending = f"{stem}.tar", ".gz"
    if ending in _OPENERS:
        yield from _members(stem, _OPENERS[ending](file, "rb"))
    elif ending == ".tar":
        with tarfile.open(fileobj=file, mode="r|") as archive:
            for member in archive:
                # Only contents are read: names and links lead nowhere. A
                # sparse member may claim any size.
                hidden = os.path.basename(member.name).startswith(".")
                if member.isreg() and not member.issparse() and not hidden:
                    inner = archive.extractfile(member)
                    yield from _members(f"{name}/{member.name}", inner)
                # tarfile keeps them all, of which there may be millions.
                archive.members = []  # pyright: ignore[reportAttributeAccessIssue]
    else:
        yield name, file


def _parse(name, lines, format, text_key) -> Documents:
    if format is None:
        head = []
        for line in lines:
            head.append(line)
            if line.strip():
                break
        lines = itertools.chain(head, lines)
        format = _guess(name, head[-1] if head else "")
    if format == "jsonl":
        return _jsonl(lines, name, text_key)
    return FORMATS[format](lines)


def _guess(name: str, line: str) -> Format:
    if name.endswith((".jsonl", ".json", ".ndjson")):
        return "jsonl"
    if _DOC.match(line):
        return "wiki"
    return "wikitext" if _HEADING.fullmatch(line.rstrip("\r\n")) else "text"


def _text(lines: Iterator[str]) -> Documents:
    document = []
    for line in lines:
        if line := line.strip():
            document.append(line)
        else:
            yield document
            document = []
    yield document


def _pages(lines: Iterator[str]) -> Documents:
    yield [line for line in map(str.strip, lines) if line]


def _wiki(lines: Iterator[str]) -> Documents:
    document, title = [], False
    for line in map(str.strip, lines):
        if _DOC.match(line):
            document, title = [], True
        elif line == "</doc>":
            yield document
            document = []
        elif line and title:
            title = False  # The first line repeats the title.
        elif line:
            document.append(line)
    yield document


def _wikitext(lines: Iterator[str]) -> Documents:
    document, before = [], ""
    lines, ahead = itertools.tee(lines)
    next(ahead, None)
    for line, after in itertools.zip_longest(lines, ahead, fillvalue=""):
        heading = _HEADING.fullmatch(line.rstrip("\r\n"))
        if heading and heading[1] != "=":
            pass
        # Between blank lines: notes under tables look like titles too.
        elif heading and not before.strip() and not after.strip():
            yield document
            document = []
        elif line.strip():
            document.append(_ESCAPE.sub(r"\1", line.strip()))
        before = line
    yield document


def _jsonl(lines: Iterator[str], name: str, key: str) -> Documents:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            text = json.loads(line)[key]
            paragraphs = clean(text).split("\n")
        except _NO_TEXT as error:
            raise InputError(
                f"Expected a JSON object with a string {key!r} in line "
                f"{number} of {name}. Received: {line.strip()[:60]!r} "
                f"({type(error).__name__}). Name the key with text_key= or "
                f"--text-key."
            ) from error
        yield [p for p in map(str.strip, paragraphs) if p]


FORMATS: dict[Format, Callable[..., Documents]] = {
    "text": _text,
    "pages": _pages,
    "wiki": _wiki,
    "wikitext": _wikitext,
    "jsonl": _jsonl,
}
