"""The commands of benchmarks/ go through, at the smallest size."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"

pytestmark = pytest.mark.large


@pytest.mark.parametrize(
    "command",
    [
        "hostile.py --requests 100",
        "int8.py --train 64 --unseen 16 --rows 32 --rounds 1",
        "kill.py 1",
        "loading.py --size tiny --rounds 1 --forms safetensors torch google",
    ],
)
def test_command(command):
    pytest.importorskip("torch")
    name, *options = command.split()
    done = subprocess.run(
        [sys.executable, BENCHMARKS / name, *options],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip()
