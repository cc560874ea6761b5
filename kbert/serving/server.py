"""The development server, put together.

It is for development and small loads: one process, one Python. What it
serves, TF Serving serves from the same folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
import time
from dataclasses import replace
from typing import Any

import grpc
import uvicorn
from grpc_health.v1 import health
from grpc_health.v1 import health_pb2
from grpc_health.v1 import health_pb2_grpc

from kbert.errors import ConfigError
from kbert.errors import UnavailableError
from kbert.serving.access import TokenInterceptor
from kbert.serving.app import make_app
from kbert.serving.batching import Batcher
from kbert.serving.config import ModelConfig
from kbert.serving.connections import Connection
from kbert.serving.core import Core
from kbert.serving.grpc_services import ModelService
from kbert.serving.grpc_services import PredictionService
from kbert.serving.logs import Log
from kbert.serving.metrics import Metrics
from kbert.serving.models import Models
from kbert.serving.models import Version
from kbert.serving.options import ServerOptions
from kbert.serving.rest import Rest
from kbert.serving.servable import Servable
from kbert.serving.warmup import warm_up
from kbert.serving.warmup import warm_up_explanations

# Seconds that a server which is about to end still takes new requests, so
# that load balancers and clients see it coming.
LAME_DUCK = 1.0

# Connections at once; for one more, the longest idle one is closed, and if none
# is idle it is answered 503. Also calls over gRPC at once.
MAX_CONNECTIONS = 1024


class _Http(uvicorn.Server):
    """uvicorn, with signals left to `Server`."""

    @contextlib.contextmanager
    def capture_signals(self):
        yield


class Server:
    """REST and gRPC over the same models, until told to stop.

    Args:
        models: what to serve.
        options: how.
        log: where requests and changes are noted.

    Attributes:
        rest_port: the port of HTTP, known once `start` has returned.
        grpc_port: the port of gRPC.

    Example:

    >>> server = Server([from_folder("saved_models/spam")])
    >>> asyncio.run(server.run())
    """

    def __init__(
        self,
        models: list[ModelConfig],
        options: ServerOptions | None = None,
        log: Log | None = None,
    ):
        self.options = options or ServerOptions()
        self.log = log or Log()
        self.draining = False
        self.rest_port = self.grpc_port = 0
        self._configs = models
        self._stop = asyncio.Event()
        self._metrics = Metrics()
        self._metrics.watch("log_lines_dropped", lambda: self.log.dropped)
        aio: Any = health.aio  # pyright: ignore[reportAttributeAccessIssue]
        self._health = aio.HealthServicer()
        self._grpc: Any = None  # A grpc.aio.Server.
        self._polling: asyncio.Task | None = None
        self._warming: set[asyncio.Task] = set()
        # One version at a time: requests want the cores, too.
        self._turn = asyncio.Lock()

    def _load(self, version: Version) -> Servable:
        """In a thread: a version that can answer at once."""
        servable = Servable(version.path, self.options.release)
        # What it is warmed up with is the model's own.
        limits = replace(self.options.limits, rows=self.options.max_body)
        try:
            warm_up(servable, self._metrics, limits)
        except BaseException:
            servable.close()
            raise
        return servable

    def _warm_up_later(self, version: Version) -> None:
        """What no version is late for, while it answers."""
        task = asyncio.create_task(self._warm_up_explanations(version))
        self._warming.add(task)  # The event loop itself would forget it.
        task.add_done_callback(self._warming.discard)

    async def _warm_up_explanations(self, version: Version) -> None:
        facts = {"model": version.model, "version": version.number}
        async with self._turn:
            if version.state != "AVAILABLE" or self.draining:
                return
            started = time.perf_counter()
            try:
                with version.used():
                    warmed = await asyncio.to_thread(
                        warm_up_explanations, version.servable
                    )
            except Exception as failure:
                self._metrics.warm_up_failed()
                self.log("warm-up failed", **facts, error=str(failure))
                return
            if warmed:
                seconds = round(time.perf_counter() - started, 3)
                self.log("explanations ready", **facts, seconds=seconds)

    async def start(self) -> None:
        """Load the models, then listen.

        Raises:
            UnavailableError: a model has no version that can be loaded.
            ConfigError: a port is taken.
        """
        self.models = Models(
            self._configs,
            self._load,
            self.log,
            self._metrics.look_failed,
            self._warm_up_later,
        )
        try:
            await self.models.update()
            self._check_loaded()
            await self._listen()
        except BaseException:
            if self._grpc is not None:
                await self._grpc.stop(None)
            await self.models.close()
            raise

    async def _listen(self) -> None:
        options = self.options
        self._batcher = Batcher(
            options.max_batch_size,
            options.batch_timeout_ms / 1e3,
            options.max_enqueued,
            options.workers,
            self._metrics.queued,
            options.limits.text,
        )
        core = Core(self.models, self._batcher, self._metrics, options.limits)
        self._workers = core.workers
        listener = _listen_on(options.host, options.rest_port)
        try:
            await self._start_grpc(core)
        except BaseException:
            listener.close()
            raise
        self._start_http(core, listener)
        if options.poll_seconds:
            self._polling = asyncio.create_task(
                self.models.poll(options.poll_seconds)
            )
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)

    def _check_loaded(self) -> None:
        for name, config in self.models.configs.items():
            versions = self.models.versions(name)
            if not any(v.state == "AVAILABLE" for v in versions):
                reasons = "; ".join(
                    f"version {v.number}: {v.failure}" for v in versions
                )
                trouble = self.models.trouble(name)
                raise UnavailableError(
                    "UNAVAILABLE",
                    f"Expected a version of model {name!r} that can be served "
                    f"in {config.base_path}. Received: "
                    f"{reasons or trouble or 'no version'}.",
                )

    async def _start_grpc(self, core: Core) -> None:
        options = self.options
        parts = (core, self._metrics, self.log, options.timeout)
        self._grpc = grpc.aio.server(
            interceptors=[TokenInterceptor(options.token)]
            if options.token
            else [],
            options=[
                ("grpc.max_receive_message_length", options.max_body),
                # Or another server could listen on the same port, and each
                # would get a part of the calls.
                ("grpc.so_reuseport", 0),
            ],
            maximum_concurrent_rpcs=MAX_CONNECTIONS,
        )
        self._grpc.add_generic_rpc_handlers(
            (
                PredictionService(*parts).handler(),
                ModelService(*parts, may_reload=options.may_reload).handler(),
            )
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._grpc)
        address = address_of(options.host, options.grpc_port)
        try:
            if options.tls_cert is None or options.tls_key is None:
                self.grpc_port = self._grpc.add_insecure_port(address)
            else:
                pair = (
                    options.tls_key.read_bytes(),
                    options.tls_cert.read_bytes(),
                )
                self.grpc_port = self._grpc.add_secure_port(
                    address, grpc.ssl_server_credentials([pair])
                )
        except RuntimeError as error:
            raise _taken(address, "--grpc-port") from error
        await self._grpc.start()

    def _start_http(self, core: Core, listener: socket.socket) -> None:
        options = self.options
        rest = Rest(*(core, self._metrics, self.log, options.timeout))
        app = make_app(core, rest, lambda: self.draining, options)
        config = uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=int(options.drain_seconds) or 1,
            ssl_certfile=options.tls_cert,
            ssl_keyfile=options.tls_key,
        )
        # asyncio leaves it out for a socket that is made so, and an answer in
        # two packets would wait 40 ms for the client's acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest_port = listener.getsockname()[1]
        self._http = _Http(config)
        self._http_done = asyncio.create_task(self._http.serve([listener]))

    def stop(self) -> None:
        """Have `run` end, after the requests that have come."""
        self._stop.set()

    async def run(self) -> None:
        """`start`, then `wait`."""
        await self.start()
        await self.wait()

    async def wait(self) -> None:
        """Serve until SIGTERM, SIGINT or `stop`, then drain."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            # Only the main thread of a process may.
            with contextlib.suppress(ValueError, RuntimeError):
                loop.add_signal_handler(number, self.stop)
        await self._stop.wait()
        await self.drain()

    async def drain(self) -> None:
        """Answer what has come, refuse what comes, and free the models."""
        self.log("draining", seconds=self.options.drain_seconds)
        self.draining = True
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(min(LAME_DUCK, self.options.drain_seconds))
        if self._polling is not None:
            self._polling.cancel()
        self._http.should_exit = True
        await asyncio.gather(
            self._http_done, self._grpc.stop(self.options.drain_seconds)
        )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.options.drain_seconds):
                await self.models.close()
        self._batcher.close()
        self._workers.close()
        self.log("ended")
        await asyncio.to_thread(self.log.flush)


def address_of(host: str, port: int) -> str:
    """A host and a port as they stand in a URL; IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _listen_on(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        ConfigError: the port is taken, or the address is none of this machine.
    """
    try:
        # localhost is several; most clients try 127.0.0.1.
        family, _, _, _, address = min(
            socket.getaddrinfo(host, port, type=socket.SOCK_STREAM),
            key=lambda found: found[0] != socket.AF_INET,
        )
        # "::" is every address, as for gRPC.
        both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
        return socket.create_server(
            address[:2], family=family, backlog=1024, dualstack_ipv6=both
        )
    except (OSError, UnicodeError) as error:  # A name of 64 letters or more.
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            raise _taken(address_of(host, port), "--rest-port") from error
        raise ConfigError(
            f"Expected an address of this machine, such as 127.0.0.1 or "
            f"0.0.0.0, and a port that may be listened on. Received: --host "
            f"{host!r}, port {port}: {error}."
        ) from error


def _taken(address: str, option: str) -> ConfigError:
    return ConfigError(
        f"Expected a free port. Received: {address}, which cannot be listened "
        f"on. Stop what listens there, or choose another with {option}."
    )
