"""`score`: files of texts, an exported model, and a folder of answers."""

from __future__ import annotations

import os
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kbert.data.documents import expand
from kbert.data.encodings import check_encoding
from kbert.errors import ConfigError
from kbert.errors import UnknownNameError
from kbert.exported.model import ServedModel
from kbert.exported.model import find_version
from kbert.exported.model import input_names
from kbert.exported.model import model_digest
from kbert.scoring.job import open_job
from kbert.scoring.part_files import check_columns
from kbert.scoring.part_files import score_part
from kbert.scoring.partitions import PART_ROWS
from kbert.scoring.partitions import Partition
from kbert.scoring.partitions import cut
from kbert.utils.checks import check_integer
from kbert.utils.checks import check_strings
from kbert.utils.paths import real_path

ENGINES = ("local", "ray")


def score(
    model: str | os.PathLike,
    files: str | os.PathLike | list[str | os.PathLike],
    output: str | os.PathLike,
    *,
    text: tuple[str, ...] | None = None,
    keep: tuple[str, ...] = (),
    format: str | None = None,
    encoding: str | None = None,
    engine: str = "local",
    workers: int | None = None,
    part_rows: int = PART_ROWS,
    batch_size: int = 64,
    on_part: Callable[[Partition, int, int], None] | None = None,
) -> dict[str, Any]:
    """Answer files of texts by parts, into a folder of Parquet files.

    A part is written whole or not at all. Killed at any moment and called
    again with the same files, model and columns, it goes on with the parts
    that are not there yet; `engine`, `workers` and `batch_size` may differ.

    Args:
        model: a version of an export, or the folder of its versions.
        files: Parquet, text (a text a line) or JSON Lines; files, folders
            or patterns. All workers have to see them under these names.
        output: folder of the answers.
        text: names of the columns of the texts, one for each of the model's
            inputs; by default named like them. In text files it is `text`.
        keep: names of other columns to take over.
        format: `"text"` or `"jsonl"`; by default as the files' names end.
        encoding: of text and JSON Lines, such as `"cp1251"`; by default
            UTF-8, or what a file's byte order mark says.
        engine: `"local"`, in this process; or `"ray"`, on a Ray cluster
            (that of `RAY_ADDRESS`, or one that is started on this machine).
        workers: processes of `"ray"`, of one CPU each; by default as many as
            there are CPUs.
        part_rows: rows of a part.
        batch_size: rows computed at once.
        on_part: called with each part that is done, how many are done and
            how many there are.

    Returns:
        `output`, `rows`, `parts` and `kept`, the parts that were there.

    Raises:
        InputError: a file is not as expected.
        UnknownNameError: no such engine, column or encoding.
        ConfigError: `output` holds another job, or a package is missing.
        CheckpointError: the model cannot be read or `output` not written.

    Example:

    >>> score("exports/spam", ["mail/"], "answers", keep=("id",))
    {'output': 'answers', 'rows': 250000, 'parts': 25, 'kept': 0}
    """
    if engine not in ENGINES:
        raise UnknownNameError("engine", engine, ENGINES)
    if workers is not None:
        workers = check_integer("workers", workers)
        if engine == "local":
            raise ConfigError(
                f"`workers` is of engine='ray' only. Received: "
                f"workers={workers}, engine={engine!r}"
            )
    batch_size = check_integer("batch_size", batch_size)
    if text is not None:
        text = check_strings("text", text, "('text',)")
    keep = check_strings("keep", keep, "('id',)")
    version = find_version(model)
    paths = [p.absolute() for p in expand(files) if p.name[0] not in "_."]
    check_encoding(encoding)
    parts = cut(paths, format, part_rows, encoding)
    columns = _columns(input_names(version), text, parts[0].format)
    # A column that is missing is found before any worker starts.
    check_columns(parts[0], (*columns.values(), *keep))
    settings = {
        "model": model_digest(version),
        "files": [_identity(path) for path in paths],
        "columns": columns,
        "keep": list(keep),
        "encoding": encoding,
        "part_rows": part_rows,
        "rows": sum(part.rows for part in parts),
    }
    folder = real_path(output)
    with open_job(folder, settings, parts) as job:
        pending = job.pending()
        kept = len(parts) - len(pending)
        run = _local if engine == "local" else _ray
        task = (version, batch_size, columns, tuple(keep), folder)
        for done, number in enumerate(run(pending, workers, *task), kept + 1):
            if on_part is not None:
                on_part(parts[number], done, len(parts))
        job.finish()
    return {
        "output": str(output),
        "rows": settings["rows"],
        "parts": len(parts),
        "kept": kept,
    }


def _columns(
    inputs: tuple[str, ...], text: tuple[str, ...] | None, format: str
) -> dict[str, str]:
    if not text:
        # A file with a text a line has no names in it.
        text = ("text",) if format == "text" and len(inputs) == 1 else inputs
    if len(text) != len(inputs):
        raise ConfigError(
            f"Expected {len(inputs)} text column(s), as the model takes "
            f"{', '.join(inputs)}. Received: {', '.join(text)}."
        )
    return dict(zip(inputs, text, strict=True))


def _identity(path: Path) -> list:
    """A file that was written anew is another one."""
    facts = path.stat()
    return [str(path), facts.st_size, facts.st_mtime_ns]


def _local(
    pending: list[Partition], _: Any, version: Path, batch_size: int, *task: Any
) -> Iterator[int]:
    if not pending:
        return
    model = ServedModel(version, batch_size)
    for part in pending:
        score_part(model, part, *task)
        yield part.number


def _ray(pending: list[Partition], *options: Any) -> Iterator[int]:
    from kbert.scoring.ray_engine import run

    return run(pending, *options)
