"""`kbert predict`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated
from typing import Any

import typer

from kbert.commands import common
from kbert.commands import scoring
from kbert.data.encodings import check_encoding
from kbert.data.files import read_texts
from kbert.data.row_names import rows_of
from kbert.scoring.partitions import PART_ROWS
from kbert.utils.json_text import dumps
from kbert.utils.paths import as_path

if TYPE_CHECKING:
    from kbert.classifier import Classifier
    from kbert.onnx_model import OnnxModel

PROBABILITIES = "probabilities"

# What an export for onnxruntime holds.
ONNX = "model.onnx"


def predict(
    model: common.ModelPath,
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE",
            help="Texts; - for standard input, a text a line.",
            show_default="-",
        ),
    ] = None,
    input: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            "-i",
            metavar="TEXT",
            help="A text to answer instead of a file; repeatable.",
        ),
    ] = None,
    task: common.TaskName = None,
    text: common.TextColumns = None,
    columns: common.AllColumns = None,
    format: common.FileFormat = None,
    encoding: common.Encoding = None,
    proba: Annotated[
        bool,
        typer.Option("--proba", help="Add the probability of every label."),
    ] = False,
    window: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Rows read before they are answered."
        ),
    ] = 256,
    batch_size: common.BatchSize = 64,
    policy: common.Precision = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write JSON Lines, one a row.")
    ] = False,
    output: scoring.Output = None,
    engine: scoring.EngineName = "local",
    workers: scoring.Workers = None,
    keep: scoring.Keep = None,
    part_rows: scoring.PartRows = PART_ROWS,
) -> None:
    """Answer texts: a line each with label, score and text.

    MODEL may also be an ONNX export (kbert convert --to onnx, or int8), which
    starts in a fraction of the time, as it takes no TensorFlow.

    Answers come while the input is still being read. Standard input and
    .txt files have one text a line (texts of a pair with a tab between),
    unless --text, --columns or --format say otherwise.

    With --output, MODEL is an export and FILE a file or folder of Parquet,
    a text a line (.txt) or JSON Lines (.jsonl). Answers go to the folder by
    parts; killed and started again, the command goes on. --engine ray shares
    the parts among processes and machines.

    [bold]Examples[/bold]

      kbert predict saved_models/spam --input "Win a prize!"
      kbert predict saved_models/spam new.csv --text body --json
      kbert predict saved_models/entities -i "Ann moved to Oslo." --json
      tail -f mail.log | kbert predict saved_models/spam -
      kbert predict exports/spam mail.parquet --output answers --engine ray
    """
    if output is not None or engine != "local":
        if input or columns or proba or as_json or task or policy:
            raise typer.BadParameter(
                "--input, --task, --columns, --proba, --policy and --json "
                "are not for --output."
            )
        scoring.run(
            *(model, file, output, text, keep, format, encoding),
            *(engine, workers, part_rows, batch_size),
        )
        return
    if keep or workers is not None or part_rows != PART_ROWS:
        raise typer.BadParameter(
            "--keep, --workers and --part-rows go with --output."
        )
    if file is not None and input:
        raise typer.BadParameter("Give a file or --input, not both.")
    check_encoding(encoding)
    path = "-" if file is None else file
    if not input:
        common.check_readable(path)
    clf = _load(model, task, policy)
    if input:
        rows = _rows_of(input, len(clf.inputs), window)
    else:
        if path == "-" and sys.stdin.isatty():
            common.notes().print("One text a line; Ctrl-D ends.")
        plain = path == "-" or path.endswith(".txt")
        if plain and not (text or columns or format):
            names = list(clf.inputs)
            form = "text" if len(names) == 1 else "tsv"
            rows = read_texts(path, clf.inputs, window, names, form, encoding)
        else:
            names = common.text_columns(clf.inputs, text)
            form, head = format, getattr(clf, "head", None)
            if head is not None:
                form = common.file_format(format, path, head)
            named = common.split(columns) or None
            rows = read_texts(path, names, window, named, form, encoding)
    for part in rows:
        for line in _answer(clf, part, batch_size, proba, as_json):
            print(line)
        sys.stdout.flush()


def _load(
    model: Path, task: str | None, policy: common.Policy | None
) -> Classifier | OnnxModel:
    if not (as_path(model) / ONNX).is_file():
        return common.load_task(model, task, policy)
    if task is not None or policy is not None:
        raise typer.BadParameter(
            "An ONNX export has one task and one precision. Leave --task and "
            "--policy out."
        )
    # Imported here: it starts without TensorFlow, and needs an extra.
    from kbert.onnx_model import OnnxModel

    return OnnxModel(model)


def _rows_of(texts: list[str], width: int, size: int) -> Iterator[list]:
    if len(texts) % width:
        raise typer.BadParameter(
            f"The model takes {width} texts a row. Received: {len(texts)}.",
            param_hint="--input",
        )
    rows = [tuple(texts[i : i + width]) for i in range(0, len(texts), width)]
    yield from (rows[i : i + size] for i in range(0, len(rows), size))


def _answer(
    clf: Classifier | OnnxModel,
    rows: list,
    batch_size: int,
    proba: bool,
    as_json: bool,
) -> Iterator[str]:
    # Imported here: the help has no use for it.
    from kbert.data.answers import OUTPUTS

    texts = [row[0] for row in rows] if len(clf.inputs) == 1 else rows
    with rows_of(rows):
        answers = [*clf.stream(texts, batch_size, window=len(rows))]
    head: Any = getattr(clf, "head", clf)
    first = (*OUTPUTS[:4], *head.label_outputs)
    for row, answer in zip(rows, answers, strict=True):
        chances = answer.pop(PROBABILITIES, None)
        # Labels first, then the rest by name.
        keys = sorted(answer, key=lambda key: (key not in first, key))
        values = {key: _plain(answer[key]) for key in keys}
        if proba and chances is not None:
            values[PROBABILITIES] = {
                str(label): _plain(chance)
                for label, chance in zip(clf.labels or (), chances, strict=True)
            }
        if as_json:
            texts = dict(zip(clf.inputs, row, strict=True))
            yield dumps(texts | values, ensure_ascii=False)
        else:
            yield "\t".join([*_cells(values), *map(common.one_line, row)])


def _plain(value: Any) -> Any:
    """NumPy's value as JSON can hold it, to the digits that mean something."""
    # Imported here: the help has no use for it.
    import numpy as np

    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    value = np.asarray(value)
    if value.dtype.kind == "f":
        value = value.astype("float64").round(6)
    return value.tolist()


def _cells(values: dict[str, Any]) -> Iterator[str]:
    for value in values.values():
        if isinstance(value, dict):
            yield from (f"{key}={part:.4f}" for key, part in value.items())
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for part in value:
                yield dumps(part, ensure_ascii=False)
        elif isinstance(value, list):
            yield " ".join(map(str, value))
        elif isinstance(value, float):
            yield f"{value:.4f}"
        else:
            yield common.one_line(str(value))
