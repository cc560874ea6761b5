"""docs/benchmarks-checkpoints.md: `pytest -m large -s` on this file prints
it."""

import re
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


def test_the_table_of_the_page_holds():
    page = ROOT / "docs" / "benchmarks-checkpoints.md"
    page = page.read_text(encoding="utf-8")
    table = page.partition("<!-- table -->")[2].partition("<!-- end")[0]
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in table.splitlines()
        if re.match(r"\| (in|out): ", line)
    ]
    assert len(rows) >= 16
    for what, _, difference, labels, ids in rows:
        assert float(difference) < 1e-4, what
        assert labels in ("", "same"), what
        assert ids == "" or ids.startswith("0 of "), what
