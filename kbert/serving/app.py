"""The HTTP side of a server: REST, metrics, health and the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.responses import JSONResponse
from starlette.responses import Response
from starlette.routing import Mount
from starlette.routing import Route
from starlette.staticfiles import StaticFiles

from kbert.serving import metrics
from kbert.serving.access import CheckHost
from kbert.serving.access import RequireToken
from kbert.serving.card import model_card
from kbert.serving.core import Core
from kbert.serving.options import ServerOptions
from kbert.serving.rest import Rest
from kbert.utils.json_text import dumps

PAGE = Path(__file__).parent / "page"

# Nothing on the page comes from elsewhere, or goes there.
PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src data:; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def make_app(
    core: Core,
    rest: Rest,
    draining: Callable[[], bool],
    options: ServerOptions,
) -> Any:
    """The ASGI application.

    Args:
        core: answers requests about models.
        rest: answers what is under `/v1/`.
        draining: whether the server is about to end.
        options: of who may ask.
    """

    async def page(request: Request) -> Response:
        return FileResponse(PAGE / "index.html", headers=PAGE_HEADERS)

    async def models(request: Request) -> Response:
        cards = [model_card(core, name) for name in sorted(core.models.configs)]
        return Response(dumps(cards), media_type="application/json")

    async def prometheus(request: Request) -> Response:
        return Response(core.metrics.page(), media_type="text/plain")

    async def healthz(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(request: Request) -> Response:
        if core.models.ready and not draining():
            return JSONResponse({"status": "ready"})
        status = "draining" if draining() else "loading"
        return JSONResponse({"status": status}, 503)

    app: Any = Starlette(
        routes=[
            Route("/", page),
            Route("/ui/models", models),
            Route(metrics.PATH, prometheus),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Mount("/static", StaticFiles(directory=PAGE)),
        ]
    )
    app = _Middleware(app, rest, draining)
    if options.token is not None:
        app = RequireToken(app, options.token)
    return CheckHost(app, options.host, options.allowed_hosts)


class _Middleware:
    """Sends `/v1/` to REST, and says goodbye while the server drains.

    REST has TF Serving's own rules for paths and methods, so it stands
    before the router.
    """

    def __init__(self, app: Any, rest: Rest, draining: Callable[[], bool]):
        self._app = app
        self._rest = rest
        self._draining = draining

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_goodbye(message):
            if message["type"] == "http.response.start" and self._draining():
                headers = [*message["headers"], (b"connection", b"close")]
                message = message | {"headers": headers}
            await send(message)

        if scope["path"].lower().startswith("/v1/"):
            response = await self._rest(Request(scope, receive))
            await response(scope, receive, send_goodbye)
        else:
            await self._app(scope, receive, send_goodbye)
