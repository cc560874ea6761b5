"""Fuzzes the readers of checkpoints, guided by coverage.

    pip install -e ".[fuzz]"
    python benchmarks/fuzz.py safetensors -max_total_time=600

Targets: safetensors, torch, tensorflow, hdf5, json, vocabulary. Further
arguments are libFuzzer's. It begins with the fixtures of the tests; whatever
is neither an answer nor a `KbertError`, or takes over 1 GB, stops it and is
written to a file beside.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

from kbert.utils.tensorflow import import_tensorflow

import_tensorflow()

with atheris.instrument_imports(include=["kbert", "zipfile", "pickletools"]):
    from kbert.checkpoints import configs
    from kbert.checkpoints import huggingface
    from kbert.formats import hdf5
    from kbert.formats import safetensors_form
    from kbert.formats import tensor_bundle
    from kbert.formats import torch_form
    from kbert.tokenizers.vocabulary import index_vocabulary
    from kbert.tokenizers.vocabulary import read_vocabulary
from kbert.errors import KbertError

FIXTURES = Path(__file__).parents[1] / "tests" / "fixtures"
BUNDLE = "bert_model.ckpt"


def read_all(tensors: dict) -> None:
    for tensor in tensors.values():
        tensor.read()


def _bundle(path: Path) -> None:
    read_all(tensor_bundle.open_tensors(path.parent, BUNDLE))


def _json(path: Path) -> None:
    config = huggingface.read_config(path.parent, path.name)
    configs.check_config(config, path)


# Name -> the fixture it begins with, and what reads a file of that name.
TARGETS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "safetensors": (
        "huggingface/model.safetensors",
        lambda path: read_all(safetensors_form.open_tensors(path)),
    ),
    "torch": (
        "torch/pytorch_model.bin",
        lambda path: read_all(torch_form.open_tensors(path)),
    ),
    "tensorflow": (f"garden_1/{BUNDLE}.index", _bundle),
    "hdf5": (
        "kerashub/model.weights.h5",
        lambda path: read_all(hdf5.open_arrays(path).tensors),
    ),
    "json": ("huggingface/config.json", _json),
    "vocabulary": (
        "huggingface/vocab.txt",
        lambda path: index_vocabulary(read_vocabulary(path)),
    ),
}


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(__doc__)
    name, read = TARGETS[sys.argv.pop(1)]
    seeds = Path(tempfile.mkdtemp(prefix="kbert-fuzz-"))
    folder = seeds / "folder"
    shutil.copytree((FIXTURES / name).parent, folder)
    corpus = seeds / "corpus"
    corpus.mkdir()
    shutil.copy(FIXTURES / name, corpus)
    path = folder / Path(name).name

    def run(data: bytes) -> None:
        path.write_bytes(data)
        try:
            read(path)
        except KbertError:
            pass

    atheris.Setup(
        [*sys.argv, str(corpus), "-rss_limit_mb=2048", "-timeout=20"], run
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
