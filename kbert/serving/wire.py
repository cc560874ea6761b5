"""Protocol buffers, counted before they are parsed.

A message of 8 MiB may have four million empty ones in it, for which the parser
takes 700 MB and, without a pause, a second. This walk makes nothing, lets
other threads run, and ends at the limit.

Reference: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from typing import Any
from typing import TypeVar

from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message import Message

from kbert.serving.limits import SMALL
from kbert.serving.limits import Limits
from kbert.serving.status import invalid

# A message takes the parser as long as so many strings.
WEIGHT = 4

# As the parser itself has it.
MAX_DEPTH = 100

AnyMessage = TypeVar("AnyMessage", bound=Message)


def parse(kind: type[AnyMessage], data: bytes, limits: Limits) -> AnyMessage:
    """A message of a kind.

    Raises:
        ServingError: INVALID_ARGUMENT, it is none.
        TooLargeError: it has too many parts.
    """
    try:
        if len(data) > SMALL:
            _count(data, kind.DESCRIPTOR, limits)
        return kind.FromString(data)
    except (DecodeError, IndexError) as failure:
        raise invalid(
            f"Expected a {kind.DESCRIPTOR.full_name}. Received: bytes that "
            f"are none"
        ) from failure


def _count(data: bytes, kind: Any, limits: Limits) -> None:
    count, at = 0, 0
    # What is open: where it ends, and its fields that are messages.
    opened = [(len(data), _messages(kind))]
    while opened:
        end, inner = opened[-1]
        if at >= end:
            opened.pop()
            continue
        tag, at = varint(data, at)
        wire = tag & 7
        if wire == 0:
            _, at = varint(data, at)
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        elif wire == 2:
            size, at = varint(data, at)
            message = inner.get(tag >> 3)
            count += WEIGHT if message else 1
            limits.check_values(count)
            if message and len(opened) < MAX_DEPTH:
                opened.append((min(at + size, end), _messages(message)))
            else:
                at += size
        else:  # Groups have no length; their ends are counted, too.
            count += 1
            limits.check_values(count)


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The number that begins at a place, and where the next thing begins.

    Raises:
        DecodeError: it has too many bytes.
        IndexError: it has no end.
    """
    byte = data[at]
    if byte < 128:
        return byte, at + 1
    value, shift = byte & 127, 7
    while byte >= 128:
        at += 1
        byte = data[at]
        value |= (byte & 127) << shift
        shift += 7
        if shift > 70:
            raise DecodeError("A number of more than ten bytes")
    return value, at + 1


_KNOWN: dict[str, dict[int, Any]] = {}


def _messages(kind: Descriptor) -> dict[int, Descriptor]:
    """The fields of a message that are messages, by their numbers."""
    if kind.full_name not in _KNOWN:
        _KNOWN[kind.full_name] = {
            field.number: field.message_type
            for field in kind.fields
            if field.type == FieldDescriptor.TYPE_MESSAGE
        }
    return _KNOWN[kind.full_name]
