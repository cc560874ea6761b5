"""How long a server takes to say that it lives, asked all the time.

    python benchmarks/probe.py PORT

It asks `/healthz` every 20 ms, each time on a connection of its own, until its
standard input ends, and prints the times in milliseconds as JSON. A process of
its own: those that ask for other things must not slow it down.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time

REQUEST = (
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
)


def ask(port: int) -> float:
    """Milliseconds until the answer."""
    started = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(REQUEST)
        if b" 200 " not in client.recv(100):
            raise SystemExit("/healthz did not answer 200")
    return 1e3 * (time.perf_counter() - started)


def main() -> None:
    port, times = int(sys.argv[1]), []
    while not select.select([sys.stdin], [], [], 0.02)[0]:
        times.append(ask(port))
    print(json.dumps(times))


if __name__ == "__main__":
    main()
