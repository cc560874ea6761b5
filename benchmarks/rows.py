"""The rows of speed.py: what has a turn, and who stands against whom."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import real_data

if TYPE_CHECKING:
    from speed import Row

KBERT = "kbert"


class Rows:
    """What the rows are made of.

    Args:
        folder: what `peers/prepare.py` wrote.
        count: texts a turn.
        worker: starts a peer's process: `speed.Worker`.
        make_row, make_turn: `speed.Row` and `speed.Turn`.
    """

    def __init__(self, folder: Path, count: int, worker, make_row, make_turn):
        self.folder, self.count = folder, count
        self.worker, self.row, self.turn = worker, make_row, make_turn
        self.running = {}

    def shared(self, peer: str):
        """A peer's process, which stays for further rows."""
        if peer not in self.running:
            self.running[peer] = self.worker(peer, self.folder)
        return self.running[peer]

    def close(self) -> None:
        """End the processes that stayed."""
        for worker in self.running.values():
            worker.close()
        self.running.clear()

    # === Texts ===

    def labelled(self, name: str) -> tuple[list[str], list[str]]:
        """Texts of a data set and labels `no` and `yes`, evenly chosen."""
        rows = (
            real_data.sms_spam() if name == "SMS" else real_data.sst2("train")
        )
        return real_data.no_or_yes(*rows, self.count)

    def texts(self, name: str, count: int | None = None) -> list[str]:
        """Texts alone; those of SST-2 are whole sentences, its dev part."""
        count = count or self.count
        if name == "BBC":
            texts = real_data.bbc_news()[0]["body"]
        elif name == "Wikipedia":
            texts = real_data.wikipedia(4 * count)
        elif name == "SMS":
            texts = real_data.sms_spam()[0]
        else:
            texts = real_data.sst2("dev")[0]
        return texts[:: max(len(texts) // count, 1)][:count]

    # === Turns ===

    def calls(self, peer: str, verb: str, figure: Callable, **arguments):
        """A turn is one command to a peer's process."""

        def start():
            worker = self.shared(peer)

            def go():
                return figure(worker.ask(do=verb, **arguments))

            return go, lambda: None

        return start

    def peaks(self, peer: str, texts: list[str]):
        """A turn is a process that answers; its peak memory in MB."""

        def go():
            worker = self.worker(peer, self.folder)
            try:
                return worker.ask(do="predict", texts=texts)["peak"] / 1e6
            finally:
                worker.close()

        return lambda: (go, lambda: None)

    def trains(self, peer: str, texts: list[str], labels: list[str]):
        """A turn is an epoch of one training; texts a second."""

        def start():
            worker = self.worker(peer, self.folder)
            # More epochs than turns: the process is ended before.
            worker.send(do="fit", texts=texts, labels=labels, epochs=50)

            def go():
                return len(texts) / worker.ask(do="go")["seconds"]

            return go, worker.close

        return start

    def runs(self, command: list):
        """A turn is a whole process; seconds."""

        def go():
            started = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(done.stderr.strip().splitlines()[-1])
            return time.perf_counter() - started

        return lambda: (go, lambda: None)

    def against(self, what, texts, unit, kind, peers: dict, less=False) -> Row:
        """A row in which every contender has the same kind of turn.

        Args:
            kind: from a peer's class to what starts its turn.
            peers: by name, the class and the aim; kbert's comes first.
        """
        turns = [
            self.turn(name, kind(peer), aim)
            for name, (peer, aim) in peers.items()
        ]
        return self.row(what, texts, unit, turns[0], tuple(turns[1:]), less)


# === Groups ===


def tokenize(rows: Rows) -> Iterator[Row]:
    for name in ("SMS", "Wikipedia"):
        texts = rows.texts(name, 20 * rows.count)

        def kind(peer, texts=texts):
            speed = lambda got: len(texts) / got["seconds"]  # noqa: E731
            return rows.calls(peer, "tokenize", speed, texts=texts)

        yield rows.against(
            "tokenize",
            name,
            "texts/s",
            kind,
            {
                KBERT: ("ours.Kbert", None),
                "tokenizers (Rust)": ("torch_peer.Eager", None),
            },
        )


def train(rows: Rows) -> Iterator[Row]:
    for name in ("SST-2", "SMS"):
        texts, labels = rows.labelled(name)

        def kind(peer, texts=texts, labels=labels):
            # 512 tokens a text take so long that a part must do.
            few = len(texts) // (8 if peer.endswith("Docs") else 1)
            step = len(texts) // max(few, 1)
            return rows.trains(peer, texts[::step], labels[::step])

        yield rows.against(
            "fine-tune epoch",
            name,
            "texts/s",
            kind,
            {
                KBERT: ("ours.Kbert", None),
                "kbert, layout='padded'": ("ours.Padded", None),
                "transformers, dynamic padding": ("torch_peer.Eager", 1.5),
                "transformers, by length": ("torch_peer.Grouped", 1.15),
                "transformers, compiled": ("torch_peer.Compiled", None),
                "KerasHub, docs": ("kerashub_peer.Docs", 4),
                "KerasHub, tuned": ("kerashub_peer.Tuned", None),
            },
        )


def predict(rows: Rows) -> Iterator[Row]:
    for name in ("SMS", "SST-2", "BBC", "Wikipedia"):
        texts = rows.texts(name)

        def kind(peer, texts=texts):
            part = texts[:: 8 if peer.endswith("Docs") else 1]
            speed = lambda got: len(part) / got["seconds"]  # noqa: E731
            return rows.calls(peer, "predict", speed, texts=part)

        peers = {
            KBERT: ("ours.Kbert", None),
            "pipeline, batch 1": ("torch_peer.Single", 2),
            "pipeline, batch 8": ("torch_peer.Batch8", 2),
            "pipeline, batch 32": ("torch_peer.Eager", 2),
            "pipeline, compiled": ("torch_peer.Compiled", None),
            "Torch, sorted": ("torch_loop.ByLength", None),
            "onnxruntime, sorted": ("onnx_peer.Fp32", 1.2),
            "KerasHub, docs": ("kerashub_peer.Docs", None),
            "KerasHub, tuned": ("kerashub_peer.Tuned", None),
        }
        yield rows.against("predict", name, "texts/s", kind, peers)
        half = {
            "kbert bfloat16": ("ours.Half", None),
            "Torch, sorted, bfloat16": ("torch_loop.Half", None),
        }
        yield rows.against("predict, bfloat16", name, "texts/s", kind, half)


def int8(rows: Rows) -> Iterator[Row]:
    texts = rows.texts("SST-2")

    def kind(peer):
        speed = lambda got: len(texts) / got["seconds"]  # noqa: E731
        return rows.calls(peer, "predict", speed, texts=texts)

    yield rows.against(
        "predict, int8",
        "SST-2",
        "texts/s",
        kind,
        {
            "kbert int8": ("ours.Int8", None),
            "kbert float32": ("ours.Kbert", 2),
            "onnxruntime int8, sorted": ("onnx_peer.Int8", None),
        },
    )


def encode(rows: Rows) -> Iterator[Row]:
    texts = rows.texts("SST-2")

    def kind(peer):
        speed = lambda got: len(texts) / got["seconds"]  # noqa: E731
        return rows.calls(peer, "encode", speed, texts=texts)

    peers = {
        KBERT: ("ours.Kbert", None),
        "sentence-transformers": ("torch_peer.Sentence", None),
    }
    yield rows.against("vectors", "SST-2", "texts/s", kind, peers)


def serve(rows: Rows) -> Iterator[Row]:
    peers = {
        KBERT: "ours.Kbert",
        "transformers": "torch_peer.Eager",
        "onnxruntime": "onnx_peer.Fp32",
        "KerasHub, from token ids": "kerashub_peer.Tuned",
    }
    texts = rows.texts("SMS")
    for size in (1, 8, 64):
        part = texts[: max(len(texts) // 4, 64) if size == 1 else len(texts)]
        count = len(part)
        figures = {"texts/s": lambda got, count=count: count / got["seconds"]}
        if size == 1:
            figures["ms, p50"] = lambda got: 1000 * centile(got["each"], 50)
            figures["ms, p99"] = lambda got: 1000 * centile(got["each"], 99)
        for unit, figure in figures.items():

            def kind(peer, figure=figure, part=part, size=size):
                return rows.calls(
                    peer, "batches", figure, texts=part, size=size
                )

            aims = {"KerasHub, from token ids": 2 if size == 64 else None}
            yield rows.against(
                f"SavedModel, batch {size}",
                "SMS",
                unit,
                kind,
                {name: (peer, aims.get(name)) for name, peer in peers.items()},
                less=unit.startswith("ms"),
            )


def centile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def ceiling(rows: Rows) -> Iterator[Row]:
    """The share of what the machine can multiply, real tokens counted."""
    for name, aim in (("full rows", 0.7), ("SMS", 0.55)):
        count = 64 if name == "full rows" else rows.count
        texts = rows.texts("BBC", count)
        if name == "SMS":
            texts = rows.texts("SMS")

        def ours(texts=texts):
            worker = rows.shared("ours.Kbert")
            flops = worker.ask(do="work", texts=texts)["flops"]

            def go():
                return flops / worker.ask(do="predict", texts=texts)["seconds"]

            return lambda: go() / 1e9, lambda: None

        yield rows.row(
            "share of matmul ceiling",
            name,
            "GFLOP/s",
            rows.turn(KBERT, ours),
            (
                rows.turn(
                    "matmul alone",
                    rows.calls(
                        "ours.Kbert", "ceiling", lambda got: got["flops"] / 1e9
                    ),
                    aim,
                ),
            ),
        )


def memory(rows: Rows) -> Iterator[Row]:
    texts = rows.texts("SMS")
    peers = {
        KBERT: ("ours.Kbert", None),
        "transformers, batch 32": ("torch_peer.Eager", None),
        "onnxruntime": ("onnx_peer.Fp32", None),
        "KerasHub, tuned": ("kerashub_peer.Tuned", None),
    }

    def kind(peer):
        return rows.peaks(peer, texts)

    yield rows.against("memory, predict", "SMS", "MB", kind, peers, less=True)


def start(rows: Rows) -> Iterator[Row]:
    ours = [sys.executable, "-m", "kbert", "predict"]
    text = "Win a prize!"
    pipeline = (
        "import transformers as t; "
        f"m = {str(rows.folder / 'huggingface')!r}; "
        f"print(t.pipeline('text-classification', model=m)({text!r}))"
    )
    peer = rows.turn(
        "transformers.pipeline",
        rows.runs([sys.executable, "-c", pipeline]),
        2,
    )
    forms = {"": "kbert", ", ONNX": "onnx", ", int8": "int8"}
    for kind, form in forms.items():
        command = [*ours, rows.folder / form, "--input", text]
        mine = rows.turn(f"kbert predict, {form}", rows.runs(command))
        what = "whole process" + kind
        yield rows.row(what, "one", "s", mine, (peer,), True)


GROUPS = {
    "tokenize": tokenize,
    "train": train,
    "predict": predict,
    "int8": int8,
    "encode": encode,
    "serve": serve,
    "ceiling": ceiling,
    "memory": memory,
    "start": start,
}
