"""Batches: who is computed with whom, and what happens when it fails."""

import asyncio
import threading
import time

import numpy as np
import pytest

from kbert.errors import ServingError
from kbert.serving.batching import Batcher
from kbert.serving.batching import Work


class Doubler:
    """A model that doubles, and remembers the sizes of its batches."""

    def __init__(self):
        self.sizes = []
        self.gate = threading.Event()
        self.gate.set()

    def run(self, feeds, fetches):
        self.gate.wait(10)
        x = feeds["x"]
        self.sizes.append(len(x) if x.ndim else None)
        if (x < 0).any():
            raise ValueError("negative")
        return [2 * x for _ in fetches]


def work(model, values, batchable=True, seconds=10.0, fetches=("y",)):
    x = np.array(values)
    rows = len(x) if x.ndim else 1
    deadline = time.monotonic() + seconds
    return Work(model.run, {"x": x}, fetches, rows, batchable, deadline)


def together(model, jobs, **options):
    """Submit jobs while the model is busy with another; their outcomes."""

    async def main():
        batcher = Batcher(**options)
        model.gate.clear()
        first = asyncio.create_task(batcher.submit(work(model, [0])))
        await asyncio.sleep(0.05)
        tasks = [asyncio.create_task(batcher.submit(job)) for job in jobs]
        await asyncio.sleep(0.05)
        model.gate.set()
        await first
        found = await asyncio.gather(*tasks, return_exceptions=True)
        batcher.close()
        return found

    return asyncio.run(main())


def test_what_waits_is_computed_together():
    model = Doubler()
    jobs = [work(model, [i, i + 0.5]) for i in range(10)]
    answers = together(model, jobs)
    assert model.sizes == [1, 20]
    for i, (y,) in enumerate(answers):
        assert y.tolist() == [2 * i, 2 * i + 1]


def test_a_batch_has_a_largest_size():
    model = Doubler()
    answers = together(
        model, [work(model, [i, i]) for i in range(5)], max_batch_size=4
    )
    assert model.sizes == [1, 4, 4, 2]
    assert [y[0] for (y,) in answers] == [0, 2, 4, 6, 8]


def test_a_request_larger_than_a_batch_is_cut():
    model = Doubler()
    (answer,) = together(model, [work(model, range(10))], max_batch_size=4)
    assert answer[0].tolist() == list(range(0, 20, 2))
    assert model.sizes == [1, 4, 4, 2]


def test_other_shapes_and_fetches_are_not_mixed():
    model = Doubler()
    jobs = [
        work(model, [1.0]),
        work(model, [[1.0, 2.0]]),
        work(model, [1.0], fetches=("y", "z")),
        work(model, [1]),
        work(model, [1.0], batchable=False),
    ]
    answers = together(model, jobs)
    assert sorted(model.sizes) == [1] * 6
    assert len(answers[2]) == 2


def test_one_bad_request_does_not_fail_the_others():
    model = Doubler()
    jobs = [work(model, [i]) for i in (1, -1, 2)]
    good, bad, other = together(model, jobs)
    assert (good[0][0], other[0][0]) == (2, 4)
    assert isinstance(bad, ServingError) and bad.code == "INTERNAL"


def test_outputs_that_are_no_rows_are_computed_one_by_one():
    class Sum(Doubler):
        def run(self, feeds, fetches):
            self.gate.wait(10)
            return [np.array(feeds["x"].sum())]

    answers = together(Sum(), [work(m, [i]) for m in [Sum()] for i in (1, 2)])
    assert [float(y) for (y,) in answers] == [1.0, 2.0]


def test_a_full_queue_refuses():
    model = Doubler()
    jobs = [work(model, [i]) for i in range(5)]
    found = together(model, jobs, max_enqueued=3)
    refused = [x for x in found if isinstance(x, ServingError)]
    assert len(refused) == 2
    assert {error.code for error in refused} == {"UNAVAILABLE"}
    assert "is full" in str(refused[0])


def test_what_nobody_waits_for_is_not_computed():
    model = Doubler()
    jobs = [work(model, [1], seconds=0.01), work(model, [2])]
    late, answer = together(model, jobs)
    assert late.code == "DEADLINE_EXCEEDED"
    assert answer[0].tolist() == [4]
    assert model.sizes == [1, 1]


def test_a_batch_may_wait_for_more():
    async def main():
        model = Doubler()
        batcher = Batcher(batch_timeout=0.1)
        tasks = []
        for i in range(3):
            job = batcher.submit(work(model, [i]))
            tasks.append(asyncio.create_task(job))
            await asyncio.sleep(0.01)
        await asyncio.gather(*tasks)
        batcher.close()
        return model.sizes

    assert asyncio.run(main()) == [3]


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_compute_side_by_side(workers):
    async def main():
        inside, most = 0, 0
        lock = threading.Lock()

        def run(feeds, fetches):
            nonlocal inside, most
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.05)
            with lock:
                inside -= 1
            return [feeds["x"]]

        batcher = Batcher(max_batch_size=1, workers=workers)
        deadline = time.monotonic() + 10
        jobs = [
            Work(run, {"x": np.zeros(1)}, ("y",), 1, True, deadline)
            for _ in range(4)
        ]
        await asyncio.gather(*map(batcher.submit, jobs))
        batcher.close()
        return most

    assert asyncio.run(main()) == workers
