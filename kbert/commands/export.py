"""`kbert export`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from kbert.commands import common
from kbert.errors import ConfigError
from kbert.exported.versions import MAX_VERSION
from kbert.utils.json_text import dumps


def export(
    model: common.ModelPath,
    path: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="Where the versions of the SavedModel are."
        ),
    ],
    version: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=MAX_VERSION,
            metavar="N",
            help="Number of the version, from 0; by default the next one.",
        ),
    ] = None,
    check_ops: Annotated[
        str | None,
        typer.Option(
            metavar="RELEASE",
            help="TF Serving release that has to load it, such as 2.12.1.",
        ),
    ] = None,
    default: Annotated[
        str | None,
        typer.Option(
            metavar="TASK",
            help="Of several tasks the one that is asked by a request "
            "without a signature name.",
            show_default="the first",
        ),
    ] = None,
    policy: common.Precision = None,
    as_json: common.AsJson = False,
) -> None:
    """Write a TensorFlow SavedModel that takes raw strings.

    [bold]Examples[/bold]

      kbert export saved_models/spam exports/spam
      kbert export saved_models/spam exports/spam --check-ops 2.12.1
      kbert export saved_models/spam exports/spam --policy bfloat16
      kbert export saved_models/messages exports/messages --default mood
    """
    clf = loaded = common.load(model, policy)
    options = {"version": version, "check_ops": check_ops}
    tasks = getattr(loaded, "tasks", None)
    if tasks is None and default is not None:
        raise ConfigError(
            f"Expected no --default for a model of one task. Received: "
            f"--default {default} for {model}."
        )
    if tasks is not None:
        options["default"] = default or next(iter(tasks))
        clf = loaded[options["default"]]
    written = loaded.export(path, **options)
    if as_json:
        common.print_json({"path": str(written)})
        return
    print(written)
    name = path.absolute().name
    row = (
        ["..."] if len(clf.inputs) == 1 else [dict.fromkeys(clf.inputs, "...")]
    )
    request = dumps({"instances": row})
    notes = common.notes()
    for line in (
        "Serve it:",
        "  docker run -p 8501:8501 -e MODEL_NAME="
        f"{shlex.quote(name)} -v "
        f"{shlex.quote(f'{path.absolute()}:/models/{name}')} "
        "tensorflow/serving",
        "Ask it:",
        f"  curl localhost:8501/v1/models/{name}:predict -d '{request}'",
    ):
        notes.print(line, markup=False, soft_wrap=True)
