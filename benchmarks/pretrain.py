"""Pretraining speed: kbert beside transformers + Torch, in one run.

    python benchmarks/pretrain.py                   # 2x128 and 4x256, CPU
    python benchmarks/pretrain.py --model 6x384 --write    # into the page
    python benchmarks/pretrain.py --precision bfloat16 --steps 10

All train the same BERT (MLM and NSP) on the same Wikipedia text, at its real
lengths, with AdamW. kbert reads its corpus through `Pretrainer`'s batches. The
peers are transformers' `BertForPreTraining` behind its own collator, and the
loop that an expert writes around it, also compiled
(`peers/torch_pretraining.py`). Every round is some steps of each, the first of
them left out; a ratio is of the same round, the table has the median and the
range, and above 1 kbert is ahead. Tokens are real ones, without padding.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from pathlib import Path

from kbert.utils.tensorflow import import_tensorflow

import_tensorflow()  # Without its start-up messages.

import real_data
from machine import machine
from page import put_table
from peers.torch_pretraining import Collated
from peers.torch_pretraining import Compiled
from peers.torch_pretraining import Half
from peers.torch_pretraining import HalfCompiled
from peers.torch_pretraining import Tuned

import kbert
from kbert.pretraining.batches import Position
from kbert.pretraining.feed import Feed
from kbert.pretraining.feed import Meter
from kbert.training.guard import FiniteTraining
from kbert.training.optimizer import make_optimizer
from kbert.training.resume import RunFolder
from kbert.training.resume import State
from kbert.training.resume import tensors_of
from kbert.training.throughput import matmul_ceiling
from kbert.training.throughput import training_flops

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks-pretraining.md"
VOCABULARY_SIZE = 8000
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


def make_corpus(folder: Path) -> kbert.Corpus:
    """English Wikipedia, with a vocabulary of its own."""
    files = [real_data.data_root() / "enwiki"]
    vocabulary = kbert.train_vocabulary(files, VOCABULARY_SIZE)
    return kbert.build_corpus(
        files, kbert.Tokenizer(vocabulary), folder / "corpus"
    )


class Ours:
    """`Pretrainer`'s model, batches and optimizer under `model.fit`."""

    name = "kbert"

    def __init__(self, corpus, size, length, rows, steps, precision):
        self.pretrainer = kbert.Pretrainer(
            corpus,
            f"random:{size}",
            sequence_length=length,
            policy=POLICIES[precision],
        )
        self.pretrainer.compile(make_optimizer("adamw", 1e-4, 10**6))
        self.rows, self.steps = rows, steps
        self.position = Position()
        self.round(steps=2)  # Traces the graph.

    def round(self, steps: int | None = None) -> float:
        """Tokens a second of one `fit`, its first step left out."""
        steps = (steps or self.steps) + 1
        feed = Feed(
            self.pretrainer.batches(
                self.pretrainer.corpus, self.rows, static=False
            ),
            self.position,
        )
        meter = Meter(feed)
        self.pretrainer.model.fit(
            feed.for_fit(),
            steps_per_epoch=steps,
            epochs=1,
            callbacks=[FiniteTraining(), meter],
            verbose=0,
            shuffle=False,
        )
        self.position = feed.mark(steps).position
        return meter.rate

    def checkpoint(self, folder: Path) -> tuple[float, float]:
        """Seconds and megabytes of one checkpoint."""
        run = RunFolder(folder, {})
        started = time.perf_counter()
        run.save(State(1, tensors_of(self.pretrainer.model), {}))
        seconds = time.perf_counter() - started
        files = [file for file in folder.rglob("*") if file.is_file()]
        return seconds, sum(file.stat().st_size for file in files) / 1e6


ENGINES = {
    "float32": (Collated, Tuned, Compiled),
    "bfloat16": (Half, HalfCompiled),
}


def lines(size, length, precision, rates: dict, flops, ceiling):
    """Rows of the table, kbert's first."""
    for name, values in rates.items():
        median = statistics.median(values)
        ratios = [
            ours / theirs
            for ours, theirs in zip(rates[Ours.name], values, strict=True)
        ]
        first = name == Ours.name
        yield (
            size if first else "",
            str(length) if first else "",
            precision if first else "",
            name,
            f"{median:,.0f}",
            f"{median * flops / ceiling:.0%}",
            "" if first else f"{statistics.median(ratios):.2f}",
            "" if first else f"{min(ratios):.2f}-{max(ratios):.2f}",
        )


def cost(ours: Ours, size: str, length: int, rate: float, folder: Path) -> str:
    """What checkpoints take, in words."""
    seconds, megabytes = ours.checkpoint(folder)
    # Fit's default: 100 steps of 64 rows or more between two of them.
    every = 100 * 64 * length / rate
    return (
        f"{size}: a checkpoint of {megabytes:.0f} MB takes {seconds:.2f} s, "
        f"{seconds / every:.2%} of the {every:.0f} s between two at the "
        f"default of 100 steps"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--model", action="append", metavar="LxH", help="layers by width"
    )
    parser.add_argument("--length", type=int, action="append")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--precision", nargs="*", choices=ENGINES, default=ENGINES
    )
    parser.add_argument("--write", action="store_true", help="into the page")
    options = parser.parse_args()
    where = machine("tensorflow", "transformers", "torch")
    table = [
        "| model | length | precision | engine | tokens/s | of ceiling | "
        "kbert / engine | range |",
        "|---|--:|---|---|--:|--:|--:|--:|",
    ]
    costs = []
    with tempfile.TemporaryDirectory() as folder:
        corpus = make_corpus(Path(folder))
        for size, length, precision in itertools.product(
            options.model or ["2x128", "4x256"],
            options.length or [128],
            options.precision,
        ):
            ours = Ours(
                *(corpus, size, length, options.rows, options.steps, precision)
            )
            engines = [ours] + [
                engine(ours.pretrainer, options.rows, options.steps)
                for engine in ENGINES[precision]
            ]
            rates = {engine.name: [] for engine in engines}
            for _ in range(options.rounds):
                for engine in engines:
                    rates[engine.name].append(engine.round())
            flops = training_flops(
                ours.pretrainer.backbone.config, length, 0.15
            )
            ceiling = matmul_ceiling(precision)
            for line in lines(
                *(size, length, precision, rates, flops, ceiling)
            ):
                table.append(f"| {' | '.join(line)} |")
                print(table[-1], file=sys.stderr, flush=True)
            if precision == "float32":
                rate = statistics.median(rates[ours.name])
                saved = Path(folder, f"{size}-{length}")
                costs.append(cost(ours, size, length, rate, saved))
    ceilings = " and ".join(
        f"{matmul_ceiling(precision) / 1e9:.0f} GFLOP/s in {precision}"
        for precision in options.precision
    )
    footer = (
        f"{where}; matmul ceiling {ceilings}; medians of {options.rounds} "
        f"rounds of {options.steps} steps of {options.rows} rows."
    )
    text = "\n".join([*table, "", footer])
    print("\n".join([text, *costs]))
    if options.write:
        put_table(PAGE, text)


if __name__ == "__main__":
    main()
