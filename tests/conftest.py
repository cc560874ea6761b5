"""Shared by all tests: where data is, and what must not leak in."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest


@pytest.fixture(scope="session")
def data_root():
    """The folder of the real data sets; skips where there is none."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("KBERT_DATA", default))
    if not root.is_dir():
        pytest.skip(f"no data sets in {root}; set KBERT_DATA to their folder")
    return root


@pytest.fixture
def toy():
    """Two classes that a letter tells apart: texts and labels."""
    texts = [f"{word} {i}" for i in range(12) for word in ("aaa bb", "zz yyy")]
    return texts, ["a", "z"] * 12
