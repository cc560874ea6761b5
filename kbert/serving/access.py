"""A bearer token before everything that answers about models."""

from __future__ import annotations

import hmac
import json

import grpc

# The page and what watches the server need none.
OPEN = ("/", "/healthz", "/readyz")


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
                await _refuse(send)
                return
        await self._app(scope, receive, send)


async def _refuse(send) -> None:
    body = {"error": "Expected a bearer token. Received: none, or another."}
    headers = [
        (b"content-type", b"application/json"),
        (b"www-authenticate", b"Bearer"),
    ]
    await send(
        {"type": "http.response.start", "status": 401, "headers": headers}
    )
    await send(
        {"type": "http.response.body", "body": json.dumps(body).encode()}
    )


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
