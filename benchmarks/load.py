"""Clients that ask an HTTP server one text at a time, and what they saw.

Plain sockets: a client library would cost more than the server.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from dataclasses import dataclass
from dataclasses import field


@dataclass
class Seen:
    """What clients saw.

    Attributes:
        latencies: seconds of each answered request.
        failures: what went wrong with each other one.
        seconds: from the first request to the last answer.
    """

    latencies: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds

    def percentile(self, percent: float) -> float:
        """Milliseconds within which so many percent were answered."""
        times = sorted(self.latencies)
        place = min(int(len(times) * percent / 100), len(times) - 1)
        return 1e3 * times[place]


class Connection:
    """One keep-alive connection to this machine."""

    def __init__(self, port: int):
        self._port = port
        self._writer = None

    async def post(self, path: str, body: bytes) -> tuple[int, bool]:
        """Status of the answer, and whether the server says goodbye."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(
                "127.0.0.1", self._port
            )
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Length: {len(body)}\r\n"
            f"Content-Type: application/json\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        status = int(answer.split(" ", 2)[1])
        length = int(answer.split("content-length:")[1].split("\r\n")[0])
        await self._reader.readexactly(length)
        goodbye = "connection: close" in answer
        if goodbye:
            self.close()
        return status, goodbye

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


async def load(
    port: int,
    path: str,
    texts: list[str],
    clients: int,
    seconds: float,
    until_goodbye: bool = False,
) -> Seen:
    """Ask for so many seconds, each client one request after the other.

    Args:
        port: on this machine.
        path: that is posted to, bodies in TF Serving's row form.
        texts: taken in turn.
        clients: that ask at the same time.
        seconds: after which no client begins another request.
        until_goodbye: whether a client ends when the server closes its
            connection, as a load balancer would take the server out.
    """
    seen, turn = Seen(), itertools.cycle(texts)
    started = time.perf_counter()

    async def client():
        connection = Connection(port)
        while time.perf_counter() - started < seconds:
            body = json.dumps({"instances": [next(turn)]}).encode()
            began = time.perf_counter()
            try:
                status, goodbye = await connection.post(path, body)
            except (OSError, asyncio.IncompleteReadError) as error:
                seen.failures.append(repr(error))
                return
            if status == 200:
                seen.latencies.append(time.perf_counter() - began)
            else:
                seen.failures.append(f"status {status}")
            if goodbye and until_goodbye:
                return
        connection.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    seen.seconds = time.perf_counter() - started
    return seen
