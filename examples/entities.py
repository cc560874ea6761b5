"""Named entities in news: the head `ner` on CoNLL-2003.

    python examples/entities.py --rows 3000

Trains on so many sentences, shows the figures on the test part, answers a few
texts, and asks the SavedModel the same.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kbert.utils.tensorflow import import_tensorflow

import_tensorflow()  # Without its start-up messages.

import tensorflow as tf
from rich.console import Console
from shared_data import conll2003

import kbert
from kbert.report.tables import print_report

FOLDER = Path(__file__).resolve().parents[1] / "saved_models"

TYPED = [
    "Angela Merkel met the Bank of England's governor in Frankfurt.",
    "🎉 Zoë moved from São Paulo to Manchester United!",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--preset", default="all-minilm-l6-v2")
    arguments = parser.parse_args()
    x, y = conll2003("train")
    x, y = x[: arguments.rows], y[: arguments.rows]
    x_test, y_test = conll2003("test")

    clf = kbert.Classifier(arguments.preset, head="ner", seed=0)
    clf.fit(x, y, epochs=arguments.epochs, learning_rate=2e-4)
    report = clf.evaluate(x_test[: arguments.rows], y_test[: arguments.rows])
    print_report(report, Console())

    path = clf.export(FOLDER / "entities-serving")
    serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    served = serve(text=tf.constant(TYPED))
    for i, (text, found) in enumerate(
        zip(TYPED, clf.predict(TYPED), strict=True)
    ):
        print(text)
        for entity in found:
            place = slice(entity["start"], entity["end"])
            assert text[place] == entity["text"]
            print(
                f"  {entity['type']} {entity['text']!r} {entity['score']:.3f}"
                f" characters {entity['start']} to {entity['end']}, bytes"
                f" {entity['start_byte']} to {entity['end_byte']}"
            )
        count = int(served["count"][i])
        names = [text.decode() for text in served["text"][i, :count].numpy()]
        assert names == [entity["text"] for entity in found]


if __name__ == "__main__":
    main()
