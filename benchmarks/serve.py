"""`kbert serve` beside FastAPI + transformers' pipeline, in one run.

    python benchmarks/serve.py               # about 15 minutes on two cores

Both serve all-MiniLM-L6-v2 with a classification head, in float32, texts cut
to 128 tokens, over HTTP on this machine, and both once more in bfloat16 (kbert
as exported with `kbert export --policy bfloat16`). Clients ask one text
at a time, each when it has its last answer. Servers take turns in every round,
medians are compared; ratios are of the requests a second of the peer in
float32. Then kbert's server is reloaded and ended under load, and failed
requests are counted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from kbert.utils.tensorflow import import_tensorflow

import_tensorflow()  # Without its start-up messages.

import keras
import transformers
from load import Seen
from load import load
from machine import machine
from predict import texts_of
from rich.console import Console
from rich.table import Table

import kbert
from kbert.checkpoints.presets import DEFAULT_PRESET
from kbert.checkpoints.presets import resolve

LENGTH = 128
KBERT, PEER = "/v1/models/model:predict", "/predict"

# What ratios are of.
BASE = "peer"

# Folder of a model of kbert: the policy it is exported with.
POLICIES = {"model": "float32", "half": "bfloat16"}


def make_models(folder: Path) -> None:
    """The same backbone for all: SavedModels, and a transformers folder."""
    clf = kbert.Classifier(labels=["no", "yes"], max_length=LENGTH, seed=0)
    clf.save(folder / "saved")
    for name, policy in POLICIES.items():
        keras.config.set_dtype_policy(policy)
        kbert.load(folder / "saved").export(folder / name)
    preset = resolve(DEFAULT_PRESET)
    model = transformers.AutoModelForSequenceClassification
    model.from_pretrained(preset, num_labels=2).save_pretrained(folder / "peer")
    tokenizer = transformers.BertTokenizer(str(preset / "vocab.txt"))
    tokenizer.save_pretrained(folder / "peer")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.contextmanager
def running(
    command: list[str],
    port: int,
    probe: str,
    log: str = os.devnull,
    **environment: str,
):
    """A server in a process of its own, once it answers."""
    with open(log, "w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=os.environ | environment,
            cwd=Path(__file__).parent,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    try:
        wait_for(lambda: get(port, probe), process)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def wait_for(condition, process, seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"{process.args} did not become ready")
        time.sleep(0.2)


def get(port: int, path: str) -> bytes | None:
    """What a GET answers, None while nobody does."""
    url = f"http://127.0.0.1:{port}{path}"
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.read()
    except OSError:
        return None


def kbert_server(model: Path, port: int, *options: str):
    return running(
        [
            *("kbert", "serve", str(model), "--name", "model", "--quiet"),
            *("--rest-port", str(port), "--grpc-port", "0", *options),
        ],
        port,
        "/readyz",
    )


def peer_server(folder: Path, port: int, dtype: str):
    return running(
        [
            *("uvicorn", "serve_peer:app", "--port", str(port)),
            *("--log-level", "critical"),
        ],
        port,
        "/openapi.json",
        PEER_MODEL=str(folder / "peer"),
        PEER_DTYPE=dtype,
    )


def compare(options, folder: Path, table: Table) -> None:
    ports = [free_port() for _ in range(4)]
    servers = {
        "kbert": (ports[0], KBERT),
        BASE: (ports[1], PEER),
        "kbert, bfloat16": (ports[2], KBERT),
        "peer, bfloat16": (ports[3], PEER),
    }
    with (
        kbert_server(folder / "model", ports[0]),
        peer_server(folder, ports[1], "float32"),
        kbert_server(folder / "half", ports[2]),
        peer_server(folder, ports[3], "bfloat16"),
    ):
        for name in ("SMS Spam", "BBC news"):
            texts = texts_of(name, 600)
            for port, path in servers.values():  # Traces, and fills caches.
                asyncio.run(load(port, path, texts, 8, 2))
            for clients in options.clients:
                seen: dict[str, list[Seen]] = {who: [] for who in servers}
                for _ in range(options.rounds):
                    for who, (port, path) in servers.items():
                        found = load(
                            port, path, texts, clients, options.seconds
                        )
                        seen[who].append(asyncio.run(found))
                add_rows(table, name, clients, seen)


def add_rows(table: Table, name: str, clients: int, seen: dict) -> None:
    rate = {who: median(runs, lambda s: s.rate) for who, runs in seen.items()}
    for who, runs in seen.items():
        times = [
            median(runs, lambda s, p=percent: s.percentile(p))
            for percent in (50, 99)
        ]
        table.add_row(
            *(name, str(clients), who, f"{rate[who]:,.0f}"),
            f"{rate[who] / rate[BASE]:.2f}",
            *(f"{time:,.1f}" for time in times),
            str(sum(len(s.failures) for s in runs)),
            end_section=who == list(seen)[-1],
        )


def median(runs: list[Seen], figure: Callable[[Seen], float]) -> float:
    return statistics.median(figure(seen) for seen in runs)


def states(port: int) -> dict[str, str]:
    rows = json.loads(get(port, "/v1/models/model"))["model_version_status"]
    return {row["version"]: row["state"] for row in rows}


async def reload_and_end(folder: Path, port: int, process) -> tuple[Seen, Seen]:
    """Failures while a version is replaced, and while the server ends."""
    texts = texts_of("SMS Spam", 600)
    asking = asyncio.create_task(load(port, KBERT, texts, 16, 15))
    await asyncio.sleep(2)
    shutil.copytree(folder / "model" / "1", folder / "new")
    (folder / "new").rename(folder / "model" / "2")
    reloaded = await asking
    for _ in range(20):  # A busy machine loads slowly.
        if states(port) == {"2": "AVAILABLE", "1": "END"}:
            break
        more = await load(port, KBERT, texts, 16, 5)
        reloaded.latencies += more.latencies
        reloaded.failures += more.failures
    else:
        raise SystemExit(f"The reload did not end: {states(port)}")
    asking = asyncio.create_task(
        load(port, KBERT, texts, 16, 30, until_goodbye=True)
    )
    await asyncio.sleep(3)
    process.send_signal(signal.SIGTERM)
    return reloaded, await asking


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--clients", type=int, nargs="+", default=[1, 16, 64], metavar="N"
    )
    parser.add_argument("--seconds", type=float, default=6, help="of a round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    title = machine("tensorflow", "transformers", "torch", "fastapi", "uvicorn")
    table = Table(title=title)
    for column in (
        *("texts", "clients", "server", "requests/s", "/ peer"),
        *("p50 ms", "p99 ms", "failed"),
    ):
        table.add_column(column, justify="right")
    console = Console(width=130)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_models(folder)
        compare(options, folder, table)
        console.print(table)
        port = free_port()
        with kbert_server(folder / "model", port) as process:
            found = asyncio.run(reload_and_end(folder, port, process))
    for what, seen in zip(("hot reload", "SIGTERM"), found, strict=True):
        console.print(
            f"{what} with 16 clients: {len(seen.latencies)} answered, "
            f"{len(seen.failures)} failed {seen.failures[:3] or ''}"
        )


if __name__ == "__main__":
    main()
