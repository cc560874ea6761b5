"""Loads hostile files under watch: no code, no file elsewhere, 1 GB at most."""

import contextlib
import os
import resource
import shutil
import sys
import sysconfig
import time
from pathlib import Path

import pytest

import kbert
from kbert.errors import KbertError
from kbert.formats import hdf5

FIXTURES = Path(__file__).parents[1] / "fixtures"

MAX_BYTES = 2**30
MAX_SECONDS = 20

# Python's own files, and kbert's; what is loaded late lies there.
_OURS = [
    *{sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")},
    str(Path(kbert.__file__).parents[1]),
    *("/proc", "/sys", "/dev", "/usr/share/zoneinfo"),
]
_watched: list[tuple[list[str], list[str]]] = []


def _audit(event, arguments):
    if not _watched or event not in ("open", "os.system", "subprocess.Popen"):
        return
    allowed, seen = _watched[-1]
    path = arguments[0]
    program = [sys.executable, "-P", hdf5.PROGRAM]
    if event == "subprocess.Popen" and arguments[1][:3] == program:
        return  # It is our own, with the file for an argument.
    if event != "open":
        seen.append(f"{event} {path}")
    elif isinstance(path, str | bytes | os.PathLike):
        real = os.path.realpath(os.fsdecode(path))
        if not real.startswith(tuple(allowed)):
            seen.append(f"open {real}")


sys.addaudithook(_audit)


@contextlib.contextmanager
def watch(folder):
    """Fails if a file elsewhere is opened, or memory or time runs out."""
    seen = []
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    started = time.monotonic()
    _watched.append(([str(folder.resolve()), *_OURS], seen))
    resource.setrlimit(resource.RLIMIT_AS, (now + MAX_BYTES, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
        _watched.pop()
    assert not seen
    assert time.monotonic() - started < MAX_SECONDS


@pytest.fixture(scope="session")
def warm():
    """What is imported and set up at the first load is there."""
    for name in ("huggingface", "kerashub", "garden_1", "torch"):
        kbert.load_backbone(FIXTURES / name)
    clf = kbert.Classifier("random:1x8", labels=["a", "b"], max_length=8)
    clf.predict(["a"])


@pytest.fixture
def copy(tmp_path, warm):
    """Copies a fixture to make something hostile of it."""

    def make(name):
        return Path(shutil.copytree(FIXTURES / name, tmp_path / "model"))

    return make


@pytest.fixture(scope="session")
def saved_once(warm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile") / "saved"
    clf = kbert.Classifier("random:1x8", labels=["a", "b"], max_length=8)
    clf.save(folder)
    return folder


@pytest.fixture
def saved(saved_once, tmp_path):
    """A saved classifier to make something hostile of."""
    return Path(shutil.copytree(saved_once, tmp_path / "saved"))


@pytest.fixture
def watched():
    """`watch`, for tests of what may be loaded."""
    return watch


@pytest.fixture
def refused():
    """Loads a folder, and says with what message it was refused."""

    def check(folder, match, load=kbert.load_backbone, error=KbertError):
        with watch(folder), pytest.raises(error, match=match) as caught:
            load(folder)
        # A terminal would obey what a message repeats of a hostile file.
        assert str(caught.value).isprintable() or "\n" in str(caught.value)
        assert len(str(caught.value)) < 100_000
        return str(caught.value)

    return check


@pytest.fixture
def canary(tmp_path):
    """A file that hostile code would make."""
    path = tmp_path / "canary"
    yield path
    assert not path.exists(), "code of the file has run"
