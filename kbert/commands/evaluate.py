"""`kbert evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from kbert.commands import common
from kbert.data.encodings import check_encoding
from kbert.data.files import read_table
from kbert.errors import ConfigError
from kbert.utils.atomic import check_file


def evaluate(
    model: common.ModelPath,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Labelled texts: TSV, CSV, JSON Lines, CoNLL or SQuAD.",
        ),
    ],
    task: common.TaskName = None,
    text: common.TextColumns = None,
    label: common.LabelColumn = "label",
    columns: common.AllColumns = None,
    format: common.FileFormat = None,
    encoding: common.Encoding = None,
    batch_size: common.BatchSize = 64,
    policy: common.Precision = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Draw the confusion matrix: .png, .svg or .pdf.",
        ),
    ] = None,
    as_json: common.AsJson = False,
) -> None:
    """Compare a model's answers with the labels of a file.

    The text columns are by default those the model was trained on.

    [bold]Examples[/bold]

      kbert evaluate saved_models/reviews test.tsv
      kbert evaluate saved_models/spam new.tsv --columns label,text
      kbert evaluate saved_models/reviews test.tsv --plot confusion.png
      kbert evaluate saved_models/entities test.txt
    """
    check_encoding(encoding)
    common.check_readable(file)
    if plot is not None:
        check_file(plot)
    clf = common.load_task(model, task, policy)
    names = common.text_columns(clf.inputs, text)
    form = common.file_format(format, file, clf.head)
    x, y = read_table(
        file,
        names,
        label,
        common.split(columns) or None,
        form,
        empty=not clf.head.exclusive,
        encoding=encoding,
    )
    report = clf.evaluate(
        x.renamed(clf.inputs),
        y,
        batch_size=batch_size,
    )
    if as_json:
        common.print_json(report)
    else:
        from kbert.report.tables import print_report

        print_report(report, Console())
    if plot is not None:
        from kbert.report.plots import plot_confusion

        if "confusion_matrix" not in report:
            raise ConfigError(
                f"Expected a head with a confusion matrix for --plot. "
                f"Received: {clf.head.name!r}, which has none."
            )
        plot_confusion(
            report["confusion_matrix"], list(report["per_class"]), plot
        )
        common.notes().print(f"Drawn: {plot}", markup=False, soft_wrap=True)
