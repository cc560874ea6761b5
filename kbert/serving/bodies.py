"""Reading request bodies: bounded in bytes and in time."""

from __future__ import annotations

import asyncio
import time
import zlib

from starlette.requests import Request

from kbert.serving.status import TooLargeError
from kbert.serving.status import error
from kbert.serving.status import invalid


async def read_body(request: Request, limit: int, deadline: float) -> bytes:
    """The body, decompressed if it says that it is gzip.

    Args:
        request: Starlette's.
        limit: bytes, before and after decompression.
        deadline: `time.monotonic()` until which it must be there.

    Raises:
        ServingError: the body is too large (413), comes too slowly
            (DEADLINE_EXCEEDED), or is no gzip (INVALID_ARGUMENT).
        starlette.requests.ClientDisconnect: the client went away.
    """
    too_large = TooLargeError(
        f"Expected a body of at most {limit} bytes. Received: more. Send "
        f"fewer texts at once."
    )
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise too_large
    chunks, size = [], 0
    try:
        async with asyncio.timeout(max(deadline - time.monotonic(), 0)):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit:
                    raise too_large
                chunks.append(chunk)
    except TimeoutError:
        raise error(
            "DEADLINE_EXCEEDED", "The body did not come in time"
        ) from None
    body = b"".join(chunks)
    # As NeedUncompressGzipContent has it; what else is named is not heeded.
    if "gzip" in request.headers.get("content-encoding", ""):
        body = _gunzip(body, limit)
        if body is None:
            raise too_large
    return body


def _gunzip(body: bytes, limit: int) -> bytes | None:
    """Decompressed, all members of it; None if it is more than `limit`."""
    parts, left = [], limit
    while body:
        member = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:
            # Never more than one byte over the limit is made.
            part = member.decompress(body, left + 1)
        except zlib.error as failure:
            raise invalid(f"Failed to decompress gzip: {failure}") from failure
        left -= len(part)
        if left < 0:
            return None
        if not member.eof:
            raise invalid("Failed to decompress gzip: it ends too early")
        parts.append(part)
        body = member.unused_data
    return b"".join(parts)
