"""Log lines, one JSON object each."""

from __future__ import annotations

import json
import sys
import time
from typing import Any
from typing import TextIO


class Log:
    """Writes events as JSON Lines.

    Args:
        stream: where to; None for nowhere.

    Example:

    >>> Log(sys.stderr)("available", model="spam", version=1)
    {"time": "2026-01-01T00:00:00.000Z", "event": "available", ...}
    """

    def __init__(self, stream: TextIO | None = sys.stderr):
        self._stream = stream

    def __call__(self, event: str, **facts: Any) -> None:
        if self._stream is None:
            return
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        line = {"time": f"{stamp}.{int(now * 1000) % 1000:03d}Z"}
        print(
            json.dumps(line | {"event": event} | facts, ensure_ascii=False),
            file=self._stream,
            flush=True,
        )
