"""The table of docs/checkpoints.md: `pytest -m large -s` on this file prints
it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PEERS = ("torch", "transformers", "onnxruntime", "tf2onnx", "ai_edge_litert")


@pytest.mark.large
def test_every_form_beside_its_framework(data_root):
    for peer in PEERS:
        pytest.importorskip(peer)
    script = ROOT / "benchmarks" / "checkpoints.py"
    done = subprocess.run(
        [sys.executable, str(script), "--texts", "16"],
        capture_output=True,
        text=True,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
