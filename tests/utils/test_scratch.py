"""Temporary files: gone at the end, and after a kill with the next one."""

import os
import resource
import signal
import subprocess
import sys

import pytest

from kbert.errors import CheckpointError
from kbert.utils import scratch
from kbert.utils.atomic import new_file
from kbert.utils.atomic import new_folder
from kbert.utils.scratch import check_room
from kbert.utils.scratch import scratch_folder
from kbert.utils.scratch import sweep

# Writes at a place, by a function's name, and waits in the middle of it.
PROGRAM = """
import sys, time
from kbert.utils import atomic as folders
name, target = sys.argv[1:]
with getattr(folders, name)(target) as temporary:
    print(temporary, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def start():
    running = []

    def started(name, target):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, name, str(target)],
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process, process.stdout.readline().strip()

    yield started
    for process in running:
        process.kill()
        process.communicate()


def test_what_a_kill_left_goes_with_the_next(tmp_path, start):
    processes = [
        start("new_folder", tmp_path / "a"),
        start("new_file", tmp_path / "b"),
    ]
    backup = tmp_path / f"{scratch.PREFIX}notes"
    backup.mkdir()
    living = sorted([backup, *(tmp_path / path for _, path in processes)])
    for make in (new_file, new_folder):
        with make(tmp_path / make.__name__) as temporary:
            # Those of the living stay.
            assert sorted(tmp_path.glob(".*")) == sorted([*living, temporary])
    for process, _ in processes:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with new_file(tmp_path / "c"):
        pass
    # Only what bears one of our names is swept.
    assert [p.name for p in tmp_path.glob(".*")] == [backup.name]


def test_swept_before_it_was_locked(tmp_path, monkeypatch):
    make = scratch._new_folder
    made = []

    def swept(path):
        handle = make(path)
        made.append(path)
        if len(made) == 1:
            sweep(tmp_path)
            assert not path.exists()
        return handle

    monkeypatch.setattr(scratch, "_new_folder", swept)
    with scratch_folder(tmp_path) as folder:
        assert made[0] != folder == made[1]
        assert folder.is_dir()


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no locks")

    monkeypatch.setattr(scratch.fcntl, "flock", refuse)
    with scratch_folder(tmp_path) as one, scratch_folder(tmp_path) as other:
        assert one.is_dir() and other.is_dir()
    assert not any(tmp_path.iterdir())


def test_room(tmp_path):
    check_room(tmp_path / "a" / "b")
    assert not any(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="is a file"):
        check_room(tmp_path / "file" / "x")


def test_a_folder_that_takes_no_files():
    with pytest.raises(CheckpointError, match="that can be written"):
        check_room("/proc/x")


def test_no_room(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (scratch.TRIAL // 2, limits[1]))
    try:
        with pytest.raises(CheckpointError, match="File too large.*another"):
            check_room(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) == []
