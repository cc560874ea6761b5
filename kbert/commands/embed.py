"""`kbert embed`, `kbert search` and `kbert summarize`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated

import typer

from kbert.checkpoints.presets import DEFAULT_PRESET
from kbert.commands import common
from kbert.data.files import PART
from kbert.data.files import read_texts
from kbert.data.lines import decode
from kbert.errors import CheckpointError
from kbert.errors import InputError
from kbert.utils.atomic import CONFIG
from kbert.utils.atomic import check_file
from kbert.utils.atomic import new_file
from kbert.utils.paths import as_path

if TYPE_CHECKING:
    from kbert.embedder import Embedder

Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="A preset from 'kbert presets', or the folder of an embedder.",
    ),
]
TextColumn = Annotated[
    str | None,
    typer.Option("--text", metavar="COLUMN", help="Column of the text."),
]
TextsFile = Annotated[
    str, typer.Argument(metavar="FILE", help="Texts; - for standard input.")
]


def embed(
    file: TextsFile,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE.npy", help="Where vectors go."
        ),
    ],
    model: Model = DEFAULT_PRESET,
    text: TextColumn = None,
    columns: common.AllColumns = None,
    format: common.FileFormat = None,
    encoding: common.Encoding = None,
    batch_size: common.BatchSize = 64,
    quiet: common.Quiet = False,
) -> None:
    """Write the vector of each text: a NumPy array, float32, a row a text.

    Standard input and .txt files have one text a line.

    [bold]Examples[/bold]

      kbert embed sentences.txt -o vectors.npy
      kbert embed mail.csv -o mail.npy --text body
    """
    check_file(output, [file])
    texts = _read(file, text, columns, format, encoding)
    embedder = _embedder(model)
    import numpy as np

    vectors = embedder.encode(texts, batch_size)
    with new_file(output) as temporary:
        with open(temporary, "wb") as stream:
            np.save(stream, vectors)
    common.notes(quiet).print(
        f"{len(vectors):,} vectors of {vectors.shape[1]}: {output}",
        markup=False,
        soft_wrap=True,
    )


def search(
    file: TextsFile,
    query: Annotated[
        list[str],
        typer.Option(
            "--query", metavar="TEXT", help="What to look for; repeatable."
        ),
    ],
    k: Annotated[
        int, typer.Option("-k", min=1, metavar="N", help="Texts to find.")
    ] = 5,
    model: Model = DEFAULT_PRESET,
    text: TextColumn = None,
    columns: common.AllColumns = None,
    format: common.FileFormat = None,
    encoding: common.Encoding = None,
    as_json: common.AsJson = False,
) -> None:
    """Find the texts of a file that are nearest in meaning to a query.

    A line each with score, line among the texts, and text.

    [bold]Examples[/bold]

      kbert search sentences.txt --query "how do I get my money back"
    """
    texts = _read(file, text, columns, format, encoding)
    embedder = _embedder(model)
    from kbert.search import SearchIndex

    found = SearchIndex(embedder, texts).search(query, k)
    if as_json:
        common.print_json(
            [
                {"query": q, "hits": [hit._asdict() for hit in hits]}
                for q, hits in zip(query, found, strict=True)
            ]
        )
        return
    for hits in found:
        for hit in hits:
            line = common.one_line(hit.text)
            print(f"{hit.score:.4f}\t{hit.row + 1}\t{line}")


def summarize(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="A document; - for standard input."
        ),
    ],
    sentences: Annotated[
        int,
        typer.Option("--sentences", "-n", min=1, metavar="N", help="To pick."),
    ] = 3,
    model: Model = DEFAULT_PRESET,
    encoding: common.Encoding = None,
    as_json: common.AsJson = False,
) -> None:
    """Pick the sentences that say most of a document.

    Nothing is rephrased: the sentences are the document's own, in its order.

    [bold]Examples[/bold]

      kbert summarize article.txt --sentences 2
    """
    try:
        data = (
            sys.stdin.buffer.read()
            if file == "-"
            else as_path(file).read_bytes()
        )
    except OSError as error:
        raise InputError(
            f"Expected a readable file. Received: {file}: {error.strerror}."
        ) from error
    document = decode(data, file, encoding)
    embedder = _embedder(model)
    from kbert.summary import summarize as pick

    picked = pick(document, sentences, embedder)
    if as_json:
        common.print_json(picked)
    else:
        print("\n".join(picked))


def _read(file, text, columns, format, encoding) -> list[str]:
    plain = file == "-" or file.endswith(".txt")
    if plain and not (text or columns or format):
        names, format = ["text"], "text"
    else:
        names = common.split(columns) or None
    column = (text or "text",)
    return [
        row[0]
        for part in read_texts(file, column, PART, names, format, encoding)
        for row in part
    ]


def _embedder(model: str) -> Embedder:
    common.start()
    from kbert.embedder import Embedder

    if not (as_path(model) / CONFIG).is_file():
        return Embedder(model)
    from kbert.loading import load

    embedder = load(model)
    if not isinstance(embedder, Embedder):
        raise CheckpointError(
            f"Expected the folder of an embedder. Received: --model {model}, "
            f"a {type(embedder).__name__}'s."
        )
    return embedder
