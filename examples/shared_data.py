"""Where the examples find the data sets: `$KBERT_DATA` or `../shared/data`."""

import os
from pathlib import Path

from kbert.data.files import read_table

DEFAULT = Path(__file__).resolve().parents[2] / "shared" / "data"


def data_file(*parts: str) -> Path:
    """A file of a data set."""
    path = Path(os.environ.get("KBERT_DATA", DEFAULT), *parts)
    if not path.is_file():
        raise SystemExit(f"Expected {path}. Set KBERT_DATA to its data sets.")
    return path


def conll2003(part: str) -> tuple[list[str], list[list[str]]]:
    """CoNLL-2003 English (Reuters news): sentences, and a tag a word."""
    path = data_file("conll2003", f"{part}.txt")
    x, tags = read_table(path, ("text",), "label", format="conll")
    return x["text"], tags
