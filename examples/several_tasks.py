"""Two tasks on one backbone: spam or not, and the mood of a review.

    python examples/several_tasks.py --rows 2000 --alone

Trains the heads `spam` (SMS Spam Collection) and `sentiment` (SST-2)
together, shows the figures of each on texts it has not seen, exports one
SavedModel and asks both of its signatures. With --alone each head is also
trained on a backbone of its own, with the same rows and epochs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kbert.utils.tensorflow import import_tensorflow

import_tensorflow()  # Without its start-up messages.

import tensorflow as tf
from rich.console import Console
from rich.table import Table
from shared_data import data_file
from sklearn.model_selection import train_test_split

import kbert
from kbert.data.files import read_table

FOLDER = Path(__file__).resolve().parents[1] / "saved_models"
HEADS = {"spam": "spam", "mood": "sentiment"}
MOODS = {"0": "negative", "1": "positive"}

TYPED = [
    "Congratulations! You won a free phone, text WIN to 80080",
    "what a dull and lifeless film , two hours i will never get back",
    "Lovely evening, thank you so much for dinner",
]


def spam(rows: int) -> tuple:
    """Messages to train on, and all others."""
    path = data_file("sms_spam", "SMSSpamCollection")
    x, y = read_table(path, ("text",), "label", ["label", "text"])
    x, x_test, y, y_test = train_test_split(
        x["text"], y, test_size=0.2, stratify=y, random_state=0
    )
    return (x[:rows], y[:rows]), (x_test, y_test)


def mood(rows: int) -> tuple:
    """Reviews to train on, and SST-2's development part."""
    parts = []
    for part in ("train", "dev"):
        path = data_file("sst2", f"{part}.tsv")
        x, y = read_table(path, ("sentence",), "label")
        parts.append((x["sentence"], [MOODS[label] for label in y]))
    (x, y), test = parts
    x, _, y, _ = train_test_split(x, y, train_size=rows, random_state=0)
    return (x, y), test


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--preset", default="all-minilm-l6-v2")
    parser.add_argument("--sampling", default="proportional")
    parser.add_argument("--alone", action="store_true")
    arguments = parser.parse_args()
    console = Console()
    parts = {"spam": spam(arguments.rows), "mood": mood(arguments.rows)}
    options = {"epochs": arguments.epochs, "learning_rate": 1e-4}

    multi = kbert.MultiTask(arguments.preset, HEADS, seed=0)
    multi.fit(
        {name: train for name, (train, _) in parts.items()},
        validation_split=0.1,
        sampling=arguments.sampling,
        **options,
    )
    reports = {
        "together": multi.evaluate({n: test for n, (_, test) in parts.items()})
    }
    if arguments.alone:
        reports["alone"] = {}
        for name, (train, test) in parts.items():
            clf = kbert.Classifier(arguments.preset, HEADS[name], seed=0)
            clf.fit(*train, validation_split=0.1, **options)
            reports["alone"][name] = clf.evaluate(*test)

    table = Table("task", "trained", "test rows", "accuracy", "macro F1")
    for how, report in reports.items():
        for name, figures in report.items():
            table.add_row(
                name,
                how,
                f"{len(parts[name][1][0]):,}",
                f"{figures['accuracy']:.4f}",
                f"{figures['macro_f1']:.4f}",
            )
    console.print(table)

    path = multi.export(FOLDER / "several-tasks-serving")
    loaded = tf.saved_model.load(str(path))
    for name in multi:
        answers = loaded.signatures[name](text=tf.constant(TYPED))
        served = [label.decode() for label in answers["label"].numpy()]
        assert served == multi[name].predict(TYPED)
        console.print(f"Signature {name}:")
        for label, text in zip(served, TYPED, strict=True):
            console.print(f"  {label:9} {text}", markup=False)
    stored = sum(file.stat().st_size for file in path.rglob("*"))
    console.print(f"Saved: {path}, {stored / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
