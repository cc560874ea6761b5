"""JSON bodies to Python's values, by RapidJSON's rules as TF Serving sets them.

Reference: tensorflow_serving/util/json_tensor.cc, ParseJson; its messages.
What follows the first value is not looked at (kParseStopWhenDoneFlag), `NaN`
and `Infinity` are numbers (kParseNanAndInfFlag), integers beyond 64 bits are
decimal numbers.
"""

from __future__ import annotations

import json
import json.scanner
import math
from typing import Any

import numpy as np

from kbert.serving.limits import Limits
from kbert.serving.status import TooLargeError
from kbert.serving.status import invalid

# Longer values are cut in messages: an error must not repeat the body.
SHOWN = 120

# Bodies of more values are parsed in Python, which lets other threads run.
MANY = 100_000

_MARKS = (b",", b"[", b"{", b":")

# RapidJSON's words for what Python's parser finds.
_WORDS = {
    "Expecting value": "Invalid value.",
    "Expecting property name enclosed in double quotes": (
        "Missing a name for object member."
    ),
    "Expecting ':' delimiter": (
        "Missing a colon after a name of object member."
    ),
    "Unterminated string starting at": (
        "Missing a closing quotation mark in string."
    ),
    "Invalid control character at": "Invalid encoding in string.",
    "Invalid \\escape": "Invalid escape character in string.",
    "Invalid \\uXXXX escape": "Incorrect hex digit after \\u escape in string.",
}


class Repeated(dict):
    """An object in which a key stands twice, of which the first counts.

    Attributes:
        pairs: all keys and values, in order.
    """

    def __init__(self, pairs: list[tuple[str, Any]]):
        super().__init__(reversed(pairs))
        self.pairs = pairs


def parse(body: bytes, limits: Limits | None = None) -> dict:
    """The body's object. ParseJson.

    Args:
        body: UTF-8.
        limits: of the values that it may have.

    Raises:
        ServingError: INVALID_ARGUMENT, for whatever is no JSON object.
        TooLargeError: it has too many values.
    """
    limits = limits or Limits()
    values = _count(body, limits.values)
    limits.check_values(values)
    decoder = _DECODER if values <= MANY else _GIVING_WAY
    try:
        # A byte order mark may come first, as there.
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        raise _wrong(
            f"Invalid encoding, expected UTF-8. at offset: {failure.start}"
        ) from failure
    start = len(text) - len(text.lstrip(" \t\r\n"))
    if start == len(text):
        raise _wrong("The document is empty.")
    try:
        value, _ = decoder.raw_decode(text, start)
    except RecursionError as failure:
        raise _wrong("Nested too deeply.") from failure
    except json.JSONDecodeError as failure:
        offset = len(text[: failure.pos].encode())
        words = failure.msg.split(": ")[0]
        raise _wrong(
            f"{_WORDS.get(words, words)} at offset: {offset}"
        ) from failure
    if not isinstance(value, dict):
        raise invalid(f"JSON Value: {shown(value)} Is not object")
    return value


def _wrong(message: str) -> Exception:
    return invalid(f"JSON Parse error: {message}")


def _object(pairs: list[tuple[str, Any]]) -> dict:
    if len(pairs) > MANY:
        raise TooLargeError(
            f"Expected objects of at most {MANY} keys. Received: more. Send "
            f"several requests."
        )
    value = dict(pairs)
    return value if len(value) == len(pairs) else Repeated(pairs)


def _decimal(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise _wrong("Number too big to be stored in double.")
    return value


def _integer(digits: str) -> int | float:
    # 18 digits always fit; of thousands Python makes no integer at all.
    if len(digits) > 18:
        value = int(digits) if len(digits) <= 20 else 2**64
        if not -(2**63) <= value < 2**64:
            return _decimal(digits)
    return int(digits)


def _decoder() -> json.JSONDecoder:
    return json.JSONDecoder(
        object_pairs_hook=_object, parse_float=_decimal, parse_int=_integer
    )


_DECODER = _decoder()

# Python's own in C keeps other threads waiting until it has done.
_GIVING_WAY: Any = _decoder()
_scanner: Any = json.scanner
_GIVING_WAY.scan_once = _scanner.py_make_scanner(_GIVING_WAY)


def _count(body: bytes, limit: int) -> int:
    """The values of a body, each of which has a mark before it.

    They are counted in bytes: what is parsed takes 50 times the memory.
    """
    count = sum(map(body.count, _MARKS))
    if count <= limit:
        return count  # Those in texts are among them.
    # Without escapes each quotation mark begins or ends a text.
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    found = np.frombuffer(plain, np.uint8)
    outside = np.cumsum(found == ord('"'), dtype=np.uint8) % 2 == 0
    return sum(
        int(np.count_nonzero(outside & (found == ord(m)))) for m in _MARKS
    )


def type_name(value: Any) -> str:
    """RapidJSON's name of a value's type. JsonTypeString."""
    if isinstance(value, bool):
        return str(value)
    for kind, name in (
        (dict, "Object"),
        (list, "Array"),
        (str, "String"),
        (type(None), "Null"),
    ):
        if isinstance(value, kind):
            return name
    return "Number"


def shown(value: Any) -> str:
    """A value for a message, cut. JsonValueToDebugString."""
    text = ""
    try:
        # Piece by piece: a large value is not written out to be cut.
        for piece in json.JSONEncoder().iterencode(value):
            text += piece
            if len(text) > SHOWN:
                return f"{text[:SHOWN]}..."
    except RecursionError:
        return f"({type_name(value)})"
    return text
