"""`kbert corpus`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated
from typing import Literal

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from kbert.commands import common
from kbert.commands import reading
from kbert.data.encodings import check_encoding
from kbert.errors import CheckpointError
from kbert.utils.paths import as_path

Segmenter = Literal["jieba"]


def corpus(
    files: reading.Files,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Where to save the corpus."
        ),
    ],
    vocab: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Vocabulary that vocab saved."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Take the vocabulary of a name from 'kbert presets', or of a "
            "folder in Hugging Face form.",
        ),
    ] = None,
    cased: reading.Cased = False,
    format: reading.Format = None,
    text_key: reading.TextKey = "text",
    encoding: common.Encoding = None,
    segmenter: Annotated[
        Segmenter | None,
        typer.Option(
            metavar="jieba", help="Mark Chinese words, to mask whole ones."
        ),
    ] = None,
    shard_tokens: Annotated[
        int, typer.Option(metavar="N", min=1, help="Tokens in a shard.")
    ] = 2**24,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Threads that tokenize.",
            show_default="one a core",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a corpus saved before.")
    ] = False,
    quiet: common.Quiet = False,
    as_json: common.AsJson = False,
) -> None:
    """Tokenize raw text once, to pretrain on it.

    Documents are parted by blank lines in plain text; articles of
    WikiExtractor and WikiText and lines of JSON Lines are documents.

    [bold]Examples[/bold]

      kbert corpus enwiki/ --vocab vocab.txt -o corpora/enwiki
      kbert corpus "books/**/*.txt.gz" --preset all-minilm-l6-v2 -o corpora/a
      kbert corpus zhwiki.tar.xz --vocab vocab.txt --segmenter jieba -o zh
    """
    if (vocab is None) == (preset is None):
        raise typer.BadParameter("Give either --vocab or --preset.")
    if preset is not None and cased:
        raise typer.BadParameter("--cased goes with --vocab; a preset knows.")
    check_encoding(encoding)
    if as_path(output).exists() and not force:
        raise CheckpointError(
            f"Expected a new folder. Received: --output {output}, which "
            f"exists. Choose another, or replace a corpus with --force."
        )
    if vocab is not None:
        common.check_readable(vocab)
    notes = common.notes(quiet)
    with reading.ReadingProgress(files, notes) as progress:
        tokenizer = _tokenizer(vocab, preset, not cased)
        from kbert.pretraining.corpus_builder import build_corpus

        started = time.perf_counter()

        def show(read: int, documents: int, tokens: int) -> None:
            rate = tokens / (time.perf_counter() - started)
            progress.update(
                read,
                f"{documents:,} documents  {tokens:,} tokens  "
                f"{rate:,.0f} tokens/s",
            )

        made = build_corpus(
            files,
            tokenizer,
            output,
            format=format,
            text_key=text_key,
            encoding=encoding,
            segmenter=segmenter,
            shard_tokens=shard_tokens,
            workers=workers,
            replace=force,
            progress=show,
        )
        seconds = time.perf_counter() - started
    from kbert.pretraining.statistics import statistics

    found = statistics(made)
    if as_json:
        common.print_json(
            {"corpus": str(output)}
            | found
            | {"seconds": round(seconds, 1), "digest": made.digest}
        )
        return
    Console(highlight=False).print(_table(found))
    notes.print(
        f"Saved: {output}, {made.tokens / seconds:,.0f} tokens/s",
        markup=False,
        soft_wrap=True,
    )


def _tokenizer(vocab: Path | None, preset: str | None, lowercase: bool):
    common.start()
    if preset is not None:
        from kbert.checkpoints.loading import open_checkpoint

        return open_checkpoint(preset).tokenizer
    from kbert.tokenizers.tokenizer import Tokenizer

    return Tokenizer.from_file(vocab, lowercase=lowercase)


def _table(found: dict) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name in ("documents", "sentences", "tokens"):
        table.add_row(name, f"{found[name]:,}")
    table.add_row(
        "tokens a sentence (median)", f"{found['tokens_per_sentence']:,}"
    )
    table.add_row(
        "sentences a document (median)", f"{found['sentences_per_document']:,}"
    )
    table.add_row(
        "[UNK] share".replace("[", r"\["), f"{found['unknown_share']:.3%}"
    )
    table.add_row("unigram entropy", f"{found['unigram_entropy']:.3f} nats")
    table.add_row("shards", f"{found['shards']:,}")
    table.add_row("size", decimal(found["bytes"]))
    return table
