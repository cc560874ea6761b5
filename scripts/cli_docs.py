"""Writes docs/cli.md from the commands themselves.

    python scripts/cli_docs.py

The text of `--help` is laid out anew, because what it looks like depends on
the terminal and on the version of typer.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import typer

from kbert.cli import app

TARGET = Path(__file__).parents[1] / "docs" / "cli.md"

HEADER = """\
# The command `kbert`

`kbert --help` and `kbert COMMAND --help` say the same in a terminal. This
page is written by `scripts/cli_docs.py`.

Results go to standard output, progress and remarks to standard error. A
command ends with 0 if all went well, 1 after an error that it explains, 2
after wrong usage, 130 after Ctrl-C and 141 when the reader of its output has
gone. `TF_CPP_MIN_LOG_LEVEL=0` shows TensorFlow's own messages.
"""


def render() -> str:
    """The page as Markdown."""
    group = typer.main.get_command(app)
    parts = [HEADER, *_command("kbert", group, "COMMAND ...")]
    for name, command in group.commands.items():
        parts += _command(f"kbert {name}", command, "")
    return "\n".join(parts)


def _command(name: str, command, rest: str) -> Iterator[str]:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    places = [p.metavar if p.required else f"[{p.metavar}]" for p in arguments]
    usage = [name, "[OPTIONS]", *places, rest]
    text, _, examples = inspect.cleandoc(command.help).partition(
        "[bold]Examples[/bold]"
    )
    yield f"## {name}\n"
    yield f"{text.strip()}\n"
    yield f"```text\n{' '.join(filter(None, usage))}\n```\n"
    if examples:
        yield f"```sh\n{inspect.cleandoc(examples)}\n```\n"
    if rows := [*map(_row, arguments + options)]:
        yield "| | | default |\n|---|---|---|"
        yield "\n".join(rows) + "\n"


def _row(parameter) -> str:
    if parameter.param_type_name == "argument":
        names = parameter.metavar
    else:
        names = ", ".join(parameter.opts)
        if parameter.metavar:
            names += f" {parameter.metavar}"
    default = parameter.default
    if isinstance(parameter.show_default, str):
        default = parameter.show_default
    if parameter.required:
        shown = "required"
    else:
        shown = "" if default is None or default is False else f"`{default}`"
    escaped = names.replace("|", "\\|")
    return f"| `{escaped}` | {parameter.help} | {shown} |"


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
    print(TARGET)
