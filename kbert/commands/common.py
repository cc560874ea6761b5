"""Options and helpers that several commands share."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated
from typing import Any
from typing import Literal
from typing import get_args

import typer

from kbert.data.files import FORMATS
from kbert.data.files import Format
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.utils.json_text import dumps
from kbert.utils.notes import notes as notes
from kbert.utils.paths import as_path

if TYPE_CHECKING:
    from kbert.classifier import Classifier
    from kbert.heads.base import Head

Policy = Literal["float32", "bfloat16", "mixed_bfloat16", "mixed_float16"]

# === Options ===

ModelPath = Annotated[
    Path, typer.Argument(metavar="MODEL", help="Folder that train saved.")
]
TextColumns = Annotated[
    list[str] | None,
    typer.Option(
        "--text",
        metavar="COLUMN",
        help="Column of the text; twice (or A,B) for pairs of texts.",
    ),
]
LabelColumn = Annotated[
    str, typer.Option("--label", metavar="COLUMN", help="Column of the label.")
]
AllColumns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="A,B,...",
        help="Names of the columns, for a file whose first line has none.",
    ),
]
FileFormat = Annotated[
    Format | None,
    typer.Option(
        "--format",
        metavar="|".join(FORMATS),
        help="What the file is; by default as its name ends, else TSV.",
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option(
        "--encoding",
        metavar="NAME",
        help="What the text is written in, such as cp1252 or gb18030.",
        show_default="UTF-8, or as a byte order mark says",
    ),
]
TaskName = Annotated[
    str | None,
    typer.Option(
        "--task",
        metavar="NAME",
        help="Which task of a model that has several.",
        show_default=False,
    ),
]
BatchSize = Annotated[
    int,
    typer.Option(
        min=1, metavar="N", help="Rows computed at once; of long texts fewer."
    ),
]
Precision = Annotated[
    Policy | None,
    typer.Option(
        "--policy",
        metavar="NAME",
        help=f"Keras dtype policy: {', '.join(get_args(Policy))}. Those of "
        "16 bits are faster where the processor has instructions for them.",
        show_default="that of keras.json",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show errors only.")]
AsJson = Annotated[
    bool, typer.Option("--json", help="Write JSON to standard output.")
]

# === Helpers ===


def split(values: str | Iterable[str] | None) -> list[str]:
    """Names given by commas, by repeating an option, or both."""
    if values is None:
        return []
    if isinstance(values, str):
        values = [values]
    return [name.strip() for value in values for name in value.split(",")]


def print_json(value: Any) -> None:
    """Write one JSON document to standard output."""
    print(dumps(value, indent=2, ensure_ascii=False))


def check_readable(path: str | Path) -> None:
    """Raise `InputError` now rather than after TensorFlow's import."""
    if str(path) == "-":
        return
    try:
        open(as_path(path), "rb").close()
    except OSError as error:
        raise InputError(
            f"Expected a readable file. Received: {path}: {error.strerror}."
        ) from error


def start(policy: Policy | None = None) -> None:
    """Import TensorFlow and Keras, and set the policy of what is built."""
    from kbert.utils.tensorflow import import_tensorflow

    import_tensorflow()
    if policy is not None:
        import keras

        keras.config.set_dtype_policy(policy)


def load(model: Path, policy: Policy | None = None) -> Any:
    """A saved model, as `kbert.load` gives it."""
    start(policy)
    from kbert.loading import load

    return load(model)


def load_task(
    model: Path, task: str | None, policy: Policy | None = None
) -> Classifier:
    """A saved classifier, or the one that `--task` names of several.

    Raises:
        ConfigError: it is not named, or there are not several.
        UnknownNameError: there is none of that name.
    """
    loaded = load(model, policy)
    tasks = getattr(loaded, "tasks", None)
    if (tasks is None) != (task is None):
        raise ConfigError(
            f"Expected --task, one of {', '.join(tasks)}. Received: {model}, "
            f"a model of several tasks, without it."
            if tasks
            else f"Expected no --task for a model of one task. Received: "
            f"--task {task} for {model}."
        )
    return loaded if task is None else loaded[task]


def text_columns(
    inputs: tuple[str, ...], text: list[str] | None
) -> tuple[str, ...]:
    """The columns to read, one for each text that the model takes."""
    names = tuple(split(text)) or inputs
    if len(names) != len(inputs):
        raise ConfigError(
            f"Expected {len(inputs)} text column(s), as the model was "
            f"trained on {', '.join(inputs)}. Received: "
            f"--text {','.join(names)}."
        )
    return names


def file_format(
    format: Format | None, path: str | Path, head: type[Head] | Head
) -> str | None:
    """What `kbert.data.files` takes for an option, or for a head's files."""
    if format is not None:
        return format
    # These endings say what is inside; .json and .txt may be anything.
    if Path(path).suffix.lower() in (".tsv", ".csv", ".jsonl"):
        return None
    return head.file_format


def one_line(text: str) -> str:
    """A text in a column of a line; other separators are of the text."""
    return re.sub(r"\r\n|[\t\r\n]", " ", text)
