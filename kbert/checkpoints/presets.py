"""Pretrained checkpoints by name: fetched once, verified, kept in a cache."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

from kbert.checkpoints import hub
from kbert.checkpoints import kerashub
from kbert.checkpoints.mirrors import Mirror
from kbert.errors import CheckpointError
from kbert.errors import ConfigError
from kbert.errors import DownloadError
from kbert.errors import UnknownNameError
from kbert.plugins import get_plugins
from kbert.utils.atomic import file_digest
from kbert.utils.atomic import flush_tree
from kbert.utils.paths import as_path
from kbert.utils.scratch import flush
from kbert.utils.scratch import scratch_folder

DEFAULT_PRESET = "all-minilm-l6-v2"

REQUIRED_FILES = ("config.json", "model.safetensors", "vocab.txt")

# Digests of a fetched folder, in the form `sha256sum --check` reads.
_SUMS = "SHA256SUMS"


@dataclass(frozen=True)
class Preset:
    """A pretrained BERT that can be fetched by name.

    Args:
        name: what `Classifier(preset=...)` takes; lower case, digits and
            `.`, `_`, `-`.
        description: one line about it.
        parameters: number of weights.
        languages: ISO 639 codes, such as `("en",)`.
        lowercase: whether its vocabulary is uncased.
        mirrors: where its files come from, tried in order.
        files: file name to SHA-256, for every file that is kept; at least
            config.json, model.safetensors and vocab.txt. A name may have
            folders, as in 1_Pooling/config.json.

    Example:

    >>> preset = kbert.Preset(
    ...     name="legal-bert",
    ...     description="BERT for contracts",
    ...     parameters=109_482_240,
    ...     languages=("en",),
    ...     lowercase=True,
    ...     mirrors=(HubMirror("owner/legal-bert", revision=commit),),
    ...     files={"config.json": digest, "model.safetensors": digest},
    ... )
    """

    name: str
    description: str
    parameters: int
    languages: tuple[str, ...]
    lowercase: bool
    mirrors: tuple[Mirror, ...]
    files: Mapping[str, str] = field(hash=False)

    def __post_init__(self):
        # The names become paths: nothing may point out of the cache.
        part = r"[A-Za-z0-9][A-Za-z0-9._-]*"
        patterns = {name: rf"{part}(/{part})*" for name in self.files}
        for value, pattern in ((self.name, part), *patterns.items()):
            if not re.fullmatch(pattern, value):
                raise ConfigError(
                    "Expected preset and file names of letters, digits, '.', "
                    f"'_' and '-'. Received: {value!r} in preset "
                    f"{self.name!r}."
                )
        for name, digest in self.files.items():
            if not re.fullmatch(r"[0-9a-f]{64}", digest):
                raise ConfigError(
                    "Expected a SHA-256 of 64 lower-case hexadecimal digits "
                    f"for {name}. Received: {digest!r} in preset "
                    f"{self.name!r}."
                )
        missing = set(REQUIRED_FILES) - set(self.files)
        if missing or not self.mirrors:
            raise ConfigError(
                f"Expected at least one mirror and the files "
                f"{', '.join(REQUIRED_FILES)}. Received: {len(self.mirrors)} "
                f"mirrors, files={sorted(self.files)} in preset "
                f"{self.name!r}."
            )


def resolve(preset: str | os.PathLike) -> Path:
    """The folder of a checkpoint, fetched first if it is a name.

    A folder that exists goes before a preset of the same name. Presets are
    kept in `$KBERT_HOME/presets`, by default `~/.cache/kbert/presets`;
    repositories of the Hugging Face Hub and presets of KerasHub in the caches
    of those.

    Args:
        preset: a folder; a registered preset's name; `"owner/name"` or
            `"owner/name@revision"`, a repository of the Hugging Face Hub;
            `"kerashub:NAME"`, a preset of KerasHub.

    Raises:
        CheckpointError: the folder does not exist, or the cache cannot be
            written.
        DownloadError: no mirror gave the expected files.
        UnknownNameError: nothing is registered under the name.

    Example:

    >>> kbert.checkpoints.presets.resolve("all-minilm-l6-v2")
    PosixPath('/home/me/.cache/kbert/presets/all-minilm-l6-v2')
    """
    # No name is unknown below; a folder it is not.
    folder = as_path("." if preset == "" else preset).expanduser()
    name = os.fspath(preset)
    if name and folder.is_dir():
        return folder
    known = dict(get_plugins().presets.items())
    if name in known:
        return _cached(known[name].value)
    if isinstance(preset, str) and name.startswith(kerashub.SCHEME):
        return kerashub.fetch(name.removeprefix(kerashub.SCHEME))
    if isinstance(preset, str) and hub.is_repository(name):
        return hub.fetch(name)
    if not isinstance(preset, str) or name[:1] in (".", "~") or "/" in name:
        raise CheckpointError(
            "Expected a folder that holds a checkpoint, or a preset's name. "
            f"Received {name!r}: this folder does not exist. Correct the "
            f"path, or use one of the presets: {', '.join(sorted(known))}."
        )
    raise UnknownNameError(
        "preset",
        name,
        known,
        f"No folder {name!r} exists either. Repositories of the Hugging Face "
        f"Hub are owner/name, presets of KerasHub {kerashub.SCHEME}NAME.",
    )


# === Cache ===


def _cached(preset: Preset) -> Path:
    home = os.environ.get("KBERT_HOME") or "~/.cache/kbert"
    presets = Path(home).expanduser().absolute() / "presets"
    target = presets / preset.name
    if _is_current(preset, target):
        return target
    try:
        with scratch_folder(presets) as staging:
            files = _fetch(preset, staging)
            _install(preset, files, target)
    except OSError as error:
        raise CheckpointError(
            f"Expected to write preset {preset.name!r} to {presets}. "
            f"Received: {error}. Set KBERT_HOME to a folder that can be "
            "written and has room."
        ) from error
    return target


def _sums(preset: Preset) -> str:
    return "".join(f"{v}  {k}\n" for k, v in sorted(preset.files.items()))


def _is_current(preset: Preset, target: Path) -> bool:
    # A folder is put in place only after its digests were checked; a look at
    # them says that they are those of this version of the preset.
    try:
        recorded = (target / _SUMS).read_text()
    except OSError:
        return False
    return recorded == _sums(preset) and all(
        (target / name).is_file() for name in preset.files
    )


def _install(preset: Preset, files: Path, target: Path) -> None:
    try:
        os.rename(files, target)
    except OSError:
        if _is_current(preset, target):
            return  # Another process was first.
        # Files of another version of the preset, or an incomplete folder.
        os.rename(target, files.with_name("replaced"))
        os.rename(files, target)
    flush(target.parent)


# === Fetch ===


def _fetch(preset: Preset, staging: Path) -> Path:
    """The first mirror's files that verify, in a folder of `staging`."""
    progress = _Progress(preset)
    failures = []
    for number, mirror in enumerate(preset.mirrors):
        received = staging / f"mirror-{number}"
        received.mkdir()
        for name in preset.files:
            (received / name).parent.mkdir(parents=True, exist_ok=True)
        progress.line(f"Fetching {preset.name} from {mirror}")
        # Mirrors are plugins' code too; the next one must still be tried.
        try:
            with progress:
                mirror.fetch(tuple(preset.files), received, progress)
            _verify(preset, received)
        except Exception as error:
            reason = " ".join(str(error).split())
            if not isinstance(error, DownloadError):
                reason = f"{type(error).__name__}: {reason}"
            progress.line(f"Failed: {reason}")
            failures.append(f"\n  {mirror}: {reason}")
            continue
        progress.line(f"Fetched {preset.name}, digests verified")
        return _keep(preset, received, staging / "files")
    raise DownloadError(
        f"Expected the files of preset {preset.name!r} from one of its "
        f"mirrors. Received:{''.join(failures)}\nCheck the network, proxy and "
        "index settings, or give the path of a folder that holds "
        f"{', '.join(REQUIRED_FILES)}."
    )


def _verify(preset: Preset, folder: Path) -> None:
    for name, expected in preset.files.items():
        path = folder / name
        if not path.is_file():
            raise DownloadError(f"expected {name}, received no such file")
        received = file_digest(path)
        if received != expected:
            raise DownloadError(
                f"{name} is not the expected file: expected SHA-256 "
                f"{expected}, received {received} "
                f"({path.stat().st_size:,} bytes)"
            )


def _keep(preset: Preset, received: Path, files: Path) -> Path:
    files.mkdir()
    for name in preset.files:
        (files / name).parent.mkdir(parents=True, exist_ok=True)
        os.rename(received / name, files / name)
    (files / _SUMS).write_text(_sums(preset))
    flush_tree(files)
    return files


class _Progress:
    """Shows a fetch on stderr: a live bar, plain lines without a terminal."""

    _LINE_SECONDS = 10

    def __init__(self, preset: Preset):
        from kbert.utils.notes import notes

        self._console = notes(emoji=False)
        self._name = preset.name
        self._bar = None
        self._printed = time.monotonic()

    def line(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    def __call__(self, done: int, total: int | None) -> None:
        if self._console.is_terminal:
            self._draw(done, total)
        elif time.monotonic() - self._printed > self._LINE_SECONDS:
            self._printed = time.monotonic()
            of = f" of {total / 1e6:.0f}" if total else ""
            self.line(f"  {done / 1e6:.0f}{of} MB")

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _draw(self, done: int, total: int | None) -> None:
        from rich import progress

        # Started here, so that it does not mix with a mirror's own bars.
        if self._bar is None:
            self._bar = progress.Progress(
                progress.TextColumn("{task.description}"),
                progress.BarColumn(),
                progress.DownloadColumn(),
                progress.TransferSpeedColumn(),
                progress.TimeRemainingColumn(),
                console=self._console,
            )
            self._bar.start()
            self._task = self._bar.add_task(self._name, total=total)
        self._bar.update(self._task, completed=done)
