"""The folder of a scoring job: its plan, finished parts, one run at a time.

    _plan.json          what is answered, by which model, cut into which parts
    part-00000.parquet  answers; a file is there whole or not at all
    _SUCCESS            empty; all parts are there

Names with an underscore are left out by Spark, Arrow and others that read a
folder of Parquet files.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kbert.errors import CheckpointError
from kbert.errors import ConfigError
from kbert.scoring.partitions import Partition
from kbert.utils.atomic import new_file
from kbert.utils.json_text import dumps
from kbert.utils.scratch import PREFIX
from kbert.utils.scratch import check_room
from kbert.utils.scratch import sweep

PLAN = "_plan.json"
LOCK = "_lock"
SUCCESS = "_SUCCESS"


class Job:
    """What is done and what is not; made by `open_job`.

    Attributes:
        folder: where answers go.
        parts: all parts, in order.
    """

    def __init__(self, folder: Path, parts: list[Partition]):
        self.folder = folder
        self.parts = parts

    def pending(self) -> list[Partition]:
        """Parts that have no answers yet."""
        return [p for p in self.parts if not (self.folder / p.name).exists()]

    def finish(self) -> None:
        """Say that all is done, if it is."""
        if missing := self.pending():
            raise CheckpointError(
                f"Expected {len(self.parts)} parts in {self.folder}. "
                f"Received: {len(missing)} fewer. Run the same again."
            )
        with new_file(self.folder / SUCCESS):
            pass


@contextlib.contextmanager
def open_job(
    folder: Path, settings: dict[str, Any], parts: list[Partition]
) -> Iterator[Job]:
    """Begin a job in `folder`, or go on with it.

    Args:
        folder: where answers go; new, empty, or of the same job.
        settings: what decides the answers, as JSON can hold it. A folder
            with other settings is refused.
        parts: all parts.

    Raises:
        ConfigError: the folder holds another job, or something else, or
            another process works on it.
        CheckpointError: the folder cannot be written.
    """
    settings = json.loads(dumps(settings))
    _check_folder(folder)
    check_room(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / LOCK, "w")
    except OSError as error:
        raise CheckpointError(
            f"Expected a folder that can be written. Received: {folder}: "
            f"{error.strerror}."
        ) from error
    # The lock goes with the process, however it ends.
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"Expected a folder that nobody works on. Received: "
                f"{folder}, which another process writes. Wait for it."
            ) from error
        _compare(folder / PLAN, settings)
        # Left behind by a run that was killed while it wrote.
        sweep(folder)
        job = Job(folder, parts)
        if job.pending():
            (folder / SUCCESS).unlink(missing_ok=True)
        yield job


def _check_folder(folder: Path) -> None:
    if folder.is_dir() and not (folder / PLAN).is_file():
        names = [entry.name for entry in folder.iterdir()]
        if any(n != LOCK and not n.startswith(PREFIX) for n in names):
            raise ConfigError(
                f"Expected a new folder, or one of the same job. Received: "
                f"{folder}, which holds something else."
            )


def _compare(plan: Path, settings: dict) -> None:
    if not plan.exists():
        with new_file(plan) as temporary:
            text = dumps(settings, indent=2, ensure_ascii=False)
            temporary.write_text(text + "\n", encoding="utf-8")
        return
    try:
        before = json.loads(plan.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"Expected the plan of a job. Received: {plan}: {error}. Remove "
            f"the folder and begin again."
        ) from error
    other = sorted(
        key
        for key in before.keys() | settings.keys()
        if before.get(key) != settings.get(key)
    )
    if other:
        raise ConfigError(
            f"Expected the job that {plan.parent} holds. Received: another, "
            f"with different {', '.join(other)}. Choose another folder, or "
            f"remove that one."
        )
