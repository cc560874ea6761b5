"""Time and memory of loading a BERT-base, from every form of checkpoint.

    pip install -e ".[bench]"
    python benchmarks/loading.py                 # minutes on two cores

The weights are random: they are as large as real ones. Each form is written
to a temporary folder, and each load runs in a process of its own, after
imports. "read" is the time to read the files' bytes into memory that is
filled for the first time, in the same process; "load" is
`kbert.load_backbone`. Both are given with the file in the page cache, and
after it was dropped from there, as medians of the rounds. "memory" is by how
much the process's largest resident size grows, over the size of the files.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median

from kbert.utils.tensorflow import import_tensorflow

import_tensorflow()

import numpy as np
from machine import machine
from rich.console import Console
from rich.table import Table

import kbert
from kbert.checkpoints import google
from kbert.checkpoints import huggingface
from kbert.formats.safetensors_form import write_tensors

FORMS = ("safetensors", "shards", "torch", "google", "garden", "kerashub")
SUFFIXES = (".safetensors", ".bin", ".h5", "00001")
SHARDS = 4
CHUNK = 2**22


# === Files ===


def write_forms(root: Path, size: str, forms: list[str]) -> None:
    """A random backbone in every form, one folder each."""
    characters = [f"[{name}]" for name in ("PAD", "UNK", "CLS", "SEP", "MASK")]
    vocabulary = characters + [f"token{i}" for i in range(30_517)]
    backbone = kbert.Backbone.from_size(
        size, len(vocabulary), activation="gelu_new"
    )
    tensors = huggingface.backbone_tensors(backbone)
    for form in forms:
        folder = root / form
        folder.mkdir()
        huggingface.write_config(backbone, folder)
        huggingface.write_tokenizer(vocabulary, True, folder)
        if form == "safetensors":
            write_tensors(tensors, folder / "model.safetensors")
        elif form == "shards":
            _write_shards(tensors, folder)
        elif form == "torch":
            import torch

            state = {k: torch.tensor(v) for k, v in tensors.items()}
            torch.save(state, folder / "pytorch_model.bin")
        elif form == "google":
            _write_tensorflow(map(_google, tensors.items()), folder)
        elif form == "garden":
            heads = backbone.config["num_heads"]
            renamed = (_garden(*item, heads) for item in tensors.items())
            _write_tensorflow(renamed, folder)
        else:
            _write_kerashub(backbone, vocabulary, folder)


def _write_shards(tensors: dict[str, np.ndarray], folder: Path) -> None:
    table, names = {}, list(tensors)
    for i in range(SHARDS):
        file = f"model-{i + 1:05}-of-{SHARDS:05}.safetensors"
        part = {name: tensors[name] for name in names[i::SHARDS]}
        write_tensors(part, folder / file)
        table |= dict.fromkeys(part, file)
    text = json.dumps({"weight_map": table})
    (folder / "model.safetensors.index.json").write_text(text)


def _google(item: tuple[str, np.ndarray]) -> tuple[str, np.ndarray]:
    """A tensor as Google's code names it and lays it out."""
    name, value = item
    name = name.replace(".layer.", ".layer_").replace(".", "/")
    part, _, kind = name.rpartition("/")
    if "LayerNorm" in part:
        kind = {"weight": "gamma", "bias": "beta"}[kind]
        name = f"{part}/{kind}"
    elif part.endswith("_embeddings"):
        name = part
    elif kind == "weight":
        name, value = f"{part}/kernel", value.T
    return f"bert/{name}", value


def _garden(name: str, value: np.ndarray, heads: int) -> tuple[str, np.ndarray]:
    """A tensor as the Model Garden's BertEncoderV2 has it."""
    part, _, kind = name.rpartition(".")
    if "LayerNorm" in part:
        kind = {"weight": "gamma", "bias": "beta"}[kind]
    elif part.endswith("_embeddings"):
        kind = "embeddings"
    elif kind == "weight":
        kind, value = "kernel", value.T
    parts = google._GARDEN_FIRST
    if part.startswith("encoder.layer."):
        _, _, number, part = part.split(".", 3)
        parts = {
            k: v
            for k, v in google._GARDEN.items()
            if k.startswith("_attention_layer/") or v != _OUTPUT
        }
        if "self" in part:
            value = value.reshape(*value.shape[:-1], heads, -1)
        elif part == _OUTPUT and kind == "kernel":
            value = value.reshape(heads, -1, value.shape[-1])
        place = f"_transformer_layers/{number}/"
    else:
        place = ""
    theirs = {ours: theirs for theirs, ours in parts.items()}[part]
    return f"encoder/{place}{theirs}/{kind}{google._VALUE}", value


_OUTPUT = "attention.output.dense"


def _write_tensorflow(
    tensors: Iterable[tuple[str, np.ndarray]], folder: Path
) -> None:
    import tensorflow as tf

    names, values = zip(*tensors, strict=True)
    tf.raw_ops.SaveV2(
        prefix=str(folder / "bert_model.ckpt"),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(value) for value in values],
    )
    (folder / "config.json").rename(folder / "bert_config.json")


def _write_kerashub(backbone, vocabulary: list[str], folder: Path) -> None:
    from kbert.export.kerashub import save_backbone
    from kbert.tokenizers.tokenizer import Tokenizer

    for path in folder.iterdir():
        path.unlink()
    save_backbone(backbone, Tokenizer(vocabulary), folder)


# === One load, in a process of its own ===


def weights_files(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.name.endswith(SUFFIXES)]


def bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in weights_files(folder))


def drop(folder: Path) -> None:
    """Take the files out of the page cache."""
    for path in weights_files(folder):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_files(folder: Path) -> float:
    started = time.perf_counter()
    view = memoryview(np.empty(bytes_of(folder), "uint8"))
    for path in weights_files(folder):
        with open(path, "rb", buffering=0) as file:
            while count := file.readinto(view[:CHUNK]):
                view = view[count:]
    return time.perf_counter() - started


def measure(folder: Path, what: str, cold: bool) -> None:
    """Print seconds, and growth of the largest resident size in bytes."""
    # What the first layers of a process set up is not loading.
    kbert.Backbone.from_size((1, 64), vocabulary_size=10)
    if cold:
        drop(folder)
    # The high-water mark may be that of the imports: begin a new one.
    Path("/proc/self/clear_refs").write_text("5")
    before = _resident("VmRSS")
    if what == "read":
        seconds = read_files(folder)
    else:
        started = time.perf_counter()
        kbert.load_backbone(folder)
        seconds = time.perf_counter() - started
    print(json.dumps([seconds, _resident("VmHWM") - before]))


def _resident(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run(folder: Path, what: str, cold: bool) -> tuple[float, int]:
    command = [sys.executable, __file__, "--measure", str(folder), what]
    done = subprocess.run(
        [*command, *(["--cold"] if cold else [])],
        check=True,
        capture_output=True,
        text=True,
    )
    return tuple(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="base")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--forms", nargs="+", default=FORMS, choices=FORMS)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--cold", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(Path(options.measure[0]), options.measure[1], options.cold)
        return
    table = Table(title=machine("keras", "tensorflow", "torch"))
    for name in ("form", "MB", "cache", "read, s", "load, s", "ratio"):
        table.add_column(name, justify="left" if name == "form" else "right")
    table.add_column("memory / file", justify="right")
    with tempfile.TemporaryDirectory() as root:
        write_forms(Path(root), options.size, options.forms)
        for form in options.forms:
            folder = Path(root, form)
            size = bytes_of(folder)
            for cold in (True, False):
                pairs = [
                    (run(folder, "read", cold), run(folder, "load", cold))
                    for _ in range(options.rounds)
                ]
                read = median(read for (read, _), _ in pairs)
                load = median(load for _, (load, _) in pairs)
                memory = max(memory for _, (_, memory) in pairs)
                table.add_row(
                    form,
                    f"{size / 1e6:.0f}",
                    "cold" if cold else "warm",
                    f"{read:.2f}",
                    f"{load:.2f}",
                    f"{load / read:.2f}",
                    f"{memory / size:.2f}",
                )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
