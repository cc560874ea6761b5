"""Loads and unloads versions as their folders come and go.

A new version is loaded and warmed up before the old one goes, and the old
one goes when the last request that uses it has been answered: no request
fails because of a reload.

Reference: tensorflow_serving/core/aspired_versions_manager.cc with the
AvailabilityPreservingPolicy; servable_state.h for the states.

Departures: a version that could not be loaded is tried again when its folder
changes, which is what people do about it, and besides after growing pauses,
as what failed may have been the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

import numpy as np

from kbert.errors import ServingError
from kbert.serving.config import ModelConfig
from kbert.serving.logs import Log
from kbert.serving.memory import give_back
from kbert.serving.servable import Servable
from kbert.serving.status import error

# Seconds between looks at whether a version that is unloaded is still used.
DRAIN_POLL = 0.05

# Seconds after which a version that could not be loaded is tried once more.
RETRY_PAUSES = (1.0, 4.0, 16.0, 64.0, 256.0)


@dataclass(eq=False)
class Version:
    """A version of a model, from first seen to unloaded.

    Attributes:
        model: name of the model.
        number: of the version.
        path: its folder.
        state: START, LOADING, AVAILABLE, UNLOADING or END.
        failure: why it ended, if it did not end well.
        servable: the SavedModel while it is in memory.
        loaded: `time.time()` when it became available.
    """

    model: str
    number: int
    path: Path
    state: str = "START"
    failure: ServingError | None = None
    servable: Any = None  # A Servable.
    loaded: float | None = None
    _seen: tuple = ()
    _tries: int = 1
    _failed_at: float = 0.0
    _users: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, feeds: dict, fetches: tuple[str, ...]) -> list[np.ndarray]:
        """`Servable.run`; the version is not unloaded meanwhile."""
        with self.used():
            return self.servable.run(feeds, fetches)

    @contextlib.contextmanager
    def used(self) -> Iterator[Version]:
        """Keep the version in memory while a `with` block runs."""
        with self._lock:
            self._users += 1
        try:
            yield self
        finally:
            with self._lock:
                self._users -= 1

    @property
    def idle(self) -> bool:
        return self._users == 0

    def worth_another_try(self, seen: tuple) -> bool:
        """Whether a version that could not be loaded may be loadable now.

        Args:
            seen: the fingerprint of its folder.
        """
        if self._seen != seen:
            return True
        if self._tries > len(RETRY_PAUSES):
            return False
        pause = RETRY_PAUSES[self._tries - 1]
        return time.monotonic() - self._failed_at >= pause


# Makes a version ready, in a thread: a loaded, warmed-up SavedModel.
Load = Callable[[Version], Servable]


class Models:
    """The models of a server and their versions.

    Args:
        configs: which models there are.
        load: makes a version ready; runs in a thread.
        log: where changes are noted.
        count_failure: called when a look at a model's folder fails.
        available: called with each version that has become available.

    Example:

    >>> models = Models([from_folder("saved_models/spam")], load, log)
    >>> await models.update()
    >>> with models.use("spam") as version:
    ...     version.servable.signatures
    """

    def __init__(
        self,
        configs: list[ModelConfig],
        load: Load,
        log: Log,
        count_failure: Callable[[], None] = lambda: None,
        available: Callable[[Version], None] = lambda version: None,
    ):
        self.configs = {config.name: config for config in configs}
        self._versions: dict[str, dict[int, Version]] = {}
        self._load = load
        self._log = log
        self._count_failure = count_failure
        self._available = available
        self._troubles: dict[str, str] = {}
        self._updating = asyncio.Lock()
        self._left_memory = False

    # === What requests ask ===

    @contextlib.contextmanager
    def use(
        self,
        name: str,
        number: int | None = None,
        label: str | None = None,
    ) -> Iterator[Version]:
        """An available version, kept in memory while the block runs.

        Args:
            name: of the model.
            number: of the version; by default the newest available one.
            label: in place of a number.

        Raises:
            ServingError: NOT_FOUND, there is none; INVALID_ARGUMENT, no name
                or an unknown label.
        """
        with self._find(name, number, label).used() as version:
            yield version

    def _find(self, name, number, label) -> Version:
        if not name:
            raise error("INVALID_ARGUMENT", "ModelSpec has no name specified.")
        if label:
            number = self.label(name, label)
        available = [
            version
            for version in self._versions.get(name, {}).values()
            if version.state == "AVAILABLE" and number in (None, version.number)
        ]
        if not available:
            asked = (
                f"Latest({name})"
                if number is None
                else f"Specific({name}, {number})"
            )
            raise error("NOT_FOUND", f"Servable not found for request: {asked}")
        return max(available, key=lambda version: version.number)

    def label(self, name: str, label: str) -> int:
        """The version that a label stands for.

        Raises:
            ServingError: INVALID_ARGUMENT, the label is unknown.
        """
        config = self.configs.get(name)
        if config is None or label not in config.labels:
            raise error(
                "INVALID_ARGUMENT",
                f"Unrecognized servable version label: {label}",
            )
        return config.labels[label]

    def states(self, name: str, number: int | None = None) -> list[Version]:
        """`versions`, or one of them.

        Raises:
            ServingError: NOT_FOUND, it was never seen.
        """
        versions = self._versions.get(name, {})
        if number is not None:
            if number not in versions:
                raise error(
                    "NOT_FOUND",
                    f"Could not find version {number} of model {name}",
                )
            return [versions[number]]
        if not versions:
            raise error(
                "NOT_FOUND", f"Could not find any versions of model {name}"
            )
        return self.versions(name)

    def versions(self, name: str) -> list[Version]:
        """All versions of a model that were ever seen, newest first."""
        versions = self._versions.get(name, {})
        return [versions[number] for number in sorted(versions, reverse=True)]

    @property
    def ready(self) -> bool:
        """Whether each model has an available version."""
        return all(
            any(
                version.state == "AVAILABLE"
                for version in self._versions.get(name, {}).values()
            )
            for name in self.configs
        )

    # === Loading and unloading ===

    async def update(self) -> None:
        """Bring memory in line with the folders, once.

        A model whose folder cannot be looked at stays as it is.
        """
        async with self._updating:
            for config in list(self.configs.values()):
                with self._looking(config.name):
                    wanted = await asyncio.to_thread(config.versions)
                    await self._update(config.name, wanted)
            for name in set(self._versions) - set(self.configs):
                with self._looking(name):
                    await self._update(name, {})
            if self._left_memory:
                self._left_memory = False
                await asyncio.to_thread(give_back)

    @contextlib.contextmanager
    def _looking(self, name: str) -> Iterator[None]:
        """An error in here ends here: it is noted once and counted, and the
        next look may do better."""
        try:
            yield
        except Exception as failure:
            self._count_failure()
            trouble = str(failure) or repr(failure)
            if self._troubles.get(name) != trouble:
                self._troubles[name] = trouble
                self._log("look failed", model=name, error=trouble)
        else:
            if self._troubles.pop(name, None) is not None:
                self._log("look succeeded", model=name)

    def trouble(self, name: str) -> str | None:
        """Why a model's folder could not be looked at the last time."""
        return self._troubles.get(name)

    async def _update(self, name: str, wanted: dict[int, Path]) -> None:
        known = self._versions.setdefault(name, {})
        for number, path in wanted.items():
            seen = await asyncio.to_thread(_fingerprint, path)
            before = known.get(number)
            if before is None or (
                before.state == "END"
                and (before.failure is None or before.worth_another_try(seen))
            ):
                version = Version(name, number, path, _seen=seen)
                if before and before.failure and before._seen == seen:
                    version._tries = before._tries + 1
                known[number] = version
                await self._bring_up(version)
        going = [
            version
            for number, version in known.items()
            if number not in wanted and version.state == "AVAILABLE"
        ]
        # The old ones stay until a wanted one is there.
        if not wanted or any(
            known[number].state == "AVAILABLE" for number in wanted
        ):
            for version in going:
                await self._take_down(version)

    async def _bring_up(self, version: Version) -> None:
        version.state = "LOADING"
        started = time.perf_counter()
        try:
            found = await asyncio.to_thread(_try, self._load, version)
        except RuntimeError as failure:  # There is no thread to be had.
            found = error("UNAVAILABLE", f"Could not load: {failure}")
        if isinstance(found, ServingError):
            version.state, version.failure = "END", found
            version._failed_at = time.monotonic()
            self._left_memory = True
            self._note("load failed", version, error=str(found))
            return
        version.servable = found
        version.loaded = time.time()
        version.state = "AVAILABLE"
        seconds = round(time.perf_counter() - started, 3)
        self._note("available", version, seconds=seconds)
        self._available(version)

    async def _take_down(self, version: Version) -> None:
        version.state = "UNLOADING"  # No new request finds it now.
        self._note("unloading", version)
        while not version.idle:
            await asyncio.sleep(DRAIN_POLL)
        try:
            await asyncio.to_thread(_unload, version)
        finally:
            version.state = "END"
            self._left_memory = True
        self._note("unloaded", version)

    def _note(self, event: str, version: Version, **facts) -> None:
        self._log(event, model=version.model, version=version.number, **facts)

    async def poll(self, seconds: float) -> None:
        """`update` every so many seconds, until cancelled.

        Whatever goes wrong in a look, another one comes.
        """
        while True:
            await asyncio.sleep(seconds)
            await self.update()

    async def reload(self, configs: list[ModelConfig]) -> None:
        """Replace the models. ServerCore::ReloadConfig.

        Returns when the new models are available.

        Raises:
            ServingError: UNKNOWN, some model did not become available;
                FAILED_PRECONDITION, a label stands for a version that is not
                available.
        """
        before = self.configs
        self.configs = {config.name: config for config in configs}
        await self.update()
        missing = [
            name
            for name in self.configs
            if not any(
                v.state == "AVAILABLE"
                for v in self._versions.get(name, {}).values()
            )
        ]
        if missing:
            raise error(
                "UNKNOWN",
                f"Some models did not become available: {missing}",
            )
        for config in configs:
            for number in config.labels.values():
                version = self._versions.get(config.name, {}).get(number)
                if version is None or version.state != "AVAILABLE":
                    # The old labels stand, so that requests go on.
                    old = before.get(config.name)
                    self.configs[config.name] = ModelConfig(
                        config.name,
                        config.base_path,
                        config.latest,
                        config.specific,
                        old.labels if old else {},
                    )
                    raise error(
                        "FAILED_PRECONDITION",
                        f"Request to assign label to version {number} of "
                        f"model {config.name}, which is not currently "
                        f"available for inference",
                    )

    async def close(self) -> None:
        """Unload everything, after the requests that use it."""
        async with self._updating:
            for versions in self._versions.values():
                for version in versions.values():
                    if version.state == "AVAILABLE":
                        await self._take_down(version)


def _try(load: Load, version: Version) -> Servable | ServingError:
    """In a thread: what was loaded, or why not.

    Whatever is in the folder, the others are served and looked at. The error
    is made anew, since a traceback would keep what was loaded.
    """
    try:
        return load(version)
    except ServingError as failure:
        return error(failure.code, str(failure))
    except Exception as failure:
        return error("INTERNAL", f"Could not load: {failure!r}")


def _unload(version: Version) -> None:
    """In a thread, after which nobody has it: memory is given back next."""
    servable, version.servable = version.servable, None
    servable.close()


def _fingerprint(path: Path) -> tuple:
    """What changes when a version's folder does."""
    try:
        files = sorted(p for p in path.rglob("*") if p.is_file())
        return tuple(
            (str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files
        )
    except OSError as failure:
        # Not (), as of an empty folder: it changes when the folder can be
        # read again.
        return (repr(failure),)
