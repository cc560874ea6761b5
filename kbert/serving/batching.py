"""Requests of many clients, computed together.

A batch leaves as soon as a worker is free, so batches grow with the load: a
lone request does not wait, and under load what has come in meanwhile goes
together. kbert's models compute real tokens only, so a short text beside a
long one costs what it costs alone.

Reference: TensorFlow's batching_util/shared_batch_scheduler.h, whose
parameters have the same names.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from dataclasses import field
from typing import Any

import numpy as np

from kbert.errors import ServingError
from kbert.serving.status import error
from kbert.serving.status import invalid

# What computes: feeds and fetches, as `Servable.run` takes them.
Run = Callable[[dict[str, np.ndarray], tuple[str, ...]], list[np.ndarray]]


@dataclass
class Work:
    """Rows of one request that are computed together.

    Attributes:
        run: computes them; rows of different `run`s are not mixed.
        feeds: arrays by tensor name, `(rows, ...)` each.
        fetches: tensor names.
        rows: the size of a batch that they make.
        batchable: whether other rows may be computed with them.
        deadline: `time.monotonic()` after which nobody waits.
        size: bytes of the texts among them.
    """

    run: Run
    feeds: dict[str, np.ndarray]
    fetches: tuple[str, ...]
    rows: int
    batchable: bool
    deadline: float
    size: int = 0
    arrived: float = field(default_factory=time.monotonic)
    future: Any = None  # An asyncio.Future, when it waits.

    def group(self) -> tuple:
        """What work must share to be computed together."""
        if not self.batchable:
            return (id(self),)
        shapes = tuple(
            (name, array.dtype.str, array.shape[1:])
            for name, array in self.feeds.items()
        )
        return (self.run, self.fetches, shapes)


class Batcher:
    """A bounded queue of work, and the threads that do it.

    All methods are called on one event loop.

    Args:
        max_batch_size: rows computed at once.
        batch_timeout: seconds to wait for more rows when a worker is free.
        max_enqueued: pieces of work that wait; more are refused.
        workers: threads.
        observe: called with the seconds a piece of work has waited.
        max_batch_bytes: bytes of text computed at once, unless one row has
            more: models take many times as much memory for their tokens.

    Example:

    >>> batcher = Batcher(max_batch_size=64)
    >>> arrays = await batcher.submit(work)
    """

    def __init__(
        self,
        max_batch_size: int = 64,
        batch_timeout: float = 0.0,
        max_enqueued: int = 1000,
        workers: int = 1,
        observe: Callable[[float], None] = lambda seconds: None,
        max_batch_bytes: int = 1024 * 1024,
    ):
        self.max_batch_size = max_batch_size
        self.max_batch_bytes = max_batch_bytes
        self.batch_timeout = batch_timeout
        self.max_enqueued = max_enqueued
        self._free = workers
        self._threads = ThreadPoolExecutor(workers, "kbert-model")
        self._observe = observe
        self._groups: dict[tuple, deque[Work]] = {}
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """Pieces of work in the queue."""
        return self._waiting

    async def submit(self, work: Work) -> list[np.ndarray]:
        """Compute work, with that of others if it may be.

        Returns:
            One array for each of `work.fetches`.

        Raises:
            ServingError: UNAVAILABLE, the queue is full; DEADLINE_EXCEEDED;
                or what `work.run` raises.
        """
        if work.batchable and self._is_large(work.rows, work.size):
            return await self._submit_parts(work)
        if self._waiting >= self.max_enqueued:
            raise error(
                "UNAVAILABLE",
                "The batch scheduling queue to which this task was submitted "
                f"is full, {self.max_enqueued} wait",
            )
        loop = asyncio.get_running_loop()
        work.future = loop.create_future()
        self._groups.setdefault(work.group(), deque()).append(work)
        self._waiting += 1
        self._dispatch()
        try:
            async with asyncio.timeout(
                max(work.deadline - time.monotonic(), 0)
            ):
                return await work.future
        except TimeoutError:
            raise error("DEADLINE_EXCEEDED", "Timed out") from None
        except ServingError:
            # See `Workers.run`: it is done, and nobody asks it any more.
            work.future = None
            raise

    def _is_large(self, rows: int, size: int) -> bool:
        """Whether so many rows are more than a batch."""
        return rows > self.max_batch_size or (
            rows > 1 and size > self.max_batch_bytes
        )

    async def _submit_parts(self, work: Work) -> list[np.ndarray]:
        """A request that is larger than a batch, batch by batch."""
        answers = []
        for start, end, size in self._parts(work):
            feeds = {name: x[start:end] for name, x in work.feeds.items()}
            part = Work(
                *(work.run, feeds, work.fetches, end - start, True),
                *(work.deadline, size),
            )
            answers.append(await self.submit(part))
        return [np.concatenate(parts) for parts in zip(*answers, strict=True)]

    def _parts(self, work: Work) -> Iterator[tuple[int, int, int]]:
        """First row, last row and bytes of each batch of a request."""
        texts = [x for x in work.feeds.values() if x.dtype == object]
        start = size = 0
        for row in range(work.rows):
            more = sum(sum(map(len, x[row : row + 1].flat)) for x in texts)
            if row > start and self._is_large(row + 1 - start, size + more):
                yield start, row, size
                start, size = row, 0
            size += more
        yield start, work.rows, size

    def _dispatch(self) -> None:
        """Start batches while there is work and a free worker."""
        while self._free and self._groups:
            # The group that has waited longest comes first.
            key = min(self._groups, key=lambda k: self._groups[k][0].arrived)
            queue = self._groups[key]
            rows = sum(work.rows for work in queue)
            age = time.monotonic() - queue[0].arrived
            if rows < self.max_batch_size and age < self.batch_timeout:
                asyncio.get_running_loop().call_later(
                    self.batch_timeout - age, self._dispatch
                )
                return
            batch = self._take(key)
            if batch:
                self._free -= 1
                try:
                    done = asyncio.get_running_loop().run_in_executor(
                        self._threads, _compute, batch
                    )
                except RuntimeError as failure:  # No thread can be started.
                    self._fail(failure, batch)
                    continue
                done.add_done_callback(
                    lambda done, batch=batch: self._finish(done, batch)
                )

    def _take(self, key: tuple) -> list[Work]:
        """A batch from a group's queue, without what nobody waits for."""
        queue, batch, rows, size = self._groups[key], [], 0, 0
        while queue and not (
            batch and self._is_large(rows + queue[0].rows, size + queue[0].size)
        ):
            work = queue.popleft()
            self._waiting -= 1
            if not work.future.done():  # Not cancelled, not timed out.
                self._observe(time.monotonic() - work.arrived)
                batch.append(work)
                rows += work.rows
                size += work.size
        if not queue:
            del self._groups[key]
        return batch

    def _finish(self, done: asyncio.Future, batch: list[Work]) -> None:
        failure = done.exception()
        if failure is not None:
            self._fail(failure, batch)
        else:
            self._answer(done.result(), batch)
        self._dispatch()

    def _fail(self, failure: BaseException, batch: list[Work]) -> None:
        self._answer([_as_serving_error(failure)] * len(batch), batch)

    def _answer(self, answers: list, batch: list[Work]) -> None:
        """Hand out the answers of a batch; its worker is free again."""
        self._free += 1
        for work, answer in zip(batch, answers, strict=True):
            if work.future.done():
                continue
            if isinstance(answer, Exception):
                work.future.set_exception(answer)
            else:
                work.future.set_result(answer)

    def close(self) -> None:
        """Let the threads end after what they do now."""
        self._threads.shutdown(wait=False)


def _compute(batch: list[Work]) -> list:
    """In a thread: the answer, or the exception, of each piece of work."""
    try:
        return _together(batch)
    except Exception as failure:
        if len(batch) == 1:
            return [_as_serving_error(failure)]
    # One request's rows must not fail those of others.
    return [answer for work in batch for answer in _compute([work])]


def _together(batch: list[Work]) -> list:
    first = batch[0]
    if len(batch) == 1:
        return [first.run(first.feeds, first.fetches)]
    feeds = {
        name: np.concatenate([work.feeds[name] for work in batch])
        for name in first.feeds
    }
    total = sum(work.rows for work in batch)
    arrays = first.run(feeds, first.fetches)
    if any(array.ndim == 0 or len(array) != total for array in arrays):
        raise invalid("Batched output tensor's rows are not the inputs'")
    ends = np.cumsum([work.rows for work in batch])[:-1]
    parts = [np.split(array, ends) for array in arrays]
    return [list(answer) for answer in zip(*parts, strict=True)]


def _as_serving_error(failure: BaseException) -> ServingError:
    if isinstance(failure, ServingError):
        # The thread keeps it, and its traceback would keep the thread's frame.
        return failure.with_traceback(None)
    return error("INTERNAL", f"{type(failure).__name__}: {failure}")
