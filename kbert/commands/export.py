"""`kbert export`."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

from kbert.commands import common


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
            min=1,
            metavar="N",
            help="Number of the version; by default the next one.",
        ),
    ] = None,
    check_ops: Annotated[
        str | None,
        typer.Option(
            metavar="RELEASE",
            help="TF Serving release that has to load it, such as 2.12.1.",
        ),
    ] = None,
    as_json: common.AsJson = False,
) -> None:
    """Write a TensorFlow SavedModel that takes raw strings.

    [bold]Examples[/bold]

      kbert export saved_models/spam exports/spam
      kbert export saved_models/spam exports/spam --check-ops 2.12.1
    """
    clf = common.load(model)
    written = clf.export(path, version=version, check_ops=check_ops)
    if as_json:
        common.print_json({"path": str(written)})
        return
    print(written)
    name = path.absolute().name
    row = (
        ["..."] if len(clf.inputs) == 1 else [dict.fromkeys(clf.inputs, "...")]
    )
    request = json.dumps({"instances": row})
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
