"""Malformed and hostile requests to `kbert serve`, and what comes of them.

    python benchmarks/hostile.py              # 20,000 requests, half an hour

Most are small and bad in a way drawn at random: JSON of wrong types, depth and
numbers, bytes that are no JSON or no UTF-8, broken gzip, zip bombs, bodies that
never end. Every 50th asks for much, over REST or gRPC: millions of rows, a
megabyte of context for each of two thousand, heads without end. Beside them
someone asks `/healthz` all the time, slow clients hold connections, the base
folder is disturbed 50 times, and the log is on a disk that is full.

None may crash the server, be answered by a status of 500, unload a model, keep
`/healthz` from answering within 250 ms or make the server grow by 300 MB; good
requests in between must be answered.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from kbert.utils.tensorflow import import_tensorflow

import_tensorflow()  # Without its start-up messages.

import grpc
import hostile_requests
from hostile_requests import PATH
from machine import machine
from serve import free_port
from serve import get
from serve import running

import kbert

GOOD = hostile_requests.post(PATH, b'{"instances": ["some words"]}')

# What may be.
WORST_MS, GROWTH_MB = 250, 300
LARGE_EVERY, DISTURBANCES = 50, 50


def ask(port: int, raw: bytes) -> str:
    """The status of the answer, or why there is none."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as c:
            try:
                c.sendall(raw)
            except OSError:
                pass  # It was refused before all of it was sent.
            answer = c.recv(100)
    except OSError as error:
        return type(error).__name__
    return answer.split(b" ")[1].decode() if answer else "closed"


def call(channel: grpc.Channel, name: str) -> str:
    """The same over gRPC."""
    method, message = hostile_requests.call(name)
    path = f"/tensorflow.serving.PredictionService/{method}"
    try:
        channel.unary_unary(path)(message, timeout=60)
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


def rss(pid: int) -> float:
    """Resident memory in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def disturb(folder: Path, number: int) -> None:
    """Take the base folder away for longer than the server looks."""
    away = folder.with_suffix(".away")
    folder.rename(away)
    if number % 3 == 1:
        folder.write_text("no folder")
    elif number % 3 == 2:
        folder.symlink_to("nowhere")
    time.sleep(1.3)
    folder.unlink(missing_ok=True)
    away.rename(folder)


def hold(port: int, stop: threading.Event, draw: random.Random) -> None:
    """Slow clients: heads that come byte by byte, and readers that do not."""
    while not stop.is_set():
        held = []
        for _ in range(20):
            client = socket.create_connection(("127.0.0.1", port), timeout=60)
            client.sendall(draw.choice((b"", b"GET / HT", GOOD[:-9], GOOD * 9)))
            held.append(client)
        stop.wait(5)
        for client in held:
            client.close()


def loaded(port: int) -> list:
    """When each version was loaded that is served."""
    (card,) = json.loads(get(port, "/ui/models"))
    return [
        (version["version"], version["loaded"])
        for version in card["versions"]
        if version["state"] == "AVAILABLE"
    ]


class Attack:
    """All of it against one server.

    Attributes:
        statuses: how often each answer came.
        good: the same, of the good requests in between.
        unloaded: disturbances after which not all was served as before.
        most: memory in MB.
    """

    def __init__(self, port: int, grpc_port: int, folder: Path, pid: int):
        self.statuses: collections.Counter = collections.Counter()
        self.good: collections.Counter = collections.Counter()
        self.unloaded, self.most = 0, 0.0
        self._port, self._pid = port, pid
        self._channel = grpc.insecure_channel(f"127.0.0.1:{grpc_port}")
        self._folder = folder
        self._large = [*hostile_requests.LARGE, *hostile_requests.CALLS]

    def run(self, requests: int, seed: int) -> None:
        draw, disturbed, models = random.Random(seed), 0, loaded(self._port)
        disturbing = None
        for i in range(requests):
            if i % LARGE_EVERY == 0:
                self.statuses[self._ask_much(i // LARGE_EVERY)] += 1
            else:
                status = ask(self._port, hostile_requests.small(draw))
                self.statuses[status] += 1
            self.most = max(self.most, rss(self._pid))
            if i % 100 == 0:
                good = ask(self._port, GOOD)
                self.good[good] += 1
                if good != "200" and ask(self._port, GOOD) != "200":
                    raise SystemExit(f"No answer after {i} requests.")
            if i * DISTURBANCES >= disturbed * requests:
                if disturbing is not None:
                    disturbing.join()
                    self.unloaded += loaded(self._port) != models
                disturbing = threading.Thread(
                    target=disturb, args=(self._folder, disturbed)
                )
                disturbing.start()
                disturbed += 1
        disturbing.join()
        self.unloaded += loaded(self._port) != models

    def _ask_much(self, number: int) -> str:
        name = self._large[number % len(self._large)]
        if number % len(self._large) >= len(hostile_requests.LARGE):
            return call(self._channel, name)
        return ask(self._port, hostile_requests.LARGE[name]())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(machine("tensorflow", "starlette", "uvicorn"), file=sys.stderr)
    port, grpc_port = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        clf = kbert.Classifier("random:tiny", labels=["a", "b"], seed=0)
        model = Path(folder, "model")
        clf.export(model)
        command = ["kbert", "serve", str(model), "--timeout", "1"]
        command += ["--rest-port", str(port), "--grpc-port", str(grpc_port)]
        with running(command, port, "/readyz", log="/dev/full") as process:
            for _ in range(20):
                ask(port, GOOD)
            before = rss(process.pid)
            probe = subprocess.Popen(
                [sys.executable, "probe.py", str(port)],
                cwd=Path(__file__).parent,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            stop = threading.Event()
            arguments = (port, stop, random.Random(options.seed))
            holding = threading.Thread(target=hold, args=arguments)
            holding.start()
            attack = Attack(port, grpc_port, model, process.pid)
            try:
                attack.run(options.requests, options.seed)
            finally:
                stop.set()
                holding.join()
                answered, _ = probe.communicate(b"\n")
            alive = process.poll() is None and ask(port, GOOD) == "200"
            after = rss(process.pid)
    times = sorted(json.loads(answered))
    growth, worst = attack.most - before, times[-1]
    print(f"statuses: {dict(sorted(attack.statuses.items()))}")
    print(f"of good requests in between: {dict(attack.good)}")
    print(
        f"/healthz: worst {worst:.0f} ms, p99.9 "
        f"{times[int(0.999 * len(times))]:.0f} ms, p50 "
        f"{times[len(times) // 2]:.1f} ms, of {len(times)}"
    )
    print(
        f"memory: {before:.0f} MB before, at most {growth:.0f} MB more, "
        f"{after - before:.0f} MB more after"
    )
    print(f"models unloaded by {DISTURBANCES} disturbances: {attack.unloaded}")
    print(f"alive: {alive}; load average {os.getloadavg()[0]:.1f}")
    bad = {"500", "502", "503", "INTERNAL", "UNKNOWN"} & set(attack.statuses)
    if not alive or bad or attack.unloaded:
        raise SystemExit("The server failed.")
    if worst > WORST_MS or growth > GROWTH_MB:
        raise SystemExit("The server was held up, or grew.")


if __name__ == "__main__":
    main()
