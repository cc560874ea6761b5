"""Connections whose reads and writes end together, however slowly bytes come.

httpx's time-outs are for each read: an answer whose head comes byte by byte
would never be late.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import httpcore
import httpx


class DeadlineTransport(httpx.HTTPTransport):
    """httpx's transport, with a deadline for all that a thread asks.

    Args:
        **options: as httpx takes them.

    Example:

    >>> transport = DeadlineTransport(trust_env=False)
    >>> transport.end_in(30.0)
    >>> httpx.Client(transport=transport).get("http://localhost:8501/healthz")
    """

    def __init__(self, **options: Any):
        super().__init__(**options)
        self._ends = threading.local()
        self._pool._network_backend = _Backend(self._ends)

    def end_in(self, seconds: float) -> None:
        """Let what this thread asks next be late after so many seconds."""
        self._ends.time = time.monotonic() + seconds


class _Backend(httpcore.SyncBackend):
    def __init__(self, ends: threading.local):
        super().__init__()
        self._ends = ends

    def connect_tcp(self, *args: Any, **options: Any) -> httpcore.NetworkStream:
        return _Stream(super().connect_tcp(*args, **options), self._ends)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, ends: threading.local):
        self._stream, self._ends = stream, ends

    def _left(self, timeout: float | None) -> float:
        left = self._ends.time - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("The answer is late")
        return left if timeout is None else min(timeout, left)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, *args: Any, **options: Any) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(*args, **options), self._ends)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
