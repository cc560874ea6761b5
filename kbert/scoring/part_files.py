"""A part of some texts: read it, have it answered, write the answers."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from kbert.data.answers import columns as columns_of
from kbert.data.files import read_columns
from kbert.data.row_names import naming_rows
from kbert.data.row_names import rows_from
from kbert.data.texts import as_texts
from kbert.data.texts import check_utf8
from kbert.data.texts import decode_row
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.errors import UnknownNameError
from kbert.scoring.partitions import Partition
from kbert.scoring.partitions import import_parquet
from kbert.scoring.partitions import open_parquet
from kbert.utils.atomic import new_file

if TYPE_CHECKING:
    import pyarrow


def score_part(
    model: Callable[[dict], dict[str, np.ndarray]],
    part: Partition,
    columns: dict[str, str],
    keep: tuple[str, ...],
    folder: Path,
) -> Path:
    """Answer a part and write `part.name`, whole or not at all.

    The file has the columns of the texts, those to keep, and the model's
    answers, labels first; a row for each row, in their order.

    Args:
        model: a `kbert.exported.model.ServedModel`.
        part: what to answer.
        columns: names of the model's inputs to names of columns.
        keep: names of other columns to take over.
        folder: where to write.

    Raises:
        InputError: a row is not as expected, or the file cannot be read.
        UnknownNameError: the file has no such column.
        ConfigError: a column has the name of an answer.
        CheckpointError: the answers cannot be written.
    """
    table = read_part(part, tuple(columns.values()), keep)
    with naming_rows(f"row {{}} of {part.path}".format), rows_from(part.start):
        texts = {name: _texts(table[c]) for name, c in columns.items()}
        check_utf8(as_texts(texts, tuple(texts)))
        answers = model(texts)
    made = columns_of(answers)
    if taken := set(made) & set(table.column_names):
        raise ConfigError(
            f"Expected columns with other names than the answers "
            f"({', '.join(made)}). Received: {', '.join(sorted(taken))}. "
            f"Rename them, or do not keep them."
        )
    # Labels first, then the rest by name.
    for key in sorted(made, key=lambda k: (made[k].dtype.kind != "U", k)):
        column = _to_arrow(made[key], partial(_list_type, key, answers))
        table = table.append_column(key, column)
    target = folder / part.name
    with new_file(target) as temporary:
        import_parquet().write_table(table, temporary)
    return target


def _texts(column: pyarrow.ChunkedArray) -> list:
    import pyarrow as pa

    # Arrow does not look at what a file calls strings.
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = column.cast(pa.large_binary())
        return [
            decode_row(t, i, "texts") if t is not None else None
            for i, t in enumerate(column.to_pylist())
        ]
    return column.to_pylist()


def _to_arrow(value: np.ndarray, list_type: Callable[[], Any]) -> Any:
    """A column; rows that are arrays become lists of the same type."""
    import pyarrow as pa

    if value.ndim == 1 and value.dtype != object:
        return pa.array(value)
    if isinstance(value[0], list):
        return pa.array(value.tolist(), list_type())
    kind = value[0].dtype
    array = pa.array([row.tolist() for row in value])
    if kind.kind == "U" or value[0].ndim > 1:
        return array
    return array.cast(pa.list_(pa.from_numpy_dtype(kind)))


def _list_type(key: str, answers: dict[str, np.ndarray]) -> Any:
    """Of labels or entities; a part may have none to tell it by."""
    import pyarrow as pa

    if key != "entities":
        return pa.list_(pa.string())
    kinds = {k: np.asarray(v[0]).dtype for k, v in answers.items()}
    return pa.list_(
        pa.struct(
            {
                k: pa.string() if d.kind in "UO" else pa.from_numpy_dtype(d)
                for k, d in kinds.items()
                if k != "count"
            }
        )
    )


def read_part(
    part: Partition, texts: tuple[str, ...], keep: tuple[str, ...] = ()
) -> pyarrow.Table:
    """The rows of a part, with some of its columns."""
    import_parquet()
    import pyarrow as pa

    names = list(dict.fromkeys((*texts, *keep)))
    if part.format == "parquet":
        return _read_parquet(part, names)
    others = tuple(name for name in names if name not in texts)
    columns = read_columns(
        part.path, texts, others, part.format, part.span, part.encoding
    )
    try:
        return pa.table(columns)
    # Halves of surrogate pairs inside of lists and objects.
    except (pa.ArrowException, UnicodeEncodeError) as error:
        raise InputError(
            f"Expected values of one kind in each column that is kept. "
            f"Received: {part.path}: {error}."
        ) from error


def check_columns(part: Partition, names: Iterable[str]) -> None:
    """Refuse columns that the file of a part does not have.

    Raises:
        UnknownNameError: one of them; JSON shows it only row by row.
    """
    if part.format == "text":
        known = ["text"]
    elif part.format == "parquet":
        with open_parquet(part.path) as file:
            known = file.schema_arrow.names
    else:
        return
    for name in names:
        if name not in known:
            raise UnknownNameError(
                "column", name, known, f"The file is {part.path}."
            )


def _read_parquet(part: Partition, names: list[str]) -> Any:
    import pyarrow as pa

    check_columns(part, names)
    file = open_parquet(part.path)
    groups, skip, seen = [], 0, 0
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        if seen + rows <= part.start:
            skip += rows
        elif seen < part.start + part.rows:
            groups.append(group)
        seen += rows
    # A row group may be huge: only what is needed of it is kept in memory.
    begin, wanted, taken = part.start - skip, part.rows, []
    for batch in file.iter_batches(row_groups=groups, columns=names):
        piece = batch.slice(begin, wanted)
        begin = max(0, begin - batch.num_rows)
        wanted -= piece.num_rows
        taken.append(piece)
        if not wanted:
            break
    file.close()
    return pa.Table.from_batches(taken)
