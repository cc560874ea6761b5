"""A peer in a process of its own: commands in, figures out, as JSON lines.

    python peers/worker.py MODULE.CLASS FOLDER

A peer's class takes the folder that `prepare.py` wrote and has some of these:

    predict(texts)              answers for a whole data set
    batch(texts)                answers for one request, such as a server gets
    encode(texts)               vectors
    tokenize(texts)             token ids
    ceiling()                   FLOP/s in multiplying large matrices
    fit(texts, labels, epochs, epoch), or fit(pairs, epochs, epoch)
        which calls `epoch.begin()` and `epoch.end()` around each epoch

Peers share nothing: neither threads nor memory; and only one works at a time.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["TOKENIZERS_PARALLELISM"] = "true"
os.environ["HF_HUB_OFFLINE"] = "1"


class Epochs:
    """Holds a training back at every epoch until the parent asks for it."""

    def __init__(self, read, write):
        self.read, self.write = read, write

    def begin(self) -> None:
        self.read()
        self.started = time.perf_counter(), time.process_time()

    def end(self) -> None:
        wall, cpu = self.started
        self.write(
            seconds=time.perf_counter() - wall,
            cpu=time.process_time() - cpu,
        )


def timed(call, *arguments) -> dict:
    started = time.perf_counter()
    answer = call(*arguments)
    figures = {"seconds": time.perf_counter() - started}
    if isinstance(answer, dict):
        return figures | answer
    return figures | {"answers": answer}


def main() -> None:
    # What libraries print must not meet the figures.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def read() -> dict:
        line = sys.stdin.readline()
        if not line:
            raise SystemExit
        return json.loads(line)

    def write(**figures) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps(figures | {"peak": peak}), file=out, flush=True)

    module, name = sys.argv[1].split(".")
    started = time.perf_counter()
    peer = getattr(importlib.import_module(f"peers.{module}"), name)
    peer = peer(Path(sys.argv[2]))
    write(seconds=time.perf_counter() - started)
    while True:
        command = read()
        verb, arguments = command.pop("do"), command.values()
        if verb == "fit":
            peer.fit(*arguments, Epochs(read, write))
        elif verb == "batches":
            size = command["size"]
            texts = command["texts"]
            parts = [texts[i : i + size] for i in range(0, len(texts), size)]
            parts = peer.requests(parts) if hasattr(peer, "requests") else parts
            seconds = [timed(peer.batch, part)["seconds"] for part in parts]
            write(seconds=sum(seconds), each=seconds)
        else:
            write(**timed(getattr(peer, verb), *arguments))


if __name__ == "__main__":
    main()
