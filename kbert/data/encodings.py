"""Encodings of text files: their names, marks, and which one it may be."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.errors import UnknownNameError
from kbert.errors import short

# Byte order marks; UTF-32's begins with UTF-16's.
MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}

# What is taken for a text file by mistake, by its first bytes.
NOT_TEXT = {
    b"PK\x03\x04": "a workbook or a zip archive",
    b"\x1f\x8b": "compressed by gzip",
    b"PAR1": "Parquet",
}

# What files are in that are not UTF-8. Of those that read a file equally
# well, the first is the likeliest.
COMMON = (
    *("cp1252", "cp1251", "gb18030", "euc_jp", "big5", "cp932", "cp949"),
    *("koi8_r", "cp1250", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257"),
    *("cp1258", "cp874", "cp866", "mac_roman"),
)
NAMES = (
    *COMMON,
    *("utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "ascii", "gbk"),
    *("latin-1", "iso-8859-1", "iso-8859-2", "iso-8859-15", "koi8-r"),
    *("windows-1250", "windows-1251", "windows-1252", "shift_jis", "euc-kr"),
)

_SURROGATE = re.compile("[\ud800-\udfff]")

# How ISO 2022 changes to Japanese, Chinese or Korean, in bytes of ASCII.
_SHIFT = re.compile(rb"\x1b\$(?:[@AB]|\([A-D]|(\)C))")

# Bytes that are guessed from, and how much worse a guess may read than the
# best.
SAMPLE = 1 << 15
SLACK = 0.02


def check_encoding(encoding: str | None) -> None:
    """Refuse what is no encoding of text.

    Raises:
        ConfigError: it is no string.
        UnknownNameError: there is none of that name.
    """
    if encoding is None:
        return
    if not isinstance(encoding, str):
        raise ConfigError(
            f"`encoding` must be None or a name such as 'cp1252'. Received: "
            f"encoding={encoding!r}"
        )
    try:
        "a".encode(encoding)  # "hex" is a codec too, of no text.
    except (LookupError, ValueError):
        raise UnknownNameError("encoding", encoding, NAMES) from None


def clean(text: str) -> str:
    """A text that UTF-8 can hold: U+FFFD stands for each lone surrogate.

    JSON can spell halves of a pair, and Python reads them. One for one, so
    that places in the text stay what they are; BERT deletes U+FFFD.

    Example:

    >>> clean("Ann\ud83d left")
    'Ann\ufffd left'
    """
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def is_writable(text: str) -> bool:
    """Whether UTF-8 can hold a text, as files of models and answers are."""
    return text.isascii() or not _SURROGATE.search(text)


def find_codec(
    start: bytes, path: str | Path, encoding: str | None, fixed: bool
) -> str:
    """The codec of a file that begins so; for arguments see `Lines`.

    Raises:
        InputError: it is no text, or in another encoding than is said.
    """
    for magic, kind in NOT_TEXT.items():
        if start.startswith(magic):
            raise InputError(
                f"Expected text. Received: {path}, which is {kind}. Save it "
                f"as TSV, CSV, JSON Lines or plain text, in UTF-8; the name "
                f"of a compressed corpus ends in .gz, .xz or .bz2."
            )
    marked = next((n for m, n in MARKS.items() if start.startswith(m)), None)
    given = codecs.lookup(encoding or "utf-8").name.removesuffix("-sig")
    if marked and encoding and not marked.startswith(given):
        raise _other(path, encoding, f"begins with the mark of {marked}")
    if marked:
        return marked
    if encoding and given != "utf-8" and _is_utf8(start):
        raise _other(path, encoding, "is UTF-8")
    if wide := _wide(start) if given == "utf-8" else None:
        raise InputError(
            f"Expected text in UTF-8. Received: {path}, which looks like "
            f"{wide} without a byte order mark. {_hint(wide, fixed)}"
        )
    if given == "utf-8" and (shift := _SHIFT.search(start)):
        name = "iso2022_kr" if shift[1] else "iso2022_jp"
        raise InputError(
            f"Expected text in UTF-8. Received: {path}, which looks like "
            f"{name}. {_hint(name, fixed)}"
        )
    return {"utf-16": "utf-16-le", "utf-32": "utf-32-le"}.get(given, given)


def _other(path: str | Path, encoding: str, why: str) -> InputError:
    return InputError(
        f"Expected text in {encoding}, as `encoding` says. Received: {path}, "
        f"which {why}. Leave `encoding` out for this file."
    )


def _is_utf8(start: bytes, least: int = 16) -> bool:
    """Whether bytes are UTF-8, with so many beyond ASCII that no other
    encoding has them by chance."""
    if _beyond(start[:SAMPLE]) < least:
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return True


def _beyond(data: bytes) -> int:
    return sum(byte > 127 for byte in data)


def _wide(start: bytes, most: int = 20) -> str | None:
    """UTF-16 without a mark: half of the bytes of its blanks are zeros.

    Args:
        start: the file's, so that characters begin at even places.
        most: bytes to a zero, in what may be UTF-8 with a few zeros.
    """
    sample = start[:SAMPLE]
    zeros = sample.count(0)
    if len(sample) < 8 or zeros * most < len(sample):
        return None
    if zeros == 1 and _is_utf8(sample, 0):
        if _plain(sample.decode("utf-8", "ignore").replace("\0", "")):
            return None  # Text with a zero in it.
    for name in ("utf-16-le", "utf-16-be"):
        text = codecs.getincrementaldecoder(name)("replace").decode(sample)
        if _plain(text) and any(c in "\t\n " for c in text):
            return name
    return None


def _plain(text: str) -> bool:
    return all(c.isprintable() or c in "\t\r\n" for c in text)


def advice(chunk: bytes, line: bytes, codec: str, fixed: bool) -> str:
    """What the encoding may be, and how to say so."""
    # What has two or four bytes a character has no ASCII without zeros.
    plain = codec.startswith(("utf-16", "utf-32")) and 0 not in chunk
    if codec != "utf-8" and _is_utf8(chunk, 0 if plain else 16):
        return "It looks like utf-8: leave `encoding` out."
    if codec == "utf-8" and (wide := _wide(chunk, len(chunk))):
        return f"It looks like {wide}. {_hint(wide, fixed)}"
    # Lines of ASCII say nothing.
    lines = [part for part in chunk.split(b"\n") if not part.isascii()]
    sound = [part for part in lines if _readable(part, "utf-8")]
    if codec == "utf-8" and 2 * _beyond(b"".join(sound)) >= _beyond(chunk):
        read = "".join(
            f"; as {n} it is {short(line.decode(n, 'replace'))}"
            for n in guess(line[:SAMPLE])[:1]
        )
        return (
            f"Other lines are UTF-8: this one was cut, or comes from "
            f"elsewhere{read}. Correct it."
        )
    odd = b"\n".join(lines)
    names = [n for n in guess(odd[:SAMPLE]) if n != codec]
    if codec.startswith(("utf-16", "utf-32")):
        names = []  # Its bytes are no sample of others.
    if not names:
        return "It looks like no encoding of text. Save it as UTF-8."
    shown = ", ".join(
        f"{n} ({short(line.decode(n, 'replace'))})" for n in names[:3]
    )
    return f"It looks like {shown}. {_hint(names[0], fixed)}"


def _hint(name: str, fixed: bool) -> str:
    if fixed:
        return "Save the file as UTF-8."
    return (
        f"Say so with --encoding {name} or encoding={name!r}, or save the "
        f"file as UTF-8."
    )


def guess(data: bytes) -> list[str]:
    """Encodings that bytes may be in, the likeliest first; none is UTF-8."""
    # Imported here: only a file that is refused takes it.
    from charset_normalizer import from_bytes

    found = {}
    for match in from_bytes(data, cp_isolation=list(COMMON)):
        for name in match.could_be_from_charset:
            found.setdefault(name, (match.chaos, match.coherence))
    least = min((chaos for chaos, _ in found.values()), default=0)
    close = [n for n in COMMON if n in found and found[n][0] <= least + SLACK]
    if not found:  # Of a few bytes nothing is told.
        close = [n for n in COMMON if _readable(data, n)]

    def rank(name):
        text = data.decode(name, "ignore")
        # In KOI8-R, capitals are where others have small letters.
        shouts = sum(map(str.isupper, text)) > sum(map(str.islower, text))
        # No language has more letters with accents than without.
        accents = sum(c.isalpha() and "\x7f" < c < "\u0250" for c in text)
        strange = accents > max(2, sum(map(str.isalpha, text)) // 2)
        return shouts or strange, -found.get(name, (0, 0))[1]

    sure = [name for name in ("cp932", "euc_jp") if _japanese(data, name)]
    return sure + sorted((n for n in close if n not in sure), key=rank)


def _japanese(data: bytes, name: str) -> bool:
    """Whether bytes read so are Japanese, however short: every fourth
    character is hiragana, as in no other language."""
    if not _readable(data, name):
        return False
    odd = [c for c in data.decode(name) if not c.isascii()]
    return 0 < len(odd) <= 4 * sum("\u3041" <= c <= "\u309f" for c in odd)


def _readable(data: bytes, name: str) -> bool:
    try:
        text = data.decode(name)
    except UnicodeDecodeError:
        return False
    return all(c.isprintable() or c.isspace() for c in text)
