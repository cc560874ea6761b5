"""`kbert serve`."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from kbert.commands import common
from kbert.errors import ConfigError

TOKEN = "KBERT_SERVE_TOKEN"


def serve(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR]",
            help="Folder that holds versions of a SavedModel.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name of the model; by default the folder's."
        ),
    ] = None,
    model_config_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Several models, in the form TF Serving reads.",
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Address to listen on; only this machine unless told.",
        ),
    ] = "127.0.0.1",
    rest_port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="For HTTP.")
    ] = 8501,
    grpc_port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="For gRPC.")
    ] = 8500,
    max_batch_size: Annotated[
        int,
        typer.Option(min=1, metavar="ROWS", help="Rows computed together."),
    ] = 64,
    batch_timeout_ms: Annotated[
        float,
        typer.Option(
            min=0, metavar="MS", help="Wait for more rows to come together."
        ),
    ] = 0.0,
    max_enqueued: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Requests that wait; more get 503."
        ),
    ] = 1000,
    workers: Annotated[
        int, typer.Option(min=1, metavar="N", help="Threads that compute.")
    ] = 1,
    timeout: Annotated[
        float,
        typer.Option(min=0.001, metavar="SECONDS", help="For a request."),
    ] = 30.0,
    max_body: Annotated[
        int,
        typer.Option(
            min=1, metavar="BYTES", help="Of a request; more get 413."
        ),
    ] = 8 * 1024 * 1024,
    max_rows: Annotated[
        int,
        typer.Option(min=1, metavar="ROWS", help="Of a request; more get 413."),
    ] = 1024,
    drain_seconds: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="For running requests after SIGTERM.",
        ),
    ] = 30.0,
    poll_seconds: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="Between looks for new versions; 0 looks once.",
        ),
    ] = 1.0,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificate, PEM.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its key, PEM.")
    ] = None,
    allow_reload: Annotated[
        bool,
        typer.Option(
            "--allow-reload",
            help="Let any client say over gRPC which SavedModels of this "
            "machine are loaded; with a model config file or a token it is "
            "on.",
        ),
    ] = False,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A name that clients call this server by, besides addresses "
            "and localhost.",
        ),
    ] = None,
    check_ops: Annotated[
        str | None,
        typer.Option(
            metavar="RELEASE",
            help="Refuse models that this TF Serving release cannot load; by "
            "default the newest that is known. 'any' refuses none.",
        ),
    ] = None,
    quiet: common.Quiet = False,
) -> None:
    """Serve a SavedModel as TF Serving does, for development.

    Speaks TF Serving's REST and gRPC over the same folder, and shows a page
    to try the model on. It is one process for development and small loads;
    to scale, give the folder to TF Serving: no client changes.

    Log lines are JSON, on standard error. If the environment variable
    KBERT_SERVE_TOKEN is set, clients must send it as a bearer token.

    [bold]Examples[/bold]

      kbert serve exports/spam
      kbert serve --model-config-file models.config --rest-port 9000
    """
    from kbert.exported.check_ops import RELEASES
    from kbert.serving import config
    from kbert.serving.options import ServerOptions
    from kbert.utils.glibc import share_heaps

    if path is not None and model_config_file is None:
        models = [config.from_folder(path, name)]
    elif path is None and model_config_file is not None:
        models = config.from_file(model_config_file)
    else:
        raise ConfigError(
            "Expected a folder or --model-config-file. Received: "
            f"{'both' if path else 'neither'}."
        )
    options = ServerOptions(
        host=host,
        rest_port=rest_port,
        grpc_port=grpc_port,
        poll_seconds=poll_seconds,
        max_batch_size=max_batch_size,
        batch_timeout_ms=batch_timeout_ms,
        max_enqueued=max_enqueued,
        workers=workers,
        timeout=timeout,
        max_body=max_body,
        max_rows=max_rows,
        drain_seconds=drain_seconds,
        token=os.environ.get(TOKEN),
        allow_reload=allow_reload or model_config_file is not None,
        allowed_hosts=tuple(allowed_host or ()),
        tls_cert=tls_cert,
        tls_key=tls_key,
        release={None: RELEASES[-1], "any": None}.get(check_ops, check_ops),
    )
    share_heaps()
    asyncio.run(_run(models, options, quiet))


async def _run(models, options, quiet: bool) -> None:
    common.start()
    # A thread that reads a large message has the interpreter for a turn of
    # 5 ms, and the event loop waits for one at each of its system calls.
    sys.setswitchinterval(5e-4)
    from kbert.serving.logs import Log
    from kbert.serving.logs import forwarded
    from kbert.serving.server import Server

    log = Log(None) if quiet else Log()
    with nullcontext() if quiet else forwarded(log):
        await _serve(Server(models, options, log), models, options, quiet)


async def _serve(server, models, options, quiet: bool) -> None:
    from kbert.serving.server import address_of

    await server.start()
    scheme = "http" if options.tls_cert is None else "https"
    address = f"{scheme}://{address_of(options.host, server.rest_port)}"
    notes = common.notes(quiet)
    for model in models:
        notes.print(f"{address}/v1/models/{model.name}:predict", markup=False)
    notes.print(
        f"gRPC on {address_of(options.host, server.grpc_port)}. Page: "
        f"{address}/\n"
        f"For development; in production give the folder to TF Serving.",
        markup=False,
    )
    await server.wait()
