"""Threads that read and write large messages, off the event loop.

What they are given is bounded beforehand (`kbert.serving.limits`), because a
thread cannot be stopped: a request that times out gives up its place in the
queue, and what runs ends by itself. They are few, since only one of them at a
time runs Python; the event loop waits for each at most a turn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kbert.serving.limits import SMALL
from kbert.serving.status import error
from kbert.utils.glibc import trim

THREADS = 2

# Bytes of messages after which memory is given back: Python's objects for them
# are many times as large, and lie between others.
TRIM_AFTER = 4 * 1024 * 1024


class Workers:
    """A few threads.

    Example:

    >>> workers = Workers()
    >>> body = await workers.run(len(raw), deadline, json.loads, raw)
    """

    def __init__(self):
        self._threads = ThreadPoolExecutor(THREADS, "kbert-messages")
        self._since_trim = 0

    async def run(
        self, size: int, deadline: float, function: Callable, *args: Any
    ) -> Any:
        """The answer of a function, in a thread if it may take long.

        Args:
            size: bytes that it reads or writes.
            deadline: `time.monotonic()` after which nobody waits.
            function: is called.
            *args: with these.

        Raises:
            ServingError: DEADLINE_EXCEEDED; and what `function` raises.
        """
        if size <= SMALL:
            return function(*args)
        call = asyncio.get_running_loop().run_in_executor(
            self._threads, self._work, size, function, *args
        )
        try:
            # `asyncio.wait_for` of Python 3.11 would make such a circle, too.
            async with asyncio.timeout(max(deadline - time.monotonic(), 0)):
                return await call
        except TimeoutError:
            raise error("DEADLINE_EXCEEDED", "Timed out") from None
        finally:
            # It holds what was raised, whose traceback holds this frame: all
            # that was read would stay until Python looks for circles.
            del call

    def _work(self, size: int, function: Callable, *args: Any) -> Any:
        try:
            return function(*args)
        finally:
            self._since_trim += size
            if self._since_trim >= TRIM_AFTER:
                self._since_trim = 0
                trim()

    def close(self) -> None:
        """Let the threads end after what they do now."""
        self._threads.shutdown(wait=False, cancel_futures=True)
