"""Pretraining speed: kbert beside transformers + Torch, in one run.

    python benchmarks/pretrain.py                   # 2x128 and 4x256, CPU
    python benchmarks/pretrain.py --model 6x384 --steps 20

Both train the same BERT (MLM and NSP) on the same Wikipedia text, at its real
lengths, with AdamW, in float32. kbert reads its corpus through `Pretrainer`'s
batches; transformers gets the same segments, tokenized, through its own
`DataCollatorForLanguageModeling` and `BertForPreTraining`, padded to the
longest row of each batch. Rounds alternate; the medians are compared. Tokens
are real ones, without padding.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tempfile
import time
from pathlib import Path

from kbert.quiet import import_tensorflow

import_tensorflow()  # Without its start-up messages.

import real_data
import torch
import transformers
from machine import machine
from rich.console import Console
from rich.table import Table

import kbert
from kbert.pretraining.batches import Position
from kbert.pretraining.feed import Feed
from kbert.training.optimizer import make_optimizer
from kbert.training.resume import RunFolder
from kbert.training.resume import State
from kbert.training.resume import tensors_of
from kbert.training.throughput import matmul_ceiling
from kbert.training.throughput import training_flops

VOCABULARY_SIZE = 8000


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

    def __init__(self, corpus, size, length, rows, steps):
        self.pretrainer = kbert.Pretrainer(
            corpus, f"random:{size}", sequence_length=length
        )
        self.pretrainer.compile(make_optimizer("adamw", 1e-4, 10**6))
        self.rows, self.steps = rows, steps
        self.position = Position()
        self.round(steps=2)  # Traces the graph.

    def round(self, steps: int | None = None) -> float:
        """Tokens a second of one `fit`."""
        steps = steps or self.steps
        feed = Feed(
            self.pretrainer.batches(
                self.pretrainer.corpus, self.rows, static=False
            ),
            self.position,
        )
        data = feed.for_fit()
        started = time.perf_counter()
        self.pretrainer.model.fit(
            data, steps_per_epoch=steps, epochs=1, verbose=0, shuffle=False
        )
        seconds = time.perf_counter() - started
        mark = feed.mark(steps)
        self.position = mark.position
        return mark.real / seconds

    def checkpoint(self, folder: Path) -> tuple[float, float]:
        """Seconds and megabytes of one checkpoint."""
        run = RunFolder(folder, {})
        started = time.perf_counter()
        run.save(State(1, tensors_of(self.pretrainer.model), {}))
        seconds = time.perf_counter() - started
        files = [file for file in folder.rglob("*") if file.is_file()]
        return seconds, sum(file.stat().st_size for file in files) / 1e6


class Theirs:
    """`BertForPreTraining` with transformers' collator, in a Torch loop."""

    name = "transformers + Torch"

    def __init__(self, corpus, config, length, rows, steps):
        torch.manual_seed(0)
        self.model = transformers.BertForPreTraining(
            transformers.BertConfig(
                vocab_size=len(corpus.vocabulary),
                hidden_size=config["hidden_dim"],
                num_hidden_layers=config["num_layers"],
                num_attention_heads=config["num_heads"],
                intermediate_size=config["intermediate_dim"],
            )
        ).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)
        tokenizer = transformers.BertTokenizer(str(corpus.path / "vocab.txt"))
        collator = transformers.DataCollatorForLanguageModeling(tokenizer)
        # The same examples as kbert's, before masking, in random order: the
        # collator masks and pads.
        batches = kbert.Pretrainer(
            corpus,
            "random:1x64",
            objectives={"nsp": 1.0},
            sequence_length=length,
        ).batches(corpus, rows)
        examples = []
        for _, (x, y, _) in itertools.islice(
            batches.after(Position()), 3 * steps
        ):
            for ids, segments, mask, label in zip(
                x["token_ids"],
                x["segment_ids"],
                x["padding_mask"],
                y["nsp"],
                strict=True,
            ):
                examples.append(
                    {
                        "input_ids": ids[mask].tolist(),
                        "token_type_ids": segments[mask].tolist(),
                        "next_sentence_label": int(label),
                    }
                )
        self.loader = torch.utils.data.DataLoader(
            examples, batch_size=rows, shuffle=True, collate_fn=collator
        )
        self.steps = steps
        self.round(steps=2)

    def round(self, steps: int | None = None) -> float:
        steps = steps or self.steps
        tokens, started = 0, time.perf_counter()
        for batch in itertools.islice(self.loader, steps):
            tokens += int(batch["attention_mask"].sum())
            self.model(**batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()
        return tokens / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model", action="append", metavar="LxH", help="layers by width"
    )
    parser.add_argument("--length", type=int, action="append")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    ceiling = matmul_ceiling("float32")
    where = machine("tensorflow", "transformers", "torch")
    table = Table(title=f"{where}; matmul ceiling {ceiling / 1e9:.0f} GFLOP/s")
    for name in (
        "model",
        "length",
        "engine",
        "tokens/s",
        "spread",
        "of ceiling",
        "ratio",
    ):
        table.add_column(name, justify="right")
    costs = []
    with tempfile.TemporaryDirectory() as folder:
        corpus = make_corpus(Path(folder))
        for size, length in itertools.product(
            options.model or ["2x128", "4x256"], options.length or [128]
        ):
            ours = Ours(corpus, size, length, options.rows, options.steps)
            config = ours.pretrainer.backbone.config
            theirs = Theirs(corpus, config, length, options.rows, options.steps)
            rates = {ours: [], theirs: []}
            for _ in range(options.rounds):
                for engine in rates:
                    rates[engine].append(engine.round())
            base = statistics.median(rates[theirs])
            for engine, values in rates.items():
                median = statistics.median(values)
                flops = training_flops(config, length, 0.15)
                table.add_row(
                    size,
                    str(length),
                    engine.name,
                    f"{median:,.0f}",
                    f"{min(values):,.0f} to {max(values):,.0f}",
                    f"{median * flops / ceiling:.0%}",
                    f"{median / base:.2f}",
                )
            seconds, size_mb = ours.checkpoint(Path(folder, f"{size}-{length}"))
            rate = statistics.median(rates[ours])
            # Fit's default: 100 steps of 64 rows or more between two of them.
            every = 100 * 64 * length / rate
            costs.append(
                f"{size}: a checkpoint of {size_mb:.0f} MB takes "
                f"{seconds:.2f} s, {seconds / every:.2%} of the "
                f"{every:.0f} s between two at the default of 100 steps"
            )
    console = Console(width=110)
    console.print(table)
    for line in costs:
        console.print(line)


if __name__ == "__main__":
    main()
