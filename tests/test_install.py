"""What is installed, in any of pip's ways, has all that kbert brings."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARIES = sysconfig.get_path("purelib")

CODE = """\
import sys
import kbert
from kbert.checkpoints.presets import resolve
assert kbert.__file__.startswith(sys.argv[1]), kbert.__file__
for name in ("kbert_mini_en", "kbert_tiny_en"):
    assert (resolve(name) / "model.safetensors").stat().st_size > 1e6
"""

pytestmark = pytest.mark.large


def run(python, *arguments, **environment):
    done = subprocess.run(
        [python, *map(str, arguments)],
        env=os.environ | {k: str(v) for k, v in environment.items()},
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stderr


def pip(*arguments, python=sys.executable, **environment):
    options = ("--quiet", "--no-deps", "--no-build-isolation")
    run(python, "-m", "pip", *arguments, *options, **environment)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel, built from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    build = "import setuptools.build_meta as b; b.build_sdist({!r})"
    subprocess.run(
        [sys.executable, "-c", build.format(str(folder))],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    [sdist] = folder.glob("*.tar.gz")
    pip("wheel", sdist, "--wheel-dir", folder)
    [wheel] = folder.glob("*.whl")
    assert wheel.name.startswith("kbert_keras-")
    return wheel


def finds_presets(place, tmp_path, python=sys.executable, **environment):
    home = {"KBERT_HOME": tmp_path / "home", "HF_HUB_OFFLINE": "1"}
    run(python, "-c", CODE, place, **home, **environment)


def test_target(wheel, tmp_path):
    pip("install", wheel, "--target", tmp_path / "lib")
    finds_presets(tmp_path / "lib", tmp_path, PYTHONPATH=tmp_path / "lib")


def test_user(wheel, tmp_path):
    # In a virtual environment pip has no place of the user's.
    base, user = sys._base_executable, {"PYTHONUSERBASE": tmp_path / "user"}
    pip("install", wheel, "--user", python=base, **user)
    finds_presets(
        tmp_path / "user", tmp_path, base, PYTHONPATH=LIBRARIES, **user
    )


def test_editable(tmp_path):
    finds_presets(ROOT, tmp_path, PYTHONPATH=ROOT)


def test_in_a_zip_file(wheel, tmp_path):
    finds_presets(wheel, tmp_path, PYTHONPATH=wheel)
