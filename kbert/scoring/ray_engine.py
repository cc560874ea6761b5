"""Parts on a Ray cluster: each worker loads the model once.

Reference: Ray Data, Offline Batch Inference,
https://docs.ray.io/en/latest/data/batch_inference.html

Departures: what goes through Ray Data is where the parts are, not texts. A
worker reads and writes its parts by itself, so that a finished part survives
whatever happens to the others, and no text passes through the driver.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kbert.errors import CheckpointError
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.errors import KbertError
from kbert.exported.model import ServedModel
from kbert.scoring.part_files import score_part
from kbert.scoring.partitions import Partition
from kbert.utils.extras import need

# Errors that a worker's are raised as, by name.
RAISED = {e.__name__: e for e in (InputError, ConfigError, CheckpointError)}


class Worker:
    """What runs in each of Ray's processes; its arguments are `run`'s."""

    def __init__(
        self, parts: list[Partition], version: Path, batch_size: int, *task: Any
    ):
        self._model = ServedModel(version, batch_size, threads=1)
        self._parts = {part.number: part for part in parts}
        self._task = task

    def __call__(self, row: dict[str, int]) -> dict[str, Any]:
        answer = {"number": row["number"], "error": "", "message": ""}
        try:
            score_part(self._model, self._parts[row["number"]], *self._task)
        except KbertError as error:
            # An exception would come wrapped in Ray's own, and be retried.
            answer["error"] = type(error).__name__
            answer["message"] = str(error)
        return answer


def run(
    pending: list[Partition], workers: int | None, *task: Any
) -> Iterator[int]:
    """Answer parts by several workers; the numbers of parts as they end.

    Args:
        pending: parts to answer.
        workers: processes of one CPU each; None for one a CPU.
        *task: arguments of `Worker`.

    Raises:
        ConfigError: Ray is not installed, or does not start.
        KbertError: what a worker raised; parts that are done stay.
    """
    ray = _import_ray()
    if not pending:
        return
    started = not ray.is_initialized()
    if started:
        _start(ray)
    try:
        if workers is None:
            workers = int(ray.cluster_resources()["CPU"])
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        dataset = ray.data.from_items(
            [{"number": part.number} for part in pending],
            override_num_blocks=len(pending),
        ).map(
            Worker,
            fn_constructor_args=(pending, *task),
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(pending))),
            num_cpus=1,
        )
        for row in dataset.iter_rows():
            if row["error"]:
                raise RAISED.get(row["error"], KbertError)(row["message"])
            yield row["number"]
    finally:
        if started:
            ray.shutdown()


def _start(ray: Any) -> None:
    try:
        ray.init(
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (OSError, RuntimeError, ValueError) as error:
        cluster = os.environ.get("RAY_ADDRESS", "on this machine")
        raise ConfigError(
            f"Expected a Ray cluster ({cluster}). Received: {error}. See that "
            f"RAY_ADDRESS leads to one, and that RAY_AUTH_MODE is as its is."
        ) from error


def _import_ray():
    # Its usage statistics go to a server of Ray's makers, and its own log
    # tells of each worker; both can be had by setting these otherwise.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    ray = need("ray", "ray", "ray.data", purpose="engine='ray'")
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray
