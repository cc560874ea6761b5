"""Reading request bodies: bounded in bytes and in time."""

from __future__ import annotations

import asyncio
import time
import zlib

from starlette.requests import Request

from kbert.serving.limits import Share
from kbert.serving.status import TooLargeError
from kbert.serving.status import error
from kbert.serving.status import invalid

# Bytes that are unzipped at a time, and members of a body. Each costs as much
# as a thousand bytes, and an empty one has twenty.
PIECE = 64 * 1024
MAX_MEMBERS = 1000


async def read_body(
    request: Request, limit: int, deadline: float, share: Share
) -> bytes:
    """The body, as it came.

    Args:
        request: Starlette's.
        limit: bytes.
        deadline: `time.monotonic()` until which it must be there.
        share: grows with it.

    Raises:
        ServingError: the body is too large (413), comes too slowly
            (DEADLINE_EXCEEDED), or others hold too much (UNAVAILABLE).
        starlette.requests.ClientDisconnect: the client went away.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    chunks, size = [], 0
    try:
        async with asyncio.timeout(max(deadline - time.monotonic(), 0)):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit:
                    raise _too_large(limit)
                share.resize(size)
                chunks.append(chunk)
    except TimeoutError:
        raise error(
            "DEADLINE_EXCEEDED", "The body did not come in time"
        ) from None
    return b"".join(chunks)


def is_zipped(request: Request) -> bool:
    """Whether the body says that it is gzip. NeedUncompressGzipContent.

    What else is named is not heeded, as there.
    """
    return "gzip" in request.headers.get("content-encoding", "")


def unzip(body: bytes, limit: int) -> bytes:
    """A body decompressed, all members of it.

    Raises:
        ServingError: INVALID_ARGUMENT, it is no gzip, or of too many members.
        TooLargeError: it is more than `limit` bytes.
    """
    view, parts, left, at = memoryview(body), [], limit, 0
    for _ in range(MAX_MEMBERS):
        member = zlib.decompressobj(16 + zlib.MAX_WBITS)
        while not member.eof:
            piece = view[at : at + PIECE]
            if not piece:
                raise invalid("Failed to decompress gzip: it ends too early")
            try:
                # Never more than one byte over the limit is made.
                part = member.decompress(piece, left + 1)
            except zlib.error as failure:
                raise invalid(
                    f"Failed to decompress gzip: {failure}"
                ) from failure
            unused = len(member.unconsumed_tail) + len(member.unused_data)
            at += len(piece) - unused
            left -= len(part)
            if left < 0:
                raise _too_large(limit)
            parts.append(part)
        if at == len(view):
            return b"".join(parts)
    raise invalid(
        f"Failed to decompress gzip: it has more than {MAX_MEMBERS} members"
    )


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(
        f"Expected a body of at most {limit} bytes. Received: more. Send "
        f"fewer texts at once."
    )
