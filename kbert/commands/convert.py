"""`kbert convert` and `kbert info`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from typing import Literal
from typing import get_args

import typer
from rich.console import Console
from rich.table import Table

from kbert.commands import common
from kbert.errors import ConfigError

Form = Literal[
    "huggingface", "kerashub", "savedmodel", "onnx", "litert", "int8"
]


def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SRC",
            help="Folder that train saved, or a checkpoint of any form.",
        ),
    ],
    target: Annotated[
        Path, typer.Argument(metavar="DST", help="Folder to write.")
    ],
    to: Annotated[
        Form,
        typer.Option(
            metavar="|".join(get_args(Form)),
            help="Form to write; of a checkpoint without a head, huggingface "
            "or kerashub.",
        ),
    ],
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace DST if it exists and holds no other files.",
        ),
    ] = False,
    approximate_gelu: Annotated[
        bool,
        typer.Option(
            "--approximate-gelu",
            help="For kerashub, which has no other GELU: accept features that "
            "differ by about 0.001.",
        ),
    ] = False,
    as_json: common.AsJson = False,
) -> None:
    """Write a model in the form of another framework.

    [bold]Examples[/bold]

      kbert convert saved_models/spam exports/spam --to onnx
      kbert convert ./bert_tf1 presets/bert --to huggingface
    """
    common.start()
    from kbert.commands.conversion import convert as run

    options = {}
    if approximate_gelu:
        if to != "kerashub":
            raise ConfigError(
                f"Expected --to kerashub with --approximate-gelu. Received: "
                f"--to {to}."
            )
        options["approximate_gelu"] = True
    written = run(source, target, to, replace=overwrite, **options)
    if as_json:
        common.print_json({"path": str(written), "form": to})
    else:
        print(written)


def info(
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="Folder that train saved, or a checkpoint of any form.",
        ),
    ],
    as_json: common.AsJson = False,
) -> None:
    """Show what a model is, without loading its weights.

    [bold]Examples[/bold]

      kbert info saved_models/spam
      kbert info ./bert_tf1 --json
    """
    common.start()
    from kbert.pipeline.describe import describe

    found = describe(path)
    if as_json:
        common.print_json(found)
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for section, facts in found.items():
        if not isinstance(facts, dict):
            table.add_row(section, _text(facts))
            continue
        for name, value in facts.items():
            table.add_row(f"{section}.{name}", _text(value))
    Console(highlight=False, markup=False).print(table)


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if type(value) is int else str(value)
