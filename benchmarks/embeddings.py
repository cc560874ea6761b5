r"""Embeddings as they come, beside sentence-transformers.

    python benchmarks/embeddings.py
    python benchmarks/embeddings.py --test-scores stsb-test-scores.txt

Both compute the sentences of the STS benchmark with the default preset in
float32; the rank correlation of the cosines with people's scores follows.
GLUE's test file has no scores: those of the original release come from a
file of one score a line, in the file's order, or the row is left out.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from kbert.utils.tensorflow import import_tensorflow

import_tensorflow()  # Without its start-up messages.

import numpy as np
import real_data
from machine import machine
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

import kbert
from kbert.checkpoints.presets import DEFAULT_PRESET
from kbert.checkpoints.presets import resolve
from kbert.data.files import read_rows
from kbert.embedder import unit


def stsb(part: str, scores: Path | None) -> tuple[list, list, list]:
    """First sentences, second sentences, and scores from 0 to 5."""
    path = real_data.data_root() / "stsb" / f"{part}.tsv"
    rows = [row.cells for row in read_rows(path) if row.cells]
    if scores is None:
        values = [float(row["score"]) for row in rows]
    else:
        values = [float(line) for line in scores.read_text().split()]
    if len(values) != len(rows):
        raise SystemExit(
            f"Expected {len(rows)} scores. Received: {len(values)} in {scores}."
        )
    return (
        [row["sentence1"] for row in rows],
        [row["sentence2"] for row in rows],
        values,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--test-scores", type=Path, metavar="FILE")
    parser.add_argument("--rows", type=int, help="pairs; by default all")
    parser.add_argument("--no-peer", action="store_true", help="kbert alone")
    arguments = parser.parse_args()

    embedder = kbert.Embedder(DEFAULT_PRESET)
    encoders = {"kbert": embedder.encode}
    packages = ["tensorflow"]
    if not arguments.no_peer:
        from sentence_transformers import SentenceTransformer

        peer = SentenceTransformer(str(resolve(DEFAULT_PRESET)), device="cpu")
        encoders["sentence-transformers"] = peer.encode
        packages += ["sentence-transformers", "torch"]
    table = Table(title=machine(*packages))
    titles = ("STS-B", "pairs", "library", "Spearman", "texts/s", "differs")
    for title in titles:
        table.add_column(title, justify="right")
    parts = {"dev": None, "test": arguments.test_scores}
    for part, scores in parts.items():
        if part == "test" and scores is None:
            continue
        columns = stsb(part, scores)
        first, second, values = (c[: arguments.rows] for c in columns)
        vectors = {}
        for name, encode in encoders.items():
            encode(first[:64])  # The first call loads and compiles.
            started = time.perf_counter()
            vectors[name] = encode(first + second)
            speed = 2 * len(first) / (time.perf_counter() - started)
            a, b = np.split(unit(vectors[name]), 2)
            table.add_row(
                part,
                f"{len(first):,}",
                name,
                f"{spearmanr(np.sum(a * b, axis=1), values)[0]:.4f}",
                f"{speed:.0f}",
                f"{np.abs(vectors[name] - vectors['kbert']).max():.0e}",
            )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
