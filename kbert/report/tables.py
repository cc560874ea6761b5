"""An evaluation report as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kbert.errors import listed

# Wider matrices do not fit; the most frequent errors are listed instead.
MATRIX_LABELS = 10
ERRORS = 10


def print_report(report: dict[str, Any], console: Console) -> None:
    """Print what `Classifier.evaluate` returns.

    Args:
        report: any head's report. Single values, `per_class` (a dict of
            metrics for each label) and `confusion_matrix` (rows are the true
            labels, in the order of `per_class`) are known; of what else it
            holds, dicts are shown by `outer.inner` names.
        console: a `rich.console.Console`.

    Example:

    >>> print_report(clf.evaluate(texts, labels), rich.console.Console())
    """
    for number, table in enumerate(report_tables(report)):
        if number:
            console.print()
        console.print(table)


def report_tables(report: dict[str, Any]) -> Iterator[Table]:
    """The tables of a report; see `print_report`."""
    report = dict(report)
    per_class = report.pop("per_class", None)
    matrix = report.pop("confusion_matrix", None)
    if values := dict(_flatten(report)):
        yield _values(values)
    if per_class:
        yield _per_class(per_class)
    if matrix:
        labels = list(per_class or map(str, range(len(matrix))))
        if len(labels) <= MATRIX_LABELS:
            yield _matrix(matrix, labels)
        elif errors := _errors(matrix, labels):
            yield errors


def _flatten(values: dict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            if value:  # Such as the labels that are absent.
                yield f"{prefix}{name}", listed(value, MATRIX_LABELS)
        else:
            yield f"{prefix}{name}", value


def _table(title: str, *columns: str) -> Table:
    """A table whose first column is text and whose others are numbers."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=None,
        pad_edge=False,
    )
    for number, name in enumerate(columns):
        table.add_column(
            escape(name),
            justify="right" if number else "left",
            overflow="fold",
        )
    return table


def _values(values: dict[str, Any]) -> Table:
    table = _table("Result", "metric", "value")
    for name, value in values.items():
        table.add_row(escape(name), _number(value))
    return table


def _per_class(per_class: dict[str, dict]) -> Table:
    names = list(next(iter(per_class.values())))
    table = _table("Each label", "label", *names)
    for label, row in per_class.items():
        cells = [
            f"{row[name]:,.0f}" if name == "support" else _number(row[name])
            for name in names
        ]
        table.add_row(escape(label), *cells)
    return table


def _matrix(matrix: list[list[int]], labels: list[str]) -> Table:
    table = _table("Confusion matrix", "true \\ predicted", *labels)
    for i, row in enumerate(matrix):
        cells = [
            f"[bold green]{count:,}[/]"
            if i == j
            else f"[red]{count:,}[/]"
            if count
            else "[dim]0[/]"
            for j, count in enumerate(row)
        ]
        table.add_row(escape(labels[i]), *cells)
    return table


def _errors(matrix: list[list[int]], labels: list[str]) -> Table | None:
    errors = sorted(
        (
            (count, labels[i], labels[j])
            for i, row in enumerate(matrix)
            for j, count in enumerate(row)
            if count and i != j
        ),
        key=lambda error: -error[0],
    )
    if not errors:
        return None
    table = _table("Most frequent errors", "true > predicted", "rows")
    for count, true, predicted in errors[:ERRORS]:
        table.add_row(escape(f"{true} > {predicted}"), f"{count:,}")
    return table


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return escape(str(value))
