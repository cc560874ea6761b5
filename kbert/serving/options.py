"""How a server runs."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from kbert.errors import ConfigError
from kbert.exported.check_ops import check_release
from kbert.serving.limits import Limits


@dataclass(frozen=True)
class ServerOptions:
    """Addresses, limits and secrets of a server.

    Attributes:
        host: address to listen on. Anything but this machine's own needs a
            reason: there is no protection but `token`.
        rest_port: 0 for any free one.
        grpc_port: 0 for any free one.
        poll_seconds: between looks at the folders; 0 looks once.
        max_batch_size: rows computed together.
        batch_timeout_ms: to wait for more rows when a worker is free.
        max_enqueued: pieces of work that wait; more get 503.
        workers: threads that compute; TensorFlow uses all cores in each.
        timeout: seconds for a request.
        max_body: bytes of a request, and of each of its tensors.
        max_rows: rows of a request.
        drain_seconds: that running requests get when the server ends.
        token: what clients must send as a bearer token.
        allow_reload: whether clients may say, over gRPC, which models are
            served; those that send the token may anyhow.
        allowed_hosts: names that requests may call this server by, besides
            addresses and localhost; see `kbert.serving.access.CheckHost`.
        tls_cert: PEM file of the certificate chain.
        tls_key: PEM file of its key.
        release: TF Serving release whose ops models may use; None for any.

    Raises:
        ConfigError: a value is impossible.
        UnknownNameError: `release` is not known.
    """

    host: str = "127.0.0.1"
    rest_port: int = 8501
    grpc_port: int = 8500
    poll_seconds: float = 1.0
    max_batch_size: int = 64
    batch_timeout_ms: float = 0.0
    max_enqueued: int = 1000
    workers: int = 1
    timeout: float = 30.0
    max_body: int = 8 * 1024 * 1024
    max_rows: int = 1024
    drain_seconds: float = 30.0
    token: str | None = None
    allow_reload: bool = False
    allowed_hosts: tuple[str, ...] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    release: str | None = None

    @property
    def limits(self) -> Limits:
        """What one request may be."""
        return Limits(self.max_body, self.max_rows)

    @property
    def may_reload(self) -> bool:
        """Whether clients may say which models are served."""
        return self.allow_reload or self.token is not None

    def __post_init__(self):
        for name in (
            *("max_batch_size", "max_enqueued", "workers", "timeout"),
            *("max_body", "max_rows"),
        ):
            if getattr(self, name) <= 0:
                raise ConfigError(
                    f"`{name}` must be positive. Received: "
                    f"{name}={getattr(self, name)}"
                )
        if not self.host.strip():  # Else it is every address there is.
            raise ConfigError(
                "Expected an address as `host`, such as 127.0.0.1 or 0.0.0.0. "
                "Received: an empty one."
            )
        if self.release is not None:
            check_release(self.release)
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigError(
                "TLS needs both `tls_cert` and `tls_key`. Received: one."
            )
        for path in (self.tls_cert, self.tls_key):
            if path is not None and not Path(path).is_file():
                raise ConfigError(f"Expected a PEM file. Received: {path}.")
        if self.tls_cert is not None and self.tls_key is not None:
            _check_pair(self.tls_cert, self.tls_key)
        if self.token is not None and not self.token.strip():
            raise ConfigError("`token` must not be empty.")


def _check_pair(cert: Path, key: Path) -> None:
    try:
        # A key with a password would be asked for on the terminal.
        ssl.create_default_context().load_cert_chain(cert, key, password=b"")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError.
        raise ConfigError(
            f"Expected a certificate chain and its key, both PEM and without "
            f"a password. Received: {cert} and {key} ({error})."
        ) from error
