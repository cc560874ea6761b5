"""Shared by all tests: where data is, and what must not leak in."""

import importlib.util
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest

ROOT = Path(__file__).resolve().parents[1]


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


@pytest.fixture(scope="session")
def kill():
    """benchmarks/kill.py as a module."""
    path = ROOT / "benchmarks" / "kill.py"
    spec = importlib.util.spec_from_file_location("kill", path)
    module = importlib.util.module_from_spec(spec)
    # Processes that it starts look its functions up by the module's name.
    sys.modules["kill"] = module
    sys.path.append(str(path.parent))
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(path.parent))
    del sys.modules["kill"]


@pytest.fixture(scope="session")
def corpus_path(kill, tmp_path_factory):
    """A corpus of 80 documents of random words."""
    return kill.make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def corpus(corpus_path):
    from kbert.pretraining.corpus import Corpus

    return Corpus(corpus_path)
