"""The whole way on real text, as `make demo` runs it.

Fine-tunes a pretrained BERT, shows what it is worth on messages it has not
seen, answers a few typed ones, exports a SavedModel, and asks that in a
fresh process that has TensorFlow and tensorflow_text only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from kbert.utils.tensorflow import import_tensorflow

import_tensorflow()  # Without its start-up messages.

from real_text import real_text
from rich.console import Console
from rich.table import Table
from sklearn.model_selection import train_test_split

import kbert
from kbert.report.plots import plot_confusion
from kbert.report.tables import print_report

FOLDER = Path(__file__).resolve().parents[1] / "saved_models"

TYPED = {
    "spam": [
        "Are we still on for lunch tomorrow?",
        "URGENT! You have won a £1000 prize. Call 09061701461 now!",
        "Free entry in 2 a weekly competition, text WIN to 80086",
        "ok, will pick up milk on the way home :)",
        "Your parcel is waiting, confirm your bank details at the link",
    ],
    "sentiment": [
        "This is the best thing that has happened to me all year!",
        "The bus leaves at nine.",
        "Worst service ever, I want my money back.",
    ],
}

ASK = """
import json, sys
import tensorflow as tf
import tensorflow_text  # registers the ops of the tokenizer

path, texts = json.loads(sys.argv[1])
serve = tf.saved_model.load(path).signatures["serving_default"]
answer = serve(text=tf.constant(texts))
print(json.dumps([label.decode() for label in answer["label"].numpy()]))
"""


def main() -> None:
    console = Console(highlight=False)
    started = time.perf_counter()
    data = real_text(console.print)
    console.rule(f"{data.name}: {len(data.texts):,} texts, head {data.head}")
    x, x_test, y, y_test = train_test_split(
        data.texts,
        data.labels,
        test_size=0.2,
        stratify=data.labels,
        random_state=0,
    )

    clf = kbert.Classifier(head=data.head, seed=0)
    clf.fit(x, y, validation_split=0.1, epochs=2, learning_rate=1e-4)

    console.rule(f"{len(x_test):,} texts it has not seen")
    report = clf.evaluate(x_test, y_test)
    print_report(report, console)
    picture = plot_confusion(
        report["confusion_matrix"],
        [str(label) for label in clf.labels],
        FOLDER / f"{data.head}-confusion.png",
    )

    console.rule("Texts typed by hand")
    typed = TYPED[data.head]
    table = Table(box=None, pad_edge=False)
    for column in ("label", "score", "text"):
        table.add_column(column)
    for text, answer in zip(typed, clf.stream(typed), strict=True):
        table.add_row(answer["label"], f"{answer['score']:.3f}", text)
    console.print(table)

    console.rule("Save, export, and ask the SavedModel in a fresh process")
    clf.save(FOLDER / data.head)
    version = clf.export(FOLDER / f"{data.head}-serving", check_ops="2.18.0")
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps([str(version), typed])],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"The SavedModel did not answer:\n{done.stderr}")
    served = json.loads(done.stdout)
    expected = clf.predict(typed)
    console.print(f"It answers   {', '.join(served)}")
    console.print(f"predict says {', '.join(expected)}")
    if served != expected:
        raise SystemExit("The SavedModel and predict differ.")

    console.rule(f"Done in {time.perf_counter() - started:.0f} s")
    for what, path in (
        ("Confusion matrix", picture),
        ("Saved model", FOLDER / data.head),
        ("SavedModel for TF Serving", version),
    ):
        console.print(f"{what}: {os.path.relpath(path)}")


if __name__ == "__main__":
    main()
