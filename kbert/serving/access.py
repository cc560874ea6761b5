"""Who may ask: a bearer token, and names that are this server's."""

from __future__ import annotations

import hmac
import ipaddress
import json

import grpc

# The page and what watches the server need none.
OPEN = ("/", "/healthz", "/readyz")
CHALLENGE = (b"www-authenticate", b"Bearer")


class CheckHost:
    """ASGI middleware that answers only those who call the server by a name
    of its own.

    A page of the internet whose name has been pointed at this machine could
    read from the server through a browser that runs here (DNS rebinding).
    The browser sends the page's name as `Host`, so that an address or
    `localhost` is never such a page. A server that listens beyond its own
    machine has names that only its network knows, and takes any, unless it is
    told which.

    Args:
        app: what it protects.
        host: address that the server listens on.
        allowed: further names; those of `host` and localhost pass anyhow.
    """

    def __init__(self, app, host: str, allowed: tuple[str, ...] = ()):
        self._app = app
        self._any = not allowed and not _is_loopback(host)
        self._names = {name.lower() for name in (host, "localhost", *allowed)}

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http" and not self._any:
            sent = dict(scope["headers"]).get(b"host", b"localhost")
            if not self._knows(_host_name(sent.decode("latin-1"))):
                message = (
                    "Expected a Host that is an address, localhost, or a name "
                    "given as --allowed-host. Received: another."
                )
                await _answer(send, 403, message)
                return
        await self._app(scope, receive, send)

    def _knows(self, name: str) -> bool:
        return name in self._names or _is_address(name)


def _host_name(host: str) -> str:
    """The name in a `Host` header, without the port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".").lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (
        _is_address(host) and ipaddress.ip_address(host).is_loopback
    )


class RequireToken:
    """ASGI middleware that asks for `Authorization: Bearer TOKEN`.

    Args:
        app: what it protects.
        token: the secret.
    """

    def __init__(self, app, token: str):
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            path = scope["path"]
            sent = dict(scope["headers"]).get(b"authorization", b"")
            if not (
                path in OPEN
                or path.startswith("/static/")
                or hmac.compare_digest(sent, self._expected)
            ):
                message = "Expected a bearer token. Received: none, or another."
                await _answer(send, 401, message, [CHALLENGE])
                return
        await self._app(scope, receive, send)


async def _answer(send, status: int, message: str, headers=()) -> None:
    headers = [(b"content-type", b"application/json"), *headers]
    start = {"type": "http.response.start", "status": status}
    await send(start | {"headers": headers})
    body = json.dumps({"error": message}).encode()
    await send({"type": "http.response.body", "body": body})


class TokenInterceptor(grpc.aio.ServerInterceptor):
    """The same for gRPC, in the metadata `authorization`.

    Args:
        token: the secret.
    """

    def __init__(self, token: str):
        self._expected = f"Bearer {token}".encode()

    async def intercept_service(self, continuation, details):
        sent = dict(details.invocation_metadata).get("authorization", "")
        if details.method.startswith("/grpc.health.") or hmac.compare_digest(
            str(sent).encode(), self._expected
        ):
            return await continuation(details)
        return grpc.unary_unary_rpc_method_handler(_deny)


async def _deny(request, context):
    await context.abort(
        grpc.StatusCode.UNAUTHENTICATED,
        "Expected a bearer token. Received: none, or another.",
    )
