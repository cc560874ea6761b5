"""The command `kbert`.

What the commands have in common: how errors end (1 for an error that kbert
explains, 2 for wrong usage, 130 for Ctrl-C, 141 for a closed pipe), and that
standard output holds results only.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Annotated
from typing import Any

import typer
from typer.core import TyperGroup

from kbert.commands.convert import convert
from kbert.commands.convert import info
from kbert.commands.corpus import corpus
from kbert.commands.embed import embed
from kbert.commands.embed import search
from kbert.commands.embed import summarize
from kbert.commands.evaluate import evaluate
from kbert.commands.export import export
from kbert.commands.listing import heads
from kbert.commands.listing import presets
from kbert.commands.listing import version
from kbert.commands.predict import predict
from kbert.commands.pretrain import pretrain
from kbert.commands.serve import serve
from kbert.commands.train import train
from kbert.commands.vocab import vocab
from kbert.errors import KbertError
from kbert.errors import UnknownNameError
from kbert.utils.version import __version__

COLUMNS_HINT = (
    "Name the columns with --text and --label; if the first line of the file "
    "does not, name all of them with --columns."
)


class _Group(TyperGroup):
    """Turns exceptions into messages and exit codes."""

    def invoke(self, ctx):
        # Answers repeat texts, which the terminal's encoding may not hold.
        out: Any = sys.stdout
        out.reconfigure(encoding="utf-8", errors="replace")
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except KbertError as error:
            message = f"Error: {error}"
            if isinstance(error, UnknownNameError) and error.kind == "column":
                message += f" {COLUMNS_HINT}"
            print(message, file=sys.stderr)
            raise typer.Exit(1) from error
        except KeyboardInterrupt as error:
            raise typer.Exit(130) from error
        except BrokenPipeError as error:
            # Python flushes once more at exit; that must not fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(141) from error


app = typer.Typer(
    name="kbert",
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command in (
    *(train, evaluate, predict, export, serve),
    *(embed, search, summarize),
    *(convert, info),
    *(vocab, corpus, pretrain),
    *(heads, presets, version),
):
    app.command()(command)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"kbert {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help="Show the version and leave.",
        ),
    ] = False,
) -> None:
    """Fine-tune BERT on labelled texts, and serve one SavedModel.

    [bold]Examples[/bold]

      kbert train reviews.tsv --output saved_models/reviews
      kbert predict saved_models/reviews --input "What a day"
      kbert export saved_models/reviews exports/reviews
    """


def main() -> None:
    """Run the command."""
    # A plugin that cannot be loaded warns; its users read no source lines.
    warnings.formatwarning = lambda message, *_, **__: f"Warning: {message}\n"
    app()
