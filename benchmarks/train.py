"""Epochs of fine-tuning beside Torch's, at a real size, in one run.

    python benchmarks/train.py                   # three hours, 2 cores
    python benchmarks/train.py --texts IMDB --peers ByLength
    python benchmarks/train.py --precision bfloat16 --write
    KERAS_BACKEND=jax python benchmarks/train.py --texts SST-2 --peers ByLength

One checkpoint (all-MiniLM-L6-v2) with a classification head on the pooler, the
same rows, 32 a batch, cut to 128 tokens. The peers are the loop that an expert
writes, by length and with random batches (`peers/torch_loop.py`), both also
compiled, and `transformers.Trainer`, with and without its grouping by length.
`Pairs` are paraphrases for an embedder, each told from the others of its batch:
beside sentence-transformers' trainer and the same loop. Each runs in a process
of its own, all threads of the machine to the one whose turn it is; the others
are halted. Every round is an epoch of each; the first, which traces and
compiles, is shown apart. Ratios are of the same round; the table has their
median and range, above 1 kbert is ahead.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import real_data
from machine import machine
from page import put_table
from speed import Worker

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"
PACKAGES = (
    *("tensorflow", "keras", "torch"),
    *("transformers", "sentence-transformers"),
)
MARKER = "training table"

PEERS = {
    "ByLength": "Torch loop, by length",
    "Random": "Torch loop, dynamic padding",
    "Compiled": "Torch loop, by length, compiled",
    "Trainer": "transformers.Trainer",
    "Grouped": "transformers.Trainer, by length",
    "Sentence": "SentenceTransformerTrainer",
}
CLASSES = {
    "float32": {
        "kbert": "ours.Kbert",
        "Trainer": "torch_peer.Eager",
        "Grouped": "torch_peer.Grouped",
        **{
            name: f"torch_loop.{name}"
            for name in ("ByLength", "Random", "Compiled")
        },
    },
    "bfloat16": {
        "kbert": "ours.Half",
        "ByLength": "torch_loop.Half",
        "Compiled": "torch_loop.HalfCompiled",
    },
}
PAIRS = {
    "float32": {
        "kbert": "ours.Pairs",
        "ByLength": "torch_loop.Pairs",
        "Sentence": "torch_peer.SentencePairs",
    },
    "bfloat16": {
        "kbert": "ours.HalfPairs",
        "ByLength": "torch_loop.HalfPairs",
        "Sentence": "torch_peer.HalfSentencePairs",
    },
}
TEXTS = {
    "SST-2": lambda rows: real_data.sst2("train"),
    "SMS": lambda rows: real_data.sms_spam(),
    "BBC": lambda rows: real_data.bbc_texts(),
    "IMDB": real_data.imdb_sentences,
}


def labelled(name: str, rows: int) -> tuple[list[str], list[str]]:
    """Texts, evenly chosen, and labels `no` and `yes`."""
    return real_data.no_or_yes(*TEXTS[name](rows), rows)


def training(name: str, rows: int) -> tuple[dict, dict]:
    """What to train on, as peers take it, and the peers by precision."""
    if name == "Pairs":
        return {"pairs": real_data.paraphrases(rows)}, PAIRS
    texts, labels = labelled(name, rows)
    return {"texts": texts, "labels": labels}, CLASSES


def epochs(classes: dict, folder: Path, data: dict, rounds: int) -> dict:
    """Figures of each epoch of each contender, in turns."""
    workers = {who: Worker(name, folder) for who, name in classes.items()}
    seen = {who: [] for who in classes}
    try:
        for worker in workers.values():
            worker.send(do="fit", **data, epochs=rounds + 1)
        for _ in range(rounds + 1):
            for who, worker in workers.items():
                seen[who].append(worker.ask(do="go"))
    finally:
        for worker in workers.values():
            worker.close()
    return seen


def lines(name: str, precision: str, seen: dict, count: int) -> list[tuple]:
    def median(who, figure):
        return statistics.median(turn[figure] for turn in seen[who][1:])

    rows = []
    for who, turns in seen.items():
        ratios = [
            theirs["seconds"] / ours["seconds"]
            for ours, theirs in zip(seen["kbert"][1:], turns[1:], strict=True)
        ]
        spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
        rows.append(
            (
                name if who == "kbert" else "",
                precision if who == "kbert" else "",
                PEERS.get(who, who),
                f"{count / median(who, 'seconds'):,.0f}",
                "" if who == "kbert" else f"{statistics.median(ratios):.2f}",
                "" if who == "kbert" else spread,
                f"{turns[0]['seconds']:.1f}",
                f"{median(who, 'cpu'):.1f}",
                f"{turns[-1]['peak'] / 1e6:,.0f}",
            )
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--preset", default="all-minilm-l6-v2")
    parser.add_argument("--rows", type=int, default=1600)
    parser.add_argument("--rounds", type=int, default=3)
    names = [*TEXTS, "Pairs"]
    parser.add_argument("--texts", nargs="*", choices=names, default=names)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS)
    parser.add_argument(
        "--precision", nargs="*", choices=CLASSES, default=CLASSES
    )
    parser.add_argument("--write", action="store_true", help="into the page")
    options = parser.parse_args()
    header = f"{machine(*PACKAGES)}; {options.preset}; {options.rows} rows"
    table = [
        "| texts | precision | who | rows/s | kbert / peer | range | first "
        "epoch, s | CPU s | MB |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        prepare = [HERE / "peers" / "prepare.py", folder, options.preset]
        # Exports are TensorFlow's; kbert trains on what KERAS_BACKEND says.
        exporting = os.environ | {"KERAS_BACKEND": "tensorflow"}
        subprocess.run([sys.executable, *prepare], check=True, env=exporting)
        for name in options.texts:
            data, peers = training(name, options.rows)
            count = len(next(iter(data.values())))
            for precision in options.precision:
                classes = {
                    who: cls
                    for who, cls in peers[precision].items()
                    if who in ("kbert", *options.peers)
                }
                seen = epochs(classes, Path(folder), data, options.rounds)
                for line in lines(name, precision, seen, count):
                    table.append(f"| {' | '.join(line)} |")
                    print(table[-1], file=sys.stderr, flush=True)
    text = "\n".join([*table, "", f"{header}; medians of {options.rounds}."])
    print(text)
    if options.write:
        put_table(PAGE, text, MARKER)


if __name__ == "__main__":
    main()
