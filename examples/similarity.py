"""How alike two sentences are: the head `regression` on STS-B.

python examples/similarity.py --rows 2000
"""

from __future__ import annotations

import argparse

from kbert.utils.tensorflow import import_tensorflow

import_tensorflow()  # Without its start-up messages.

from rich.console import Console
from shared_data import data_file

import kbert
from kbert.data.files import read_table
from kbert.report.tables import print_report

PAIRS = ("sentence1", "sentence2")


def stsb(part: str) -> tuple[dict, list]:
    """Pairs of sentences, and how alike people found them, 0 to 5."""
    return read_table(data_file("stsb", f"{part}.tsv"), PAIRS, "score")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--preset", default="all-minilm-l6-v2")
    arguments = parser.parse_args()
    x, y = stsb("train")
    x = {name: texts[: arguments.rows] for name, texts in x.items()}

    clf = kbert.Classifier(
        arguments.preset,
        head="regression",
        inputs=PAIRS,
        minimum=0,
        maximum=5,
        seed=0,
    )
    clf.fit(
        x,
        y[: arguments.rows],
        epochs=arguments.epochs,
        batch_size=16,
        learning_rate=1e-4,
    )
    print_report(clf.evaluate(*stsb("dev")), Console())
    for pair in (
        ("A man is playing a guitar.", "Someone plays the guitar."),
        ("A man is playing a guitar.", "The stock market fell."),
    ):
        print(f"{clf.predict([pair])[0]:.2f}", *pair, sep="  ")


if __name__ == "__main__":
    main()
