"""Log lines, one JSON object each."""

from __future__ import annotations

import logging
import queue
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from typing import TextIO

from kbert.utils.json_text import dumps

# Lines that wait to be written; when so many do, further ones are dropped.
MAX_WAITING = 10_000

# What JSON may hold as it is and a terminal may obey: further controls, ends
# of lines, and changes of the direction.
_CONTROLS = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


class Log:
    """Writes events as JSON Lines.

    A request never waits for its line, and never fails by it: lines are
    written in a thread of their own, and those that cannot be written, as on
    a full disk or a pipe that nobody reads, are dropped and counted.

    Args:
        stream: where to; None for nowhere.

    Attributes:
        dropped: lines that were not written.

    Example:

    >>> Log(sys.stderr)("available", model="spam", version=1)
    {"time": "2026-01-01T00:00:00.000Z", "event": "available", ...}
    """

    def __init__(self, stream: TextIO | None = sys.stderr):
        self.dropped = 0
        self._stream = stream
        self._waiting: queue.Queue = queue.Queue(MAX_WAITING)
        if stream is not None:
            threading.Thread(
                target=self._write,
                args=(stream,),
                name="kbert-log",
                daemon=True,
            ).start()

    def __call__(self, event: str, **facts: Any) -> None:
        if self._stream is None:
            return
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        line = {"time": f"{stamp}.{int(now * 1000) % 1000:03d}Z"}
        text = dumps(
            line | {"event": event} | facts, ensure_ascii=False, default=repr
        )
        text = _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
        try:
            self._waiting.put_nowait(text)
        except queue.Full:
            self.dropped += 1

    def _write(self, stream: TextIO) -> None:
        while True:
            line = self._waiting.get()
            if isinstance(line, threading.Event):
                line.set()
                continue
            try:
                # Half a surrogate pair is no UTF-8.
                line = line.encode("utf-8", "backslashreplace").decode()
                stream.write(line + "\n")
                stream.flush()
            except (OSError, ValueError):  # A full disk, a closed stream.
                self.dropped += 1

    def flush(self, seconds: float = 2.0) -> None:
        """Wait until what was noted is written, but no longer than so."""
        if self._stream is None:
            return
        written = threading.Event()
        try:
            self._waiting.put(written, timeout=seconds)
        except queue.Full:
            return
        written.wait(seconds)


class Forward(logging.Handler):
    """Has the lines of other libraries noted in a `Log`.

    Args:
        log: where they go.
    """

    def __init__(self, log: Log):
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        facts = {"logger": record.name, "level": record.levelname.lower()}
        if record.exc_info and record.exc_info[1] is not None:
            facts["error"] = repr(record.exc_info[1])
        self._log("library", **facts, message=record.getMessage())


@contextmanager
def forwarded(log: Log) -> Iterator[None]:
    """Have all lines of Python's `logging` go to a `Log` for a `with` block.

    Warnings of Python come the same way.
    """
    root, handler = logging.getLogger(), Forward(log)
    before = root.handlers[:]
    root.handlers = [handler]
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers = before
        log.flush()
