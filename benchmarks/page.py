"""Puts a benchmark's table into its page of the docs."""

from __future__ import annotations

from pathlib import Path


def put_table(page: Path, text: str, name: str = "table") -> None:
    """Replace what is between the page's two marks of that name."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    head, found, rest = page.read_text(encoding="utf-8").partition(begin)
    if not found:
        raise ValueError(f"Expected {begin} in {page}. Received: none.")
    tail = rest.partition(end)[2]
    page.write_text(f"{head}{begin}\n\n{text}\n\n{end}{tail}", encoding="utf-8")
