r"""Semantic search and a summary on real news: BBC, 2004-05.

    python examples/search.py                  # 400 articles
    python examples/search.py --rows 2225 --query "who won the election"

The articles are read from `$KBERT_DATA`, else `../shared/data`, in the folder
bbc_news. Their first two sentences and titles are what is searched.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from kbert.utils.tensorflow import import_tensorflow

import_tensorflow()  # Without its start-up messages.

import kbert
from kbert.data.sentences import split_sentences

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
import real_data

QUERIES = (
    "oil is getting more expensive",
    "a film prize",
    "an injured athlete cannot take part",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--query", action="append")
    arguments = parser.parse_args()

    columns, topics = real_data.bbc_news()
    # Every topic, evenly.
    step = max(1, len(topics) // arguments.rows)
    titles, bodies = columns["title"][::step], columns["body"][::step]
    topics = topics[::step]
    texts = [
        f"{title}. {' '.join(split_sentences(body)[:2])}"
        for title, body in zip(titles, bodies, strict=True)
    ]
    embedder = kbert.Embedder()
    started = time.perf_counter()
    index = kbert.SearchIndex(embedder, texts)
    seconds = time.perf_counter() - started
    print(f"{len(index):,} articles in {seconds:.0f} s\n")
    queries = arguments.query or list(QUERIES)
    best = None
    for query, hits in zip(queries, index.search(queries, k=3), strict=True):
        print(query)
        for hit in hits:
            print(f"  {hit.score:.3f}  {topics[hit.row]:13}  {titles[hit.row]}")
        best = best or hits[0].row
        print()
    print(f"Summary of {titles[best]!r}:")
    for sentence in kbert.summarize(bodies[best], 3, embedder):
        print(f"  {sentence}")


if __name__ == "__main__":
    main()
