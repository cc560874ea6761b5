"""The folder of a job: begun, gone on with, refused."""

import json
import subprocess
import sys

import pytest

from kbert.errors import CheckpointError
from kbert.errors import ConfigError
from kbert.scoring.job import open_job
from kbert.scoring.partitions import Partition

PARTS = [Partition(i, "a.txt", "text", i, 1) for i in range(3)]
SETTINGS = {"model": "abc", "files": [["a.txt", 3, 1]], "keep": ()}


def test_begin_and_go_on(tmp_path):
    folder = tmp_path / "new" / "answers"
    with open_job(folder, SETTINGS, PARTS) as job:
        assert job.pending() == PARTS
        (folder / PARTS[1].name).touch()
        assert job.pending() == [PARTS[0], PARTS[2]]
        with pytest.raises(CheckpointError, match="2 fewer"):
            job.finish()
    assert json.loads((folder / "_plan.json").read_text())["model"] == "abc"
    # What a killed run was writing is no part, and goes.
    left = folder / ".kbert-tmp-0123abcd"
    left.touch()
    with open_job(folder, SETTINGS, PARTS) as job:
        assert job.pending() == [PARTS[0], PARTS[2]]
        assert not left.exists()
        for part in job.pending():
            (folder / part.name).touch()
        job.finish()
    assert (folder / "_SUCCESS").exists()
    # Somebody took a part away.
    (folder / PARTS[0].name).unlink()
    with open_job(folder, SETTINGS, PARTS) as job:
        assert job.pending() == [PARTS[0]]
        assert not (folder / "_SUCCESS").exists()


def test_another_job_is_refused(tmp_path):
    with open_job(tmp_path, SETTINGS, PARTS):
        pass
    other = SETTINGS | {"model": "xyz", "part_rows": 5}
    with pytest.raises(ConfigError, match="different model, part_rows"):
        with open_job(tmp_path, other, PARTS):
            pass


def test_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(ConfigError, match="something else"):
        with open_job(tmp_path, SETTINGS, PARTS):
            pass
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="that can be written"):
        with open_job(tmp_path / "file", SETTINGS, PARTS):
            pass


def test_a_plan_that_cannot_be_read(tmp_path):
    (tmp_path / "_plan.json").write_text("{")
    with pytest.raises(CheckpointError, match="begin again"):
        with open_job(tmp_path, SETTINGS, PARTS):
            pass


def test_one_at_a_time(tmp_path):
    hold = (
        "import fcntl, sys\n"
        "file = open(sys.argv[1], 'w')\n"
        "fcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with open_job(tmp_path, SETTINGS, PARTS):
        pass
    with subprocess.Popen(
        [sys.executable, "-c", hold, tmp_path / "_lock"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(ConfigError, match="another process writes"):
            with open_job(tmp_path, SETTINGS, PARTS):
                pass
        # However that process ends, the lock goes with it.
        other.kill()
        other.wait()
        with open_job(tmp_path, SETTINGS, PARTS) as job:
            assert job.pending() == PARTS
