"""Malformed and hostile requests to `kbert serve`: what comes back, and RSS.

    python benchmarks/hostile.py              # 10,000 requests, minutes

Every request is bad in a way drawn at random: JSON of wrong types, depth and
numbers, bytes that are no JSON or no UTF-8, broken gzip, zip bombs, bodies
that never end. None may crash the server, be answered with a status of 500,
or make it grow; good requests in between must be answered.
"""

from __future__ import annotations

import argparse
import collections
import gzip
import json
import random
import socket
import sys
import tempfile
from pathlib import Path

from kbert.quiet import import_tensorflow

import_tensorflow()  # Without its start-up messages.

from machine import machine
from serve import free_port
from serve import kbert_server

import kbert

PATH = "/v1/models/model:predict"
BOMB = gzip.compress(b" " * 200_000_000)
VALUES = (
    *(None, True, -1, 1.5, 10**30, "x", "\ud800", [], {}, [[]], {"b64": "?"}),
    *({"text": 1}, {"b64": 1}, ["a", ["b"]], "long " * 20_000),
)


def nested(draw: random.Random) -> bytes:
    depth = draw.choice((30, 300, 3_000, 300_000))
    opening = draw.choice((b"[", b'{"instances":', b'{"a":['))
    return b'{"instances": ' + opening * depth


def numbers(draw: random.Random) -> bytes:
    digits = b"9" * draw.choice((20, 400, 5_000, 500_000))
    number = draw.choice((digits, b"-" + digits, b"1e" + digits, b"NaN", b"0x"))
    return b'{"instances": [' + number + b"]}"


def wrong(draw: random.Random) -> bytes:
    key = draw.choice(("instances", "inputs", "examples", "signature_name"))
    count = draw.choice((0, 1, 3))
    value = [draw.choice(VALUES) for _ in range(count)]
    body = {key: draw.choice((value, draw.choice(VALUES)))}
    if draw.random() < 0.3:
        body["signature_name"] = draw.choice((1, "nope", "classify", "explain"))
    return json.dumps(body).encode()


def noise(draw: random.Random) -> bytes:
    return draw.randbytes(draw.choice((0, 1, 50, 5_000)))


def mangled(draw: random.Random) -> bytes:
    body = bytearray(b'{"instances": ["some words", "and more"]}')
    for _ in range(draw.randint(1, 4)):
        body[draw.randrange(len(body))] = draw.randrange(256)
    return bytes(body)


MAKERS = (nested, numbers, wrong, wrong, noise, mangled, mangled)


def request(draw: random.Random) -> bytes:
    """A bad request, head and body, in bytes."""
    path = PATH
    headers = []
    body = draw.choice(MAKERS)(draw)
    kind = draw.random()
    if kind < 0.05:
        headers.append("Content-Encoding: gzip")
        body = draw.choice((BOMB, gzip.compress(body)[:-3], body))
    elif kind < 0.15:
        path = draw.choice(
            (
                *("/v1/models/%00:predict", "/v1/models/model:classify"),
                *("/v1/models/model/versions/99999999999999999999:predict",),
                *("/v1/models/model/labels/%ff:predict", "/v1/../etc"),
                *("/v1/models/model:regress", "/v1/" + "a" * 5_000),
            )
        )
    length = len(body)
    if 0.15 < kind < 0.17:
        length = draw.choice((len(body) + 10, 10**12))  # Never comes.
    head = "\r\n".join(
        [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {length}"]
        + headers
        + ["Connection: close", "", ""]
    )
    return head.encode() + body


def ask(port: int, raw: bytes) -> str:
    """The status of the answer, or why there is none."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        try:
            client.sendall(raw)
            answer = client.recv(100)
        except OSError as error:
            return type(error).__name__
    return answer.split(b" ")[1].decode() if answer else "closed"


def rss(pid: int) -> float:
    """Resident memory in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(machine("tensorflow", "starlette", "uvicorn"), file=sys.stderr)
    good = b'{"instances": ["some words"]}'
    good = (
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Content-Length: {len(good)}\r\n\r\n"
    ).encode() + good
    draw, port = random.Random(options.seed), free_port()
    statuses: collections.Counter = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        clf = kbert.Classifier("random:tiny", labels=["a", "b"], seed=0)
        model = Path(folder, "model")
        clf.export(model)
        with kbert_server(model, port, "--timeout", "1") as process:
            for _ in range(20):
                ask(port, good)
            before = most = rss(process.pid)
            for i in range(options.requests):
                statuses[ask(port, request(draw))] += 1
                if i % 100 == 0:
                    most = max(most, rss(process.pid))
                    if ask(port, good) != "200":
                        raise SystemExit(f"No answer after {i} requests.")
            alive = process.poll() is None and ask(port, good) == "200"
            after = rss(process.pid)
    print(f"statuses: {dict(sorted(statuses.items()))}")
    print(
        f"alive: {alive}; memory {before:.0f} MB before, {most:.0f} at most, "
        f"{after:.0f} after"
    )
    if not alive or any(s.startswith("50") and s != "504" for s in statuses):
        raise SystemExit("The server failed.")


if __name__ == "__main__":
    main()
