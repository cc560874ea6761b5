"""Counters and latencies under TF Serving's names, for Prometheus.

Reference: tensorflow_serving/servables/tensorflow/util.cc,
saved_model_warmup_util.cc and batching/batching_session.cc for the names,
labels and buckets; util/prometheus_exporter.cc for the form.

Departures: a model name that the server does not have counts as "", or
anyone could fill the memory with names.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections import deque
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import prometheus_client
from prometheus_client import exposition
from prometheus_client.core import Metric

from kbert.errors import ServingError
from kbert.exported.warmup import EXPLAIN

# Else each histogram has a line with the time it began.
prometheus_client.disable_created_metrics()

PATH = "/monitoring/prometheus/metrics"
PREFIX = ":tensorflow:serving:"
# Of what TF Serving has not.
OWN = ":kbert:serving:"

# Microseconds: scale 10, power 1.8, 33 buckets (about 20 minutes).
LATENCY = tuple(10 * 1.8**i for i in range(33))
# Microseconds: scale 100, power 1.2, 52 buckets (about 1 second).
QUEUING = tuple(100 * 1.2**i for i in range(52))
EXAMPLES = tuple(2.0**i for i in range(15))

# What a model's answers are asked by; the rest is about it.
ANSWERS = ("Predict", "Classify", "Regress", "MultiInference")

# The page shows percentiles of so many answers.
RECENT = 1000


@dataclass
class Outcome:
    """How a request ends; its handler says."""

    model: str = ""
    signature: str = ""
    code: str = "OK"
    rows: int = 0


class _Counters:
    """Counters whose names do not end in `_total`, as TF Serving's do not."""

    def __init__(self):
        self.values: dict[tuple, dict[tuple, float]] = {}

    def add(
        self,
        name: str,
        labels: dict[str, str],
        amount: float = 1,
        prefix: str = PREFIX,
    ):
        key = (prefix + name, tuple(labels))
        cells = self.values.setdefault(key, defaultdict(float))
        cells[tuple(labels.values())] += amount

    def collect(self):
        for (name, labels), cells in list(self.values.items()):
            family = Metric(name, name, "unknown")
            for values, amount in list(cells.items()):
                family.add_sample(
                    name, dict(zip(labels, values, strict=True)), amount
                )
            yield family


class Metrics:
    """The metrics of one server.

    Example:

    >>> metrics = Metrics()
    >>> with metrics.request("Predict", "REST") as outcome:
    ...     outcome.model, outcome.rows = "spam", 3
    >>> metrics.page()
    """

    def __init__(self):
        self._registry = prometheus_client.CollectorRegistry()
        self._counters = _Counters()
        self._recent = defaultdict(lambda: deque(maxlen=RECENT))
        self._registry.register(self._counters)
        self._request = self._histogram(
            "request_latency",
            "Microseconds from a request to its answer.",
            ("model_name", "API", "entrypoint", "status"),
        )
        self._runtime = self._histogram(
            "runtime_latency",
            "Microseconds in the TensorFlow runtime.",
            ("model_name", "API", "runtime"),
        )
        self._warmup = self._histogram(
            "model_warmup_latency",
            "Microseconds of replaying warm-up requests.",
            ("model_path", "status"),
        )
        self._examples = self._histogram(
            "request_example_counts",
            "tensorflow.Examples per request.",
            ("model",),
            EXAMPLES,
        )
        self._queuing = self._histogram(
            "batching_session:queuing_latency",
            "Microseconds in the batching queue.",
            ("thread_pool_name",),
            QUEUING,
        )

    def _histogram(self, name, about, labels, buckets=LATENCY):
        return prometheus_client.Histogram(
            PREFIX + name,
            about,
            labels,
            buckets=buckets,
            registry=self._registry,
        )

    @contextmanager
    def request(self, api: str, entrypoint: str) -> Iterator[Outcome]:
        """Count a request and its latency when the block ends.

        Args:
            api: `"Predict"`, `"Classify"` and so on.
            entrypoint: `"REST"` or `"GRPC"`.
        """
        outcome, started = Outcome(), time.perf_counter()
        try:
            yield outcome
        except ServingError as failure:
            outcome.code = failure.code
            raise
        except BaseException:  # A client that went away, too.
            outcome.code = "CANCELLED"
            raise
        finally:
            self._counters.add(
                "request_count",
                {"model_name": outcome.model, "status": outcome.code},
            )
            seconds = time.perf_counter() - started
            self._request.labels(
                outcome.model, api, entrypoint, outcome.code
            ).observe(1e6 * seconds)
            if outcome.code == "OK" and api in ANSWERS:
                explains = outcome.signature == EXPLAIN
                self._recent[outcome.model, explains].append(1e3 * seconds)
            if outcome.rows and api in ("Classify", "Regress"):
                self._examples.labels(outcome.model).observe(outcome.rows)
                self._counters.add(
                    "request_example_count_total",
                    {"model": outcome.model},
                    outcome.rows,
                )

    def look_failed(self) -> None:
        """Count a look at a model's folder that failed."""
        self._counters.add("look_failures", {}, prefix=OWN)

    def warm_up_failed(self) -> None:
        """Count a warm-up of explanations that failed."""
        self._counters.add("warm_up_failures", {}, prefix=OWN)

    def watch(self, name: str, read: Callable[[], float]) -> None:
        """Show a number that is read when the page is asked for."""
        gauge = prometheus_client.Gauge(
            OWN + name, name, registry=self._registry
        )
        gauge.set_function(read)

    def ran(self, model: str, api: str, seconds: float) -> None:
        """Note the time in TensorFlow."""
        self._runtime.labels(model, api, "TF1").observe(1e6 * seconds)

    def warmed_up(self, path: str, code: str, seconds: float) -> None:
        """Note the time of a warm-up."""
        self._warmup.labels(path, code).observe(1e6 * seconds)

    def queued(self, seconds: float) -> None:
        """Note the time a piece of work waited for its batch."""
        self._queuing.labels("kbert").observe(1e6 * seconds)
        self._counters.add("batching_session:wrapped_run_count", {})

    def page(self) -> bytes:
        """All of it, in Prometheus's text form."""
        text = exposition.generate_latest(self._registry).decode()
        # As "counter" the library would name them `..._total`.
        return text.replace(" untyped\n", " counter\n").encode()

    def summary(self, model: str) -> dict[str, Any]:
        """Requests and failures of a model, and how long answers took.

        `predict` and `explain` are the 50th and the 99th percentile in
        milliseconds of the last `RECENT` answers, None if there was none.
        """
        counts = self._counters.values.get(
            (f"{PREFIX}request_count", ("model_name", "status")), {}
        )
        by_status = {s: n for (m, s), n in counts.items() if m == model}
        requests = sum(by_status.values())
        return {
            "requests": int(requests),
            "failed": int(requests - by_status.get("OK", 0)),
            "predict": self._percentiles(model, explains=False),
            "explain": self._percentiles(model, explains=True),
        }

    def _percentiles(self, model: str, *, explains: bool) -> dict | None:
        recent = self._recent.get((model, explains))
        if not recent:
            return None
        p50, p99 = np.percentile(recent, [50, 99]).tolist()
        return {"p50": p50, "p99": p99}
