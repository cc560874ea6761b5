"""Lines of text files, of which nothing is left out."""

from __future__ import annotations

import codecs
import io
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kbert.data.encodings import MARKS
from kbert.data.encodings import NOT_TEXT
from kbert.data.encodings import advice
from kbert.data.encodings import check_encoding
from kbert.data.encodings import find_codec
from kbert.errors import InputError
from kbert.errors import short

# Bytes read at once; a pipe gives what it has.
CHUNK = 1 << 20

# Their bytes mean what the bytes before them say: no line stands alone.
STATEFUL = ("iso2022", "hz", "utf-7")


class Lines:
    """Lines of a binary file; `ready` says if the next one is here already.

    A line ends at a line feed only, for texts may hold other separators.

    Args:
        file: the file.
        path: its name, for messages.
        encoding: that of the file; by default what a byte order mark says,
            else UTF-8. The mark is left out.
        span: `(start, stop, line)` of whole lines to read instead of all.
        fixed: whether nobody can name another encoding for this file.

    Raises:
        InputError: while it is read: a line is in another encoding, or the
            file is no text. Lines before it are given first.
        UnknownNameError: there is no such encoding.
    """

    def __init__(
        self,
        file: Any,
        path: str | Path,
        encoding: str | None = None,
        span: tuple[int, int, int] | None = None,
        fixed: bool = False,
    ):
        check_encoding(encoding)
        self._file, self._path = file, path
        self._given, self._fixed = encoding, fixed
        self._before = b""  # What was read last.
        self.first = 1
        self._count = 0
        self._lines: deque[str] = deque()
        self._parts: list[str] = []
        self._ended = False
        self._failure: InputError | None = None
        # Both None until something was read.
        self.codec: Any = None
        self._decoder: Any = None
        self.mark = 0
        self._fresh = span is None or span[0] == 0
        if span is not None:
            begin, stop, self.first = span
            self._begin(file.read(4))
            file.seek(begin)
            self._file = io.BytesIO(file.read(stop - begin))

    @property
    def ready(self) -> bool:
        return bool(self._lines)

    def check_ends(self) -> None:
        """Refuse a file whose lines end as those of old Macs.

        Raises:
            InputError: see `check_end`.
        """
        while not (self._lines or self._ended or self._failure):
            self._read()
        if self._lines:
            check_end(self._lines[0], self._path)

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        while not self._lines:
            if self._failure is not None:
                raise self._failure
            if self._ended:
                raise StopIteration
            self._read()
        return self._lines.popleft()

    def _read(self) -> None:
        chunk = self._file.read1(CHUNK)
        self._ended = not chunk
        if self.codec is None:
            chunk, self._before = self._before + chunk, b""
            # A pipe may give a part of a mark.
            known = (*MARKS, *NOT_TEXT)
            if any(m != chunk and m.startswith(chunk) for m in known):
                if not self._ended:
                    self._before = chunk
                    return
            self._begin(chunk)
        state = self._decoder.getstate()
        try:
            text = self._decoder.decode(chunk, self._ended)
        except UnicodeError:
            self._decoder.setstate(state)
            text, place = self._sound(chunk)
            self._add(text)
            place += len(self._before)
            self._failure = self._refusal(self._before + chunk, place)
            return
        self._before = chunk
        self._add(text)
        if self._ended and (last := "".join(self._parts)):
            self._lines.append(last)
            self._count += 1

    def _begin(self, start: bytes) -> None:
        self.codec = find_codec(start, self._path, self._given, self._fixed)
        self._decoder = codecs.getincrementaldecoder(self.codec)("strict")

    def _add(self, text: str) -> None:
        if self._fresh and text:
            self._fresh = False
            if text[0] == "\ufeff":
                text = text[1:]
                self.mark = len("\ufeff".encode(self.codec))
        # `str.splitlines` would split at form feeds and U+2028 too.
        *whole, rest = text.split("\n")
        for part in whole:
            self._parts.append(part)
            self._lines.append("".join(self._parts) + "\n")
            self._parts = []
        self._parts.append(rest)
        self._count += len(whole)

    def _sound(self, chunk: bytes) -> tuple[str, int]:
        """The text before the first byte that is none, and its place."""
        parts = []
        for place in range(len(chunk)):
            try:
                parts.append(self._decoder.decode(chunk[place : place + 1]))
            except UnicodeError:
                return "".join(parts), place
        return "".join(parts), len(chunk)

    def _refusal(self, chunk: bytes, place: int) -> InputError:
        number = self.first + self._count
        # Of a line that ends the file, a byte is missed behind its end.
        begin = chunk.rfind(b"\n", 0, place) + 1
        line = chunk[begin:].split(b"\n", 1)[0]
        return InputError(
            f"Expected text in {(self._given or self.codec).upper()}. "
            f"Received: {self._path}, where line {number} is not: "
            f"{short(line)}. "
            f"{advice(chunk, line, self.codec, self._fixed)}"
        )


def check_end(first: str, path: str | Path) -> None:
    """Refuse a file of rows that would be one, by its first line.

    Raises:
        InputError: it is all there is, with carriage returns alone in it.
    """
    if "\r" in first.rstrip("\r") and not first.endswith("\n"):
        raise InputError(
            f"Expected lines that end with a line feed. Received: {path}, "
            f"where a carriage return alone is between them, as old Macs and "
            f"'CSV (Macintosh)' have it. Save it as 'CSV UTF-8', or convert "
            f"it, as by: tr '\\r' '\\n' < old > new."
        )


def decode(
    data: bytes,
    path: str | Path,
    encoding: str | None = None,
    fixed: bool = False,
) -> str:
    """The text of a whole file.

    Raises:
        InputError, UnknownNameError: see `Lines`.

    Example:

    >>> decode("\\ufeffZoë".encode("utf-16-le"), "name.txt")
    'Zoë'
    """
    return "".join(Lines(io.BytesIO(data), path, encoding, None, fixed))


def line_ends(
    path: str | Path, encoding: str | None = None
) -> Iterator[tuple[int, str]]:
    """Each line of a file, with the byte behind it.

    Raises:
        InputError: see `Lines`; or no line can be read without those before.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file, open(path, "rb") as raw:
        lines, end = Lines(file, path, encoding), 0
        for line in lines:
            if lines.codec.startswith(STATEFUL):
                raise InputError(
                    f"Expected text that can be cut at any line. Received: "
                    f"{path}, in {encoding}. Save it as UTF-8."
                )
            # Not by the text alone: some spell one character in two ways.
            if "\n".encode(lines.codec) == b"\n":
                end += len(raw.readline())
            else:
                end += len(line.encode(lines.codec)) + (lines.mark, 0)[end > 0]
            yield end, line
