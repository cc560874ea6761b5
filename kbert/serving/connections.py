"""HTTP connections that nobody can fill or hold.

uvicorn's parser has no limits of its own: a head grows for as long as a client
sends, a connection that sends nothing stays, and so does one whose client
does not read. Bodies are bounded where they are read
(`kbert.serving.bodies`).
"""

from __future__ import annotations

import asyncio
import json
import math
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Bytes of a request's first line, and of all that is no body: headers,
# trailers, the sizes of chunks.
MAX_TARGET = 8 * 1024
MAX_HEAD = 64 * 1024
MAX_HEADERS = 100

# What comes besides the content of a chunk, and the target of a first line.
CHUNK, LINE = 16, 32

# Seconds for a head to come, and for the rest of a body that is not read.
HEAD_SECONDS = 10.0

# Seconds in which a client must have taken so many bytes of an answer.
SEND_SECONDS = 30.0
LEAST_SENT = 64 * 1024


class Connection(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._refusal: tuple[int, str] | None = None
        self._other_bytes = 0  # Those that are no body.
        self._headers = 0
        self._in_head = self._in_body = self._between = False
        self._late: asyncio.TimerHandle | None = None
        self._unsent: asyncio.TimerHandle | None = None

    # === What comes ===

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._since = self.loop.time()
        if len(self.connections) >= (self.limit_concurrency or math.inf):
            self._make_room()
        self._expect_soon()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._between:
            self._other_bytes, self._between = 0, False
        self._other_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._other_bytes > MAX_HEAD:
            self._refuse(431, f"a head of at most {MAX_HEAD} bytes")
            self.send_400_response("")
        elif self._other_bytes and not self._in_body:
            self._expect_soon()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._headers = 0
        self._in_head, self._in_body = True, False

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MAX_TARGET:
            raise self._refuse(414, f"a target of at most {MAX_TARGET} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers += 1
        if self._headers > MAX_HEADERS:
            raise self._refuse(431, f"at most {MAX_HEADERS} headers")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        size = sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > MAX_HEAD:
            raise self._refuse(431, f"a head of at most {MAX_HEAD} bytes")
        self._expected()
        self._in_head, self._in_body = False, True
        size += len(self.url) + LINE
        self._other_bytes = max(self._other_bytes - size, 0)
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        self._other_bytes = max(self._other_bytes - CHUNK, 0)

    def on_body(self, body: bytes) -> None:
        self._other_bytes = max(self._other_bytes - len(body), 0)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._expected()
        self._in_body, self._between = False, True
        super().on_message_complete()

    # === What is refused ===

    def _refuse(self, status: int, expected: str) -> Exception:
        self._refusal = (status, f"Expected {expected}. Received: more.")
        return ValueError(self._refusal[1])  # Ends the parser.

    def send_400_response(self, msg: str) -> None:
        status, message = self._refusal or (400, msg)
        body = json.dumps({"error": message}).encode()
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
            f"content-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _expect_soon(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(HEAD_SECONDS, self._is_late)

    def _expected(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _is_late(self) -> None:
        self._late = None
        if self.transport.is_closing():
            return
        if self._in_head:
            self._refusal = (408, "The head did not come in time.")
            self.send_400_response("")
        else:
            self.transport.close()

    def _make_room(self) -> None:
        """Close who has waited longest without a request, as nginx does."""
        others: Any = self.connections
        waiting = [c for c in others if c.is_waiting and c != self]
        if waiting:
            min(waiting, key=lambda c: c._since).transport.abort()

    @property
    def is_waiting(self) -> bool:
        """Whether no request of this connection is being answered."""
        busy = self.cycle is not None and not self.cycle.response_complete
        return not busy and not self.transport.is_closing()

    # === What is sent ===

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._since = self.loop.time()
        if self._in_body and not self.transport.is_closing():
            self._expect_soon()  # What is left of the body is thrown away.

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unwatch()

    def _watch(self) -> None:
        size = self.transport.get_write_buffer_size()
        self._unsent = self.loop.call_later(SEND_SECONDS, self._look, size)

    def _look(self, before: int) -> None:
        if self.transport.get_write_buffer_size() > before - LEAST_SENT:
            self.transport.abort()
        else:
            self._watch()

    def _unwatch(self) -> None:
        if self._unsent is not None:
            self._unsent.cancel()
            self._unsent = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._expected()
        self._unwatch()
        super().connection_lost(exc)
