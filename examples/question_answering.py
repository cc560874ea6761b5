"""Answers out of a text: the head `qa` on questions made from real news.

    python examples/question_answering.py --rows 3000

No set of questions that people asked is needed for this: a question asks for
a kind of name ("Which person?"), the context is a sentence of CoNLL-2003, and
the answer is the name of that kind that people marked in it, if there is just
one; if there is none, the context has no answer. So it shows how the head is
trained and what it answers, not how well it understands questions.
"""

from __future__ import annotations

import argparse

from kbert.utils.tensorflow import import_tensorflow

import_tensorflow()  # Without its start-up messages.

from rich.console import Console
from shared_data import conll2003

import kbert
from kbert.heads.tags import entities
from kbert.heads.tags import word_spans
from kbert.report.tables import print_report

QUESTIONS = {
    "PER": "Which person?",
    "LOC": "Which place?",
    "ORG": "Which organization?",
}


def questions(part: str, rows: int) -> tuple[list[tuple], list[dict]]:
    """Questions with their contexts, and the answers; at most `rows`."""
    x, y = [], []
    for row, (text, tags) in enumerate(zip(*conll2003(part), strict=True)):
        # In turn, so that a sentence is asked one thing only.
        kind = list(QUESTIONS)[row % len(QUESTIONS)]
        words = word_spans(text, len(tags))
        found = [
            (words[start][0], words[end - 1][1])
            for start, end, this in entities(tags)
            if this == kind
        ]
        if len(found) > 1:
            continue
        x.append((QUESTIONS[kind], text))
        y.append(
            {
                "text": [text[start:end] for start, end in found],
                "answer_start": [start for start, _ in found],
            }
        )
    return x[:rows], y[:rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--preset", default="all-minilm-l6-v2")
    arguments = parser.parse_args()

    clf = kbert.Classifier(arguments.preset, head="qa", seed=0)
    clf.fit(
        *questions("train", arguments.rows),
        validation_split=0.1,
        epochs=arguments.epochs,
        learning_rate=1e-4,
    )
    report = clf.evaluate(*questions("test", arguments.rows))
    print_report(report, Console())
    text = "Peter Blackburn flew from London to meet the World Bank."
    for question in QUESTIONS.values():
        row = next(clf.stream([(question, text)]))
        print(f"{question} {row['answer']!r} {row['score']:.3f}")


if __name__ == "__main__":
    main()
