"""`kbert vocab`."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Annotated

import typer

from kbert.commands import common
from kbert.commands import reading
from kbert.data.encodings import check_encoding
from kbert.utils.atomic import check_file
from kbert.utils.atomic import new_file


def vocab(
    files: reading.Files,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where to save, such as vocab.txt; a file there gives way.",
        ),
    ],
    size: Annotated[
        int,
        typer.Option(metavar="N", min=100, help="Tokens, special ones too."),
    ] = 8000,
    cased: reading.Cased = False,
    format: reading.Format = None,
    text_key: reading.TextKey = "text",
    encoding: common.Encoding = None,
    quiet: common.Quiet = False,
    as_json: common.AsJson = False,
) -> None:
    """Train a WordPiece vocabulary on raw text.

    [bold]Examples[/bold]

      kbert vocab enwiki/ -o vocab.txt --size 8000
      kbert vocab "zhwiki/*.tar.xz" -o vocab.txt --size 21128
      kbert vocab news.jsonl.gz -o vocab.txt --text-key body --cased
    """
    check_encoding(encoding)
    from kbert.data.documents import expand
    from kbert.pretraining.vocabulary import train_vocabulary
    from kbert.tokenizers.vocabulary import write_vocabulary

    check_file(output, expand(files))
    notes = common.notes(quiet)
    read, started = 0, time.perf_counter()
    with (
        reading.ReadingProgress(files, notes) as progress,
        new_file(output) as temporary,
    ):

        def count(size: int) -> None:
            nonlocal read
            read += size
            progress.update(read)

        tokens = train_vocabulary(
            files,
            size,
            not cased,
            format=format,
            text_key=text_key,
            encoding=encoding,
            on_read=count,
        )
        write_vocabulary(tokens, temporary)
    if as_json:
        common.print_json(
            {
                "vocabulary": str(output),
                "tokens": len(tokens),
                "lowercase": not cased,
                "seconds": round(time.perf_counter() - started, 1),
            }
        )
    saved = shlex.quote(str(output))
    given = " ".join(map(shlex.quote, files))
    option = " --cased" if cased else ""
    option += f" --encoding {shlex.quote(encoding)}" if encoding else ""
    for line in (
        f"Saved: {output}, {len(tokens):,} tokens",
        f"Next: kbert corpus {given} --vocab {saved}{option} -o corpus",
    ):
        notes.print(line, markup=False, soft_wrap=True)
