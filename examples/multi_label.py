"""Several labels a text: the head `multi_label` on news sentences.

    python examples/multi_label.py --rows 3000

The labels of a sentence of CoNLL-2003 are the kinds of names that people
marked in it: places, persons, organizations, others, some of them or none.
"""

from __future__ import annotations

import argparse

from kbert.utils.tensorflow import import_tensorflow

import_tensorflow()  # Without its start-up messages.

from rich.console import Console
from shared_data import conll2003

import kbert
from kbert.heads.tags import entities
from kbert.report.tables import print_report


def kinds(part: str, rows: int) -> tuple[list[str], list[list[str]]]:
    """Sentences, and the kinds of names in each."""
    x, y = conll2003(part)
    return x[:rows], [
        sorted({kind for *_, kind in entities(tags)}) for tags in y[:rows]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--preset", default="all-minilm-l6-v2")
    arguments = parser.parse_args()

    clf = kbert.Classifier(arguments.preset, head="multi_label", seed=0)
    clf.fit(
        *kinds("train", arguments.rows),
        epochs=arguments.epochs,
        learning_rate=1e-4,
    )
    report = clf.evaluate(*kinds("test", arguments.rows))
    print_report(report, Console())
    for text in ("Peter Blackburn left London.", "Shares fell by 3 percent."):
        print(clf.predict([text])[0], text)


if __name__ == "__main__":
    main()
