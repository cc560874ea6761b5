r"""What kbert is worth on real data, beside a linear SVM.

    python benchmarks/quality.py                 # every row, 3 seeds
    python benchmarks/quality.py sms bbc --seeds 1
    python benchmarks/quality.py sst2            # the full training set, long
    python benchmarks/quality.py conll2003 stsb cola --seeds 1
    python benchmarks/quality.py sst2 bbc --preset kbert_tiny_en \
        --epochs 6 --learning-rate 5e-4

Each row trains kbert and a TF-IDF + linear SVM on the same texts and prints
the mean and the standard deviation over the seeds. A seed decides the split
(where the data has none), the sample, the initialization and the shuffling.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

from kbert.quiet import import_tensorflow

import_tensorflow()  # Without its start-up messages.

import datasets
import keras
import numpy as np
from machine import machine
from rich.console import Console
from rich.table import Table
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import accuracy_score
from sklearn.metrics import f1_score
from sklearn.metrics import matthews_corrcoef
from sklearn.metrics import roc_curve
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

import kbert

Scores = dict[str, float]


def recall_at(rate: float, positive: np.ndarray, score: np.ndarray) -> float:
    """Recall where at most `rate` of the negatives are flagged."""
    flagged, recall, _ = roc_curve(positive, score)
    return float(recall[flagged <= rate].max())


def scores_of(y: list, predicted: list) -> Scores:
    return {
        "accuracy": accuracy_score(y, predicted),
        "macro_f1": f1_score(y, predicted, average="macro"),
    }


def split(x, y: list, seed: int) -> tuple:
    """80/20, each class in proportion; `x` may be a dict of columns."""
    train, test = train_test_split(
        np.arange(len(y)), test_size=0.2, stratify=y, random_state=seed
    )

    def take(rows):
        if isinstance(x, dict):
            return {k: [v[i] for i in rows] for k, v in x.items()}
        return [x[i] for i in rows]

    labels = np.array(y)
    return (
        take(train),
        labels[train].tolist(),
        take(test),
        labels[test].tolist(),
    )


def svm(x, y: list, x_test, characters: bool = False):
    """TF-IDF of words and pairs of words (of characters in Chinese)."""
    if isinstance(x, dict):
        x, x_test = (
            [" ".join(texts) for texts in zip(*columns.values(), strict=True)]
            for columns in (x, x_test)
        )
    model = make_pipeline(
        TfidfVectorizer(
            analyzer="char" if characters else "word",
            ngram_range=(1, 2),
            sublinear_tf=True,
        ),
        LinearSVC(),
    )
    model.fit(x, y)
    return model.predict(x_test).tolist(), model.decision_function(x_test)


@dataclass(frozen=True)
class Start:
    """What a row's model starts from, and what replaces a row's own recipe."""

    model: dict[str, str] = field(default_factory=dict)
    epochs: int | None = None
    learning_rate: float | None = None
    folder: Path | None = None

    def fit(
        self, epochs: int, learning_rate: float, batch_size: int = 32
    ) -> dict:
        """Arguments of `Classifier.fit`."""
        return {
            "epochs": self.epochs or epochs,
            "learning_rate": self.learning_rate or learning_rate,
            "batch_size": batch_size,
        }

    def keep(self, clf: kbert.Classifier, row: str, seed: int) -> None:
        """Save what was trained, if a folder was given."""
        if self.folder is not None:
            clf.save(self.folder / f"{row}-{seed}")


# === Rows: seed and start -> (scores of kbert, scores of the SVM) ===


def sms(seed: int, start: Start) -> tuple[Scores, Scores]:
    """SMS Spam, stratified 80/20, head `spam`."""
    x, y, x_test, y_test = split(*datasets.sms_spam(), seed)
    clf = kbert.Classifier(head="spam", seed=seed, **start.model)
    clf.fit(x, y, **start.fit(3, 1e-4))
    answers = clf.answers(x_test)
    spam = np.array(y_test) == "spam"
    ours = scores_of(y_test, clf.predict(x_test))
    ours["recall at 0.5% FPR"] = recall_at(0.005, spam, answers["score"])
    predicted, decision = svm(x, y, x_test)
    peer = scores_of(y_test, predicted)
    peer["recall at 0.5% FPR"] = recall_at(0.005, spam, decision)
    return ours, peer


def sst2(
    seed: int, start: Start, rows: int | None = None
) -> tuple[Scores, Scores]:
    """SST-2 dev, trained on the full training set."""
    x, y = datasets.sst2("train")
    if rows is not None:
        x, _, y, _ = train_test_split(
            x, y, train_size=rows, stratify=y, random_state=seed
        )
    x_test, y_test = datasets.sst2("dev")
    clf = kbert.Classifier(seed=seed, **start.model)
    clf.fit(x, y, **start.fit(3, 1e-4))
    return (
        scores_of(y_test, clf.predict(x_test)),
        scores_of(y_test, svm(x, y, x_test)[0]),
    )


def sst2_10k(seed: int, start: Start) -> tuple[Scores, Scores]:
    """SST-2 dev, trained on 10,000 sentences."""
    return sst2(seed, start, 10_000)


def bbc(seed: int, start: Start) -> tuple[Scores, Scores]:
    """BBC news, 5 topics, stratified 80/20, head `news`."""
    x, y, x_test, y_test = split(*datasets.bbc_news(), seed)
    clf = kbert.Classifier(
        head="news", max_length=128, seed=seed, **start.model
    )
    clf.fit(x, y, **start.fit(2, 1e-4))
    return (
        scores_of(y_test, clf.predict(x_test)),
        scores_of(y_test, svm(x, y, x_test)[0]),
    )


def thucnews(seed: int, start: Start) -> tuple[Scores, Scores]:
    """THUCNews titles, dev: Chinese, a random 4x256 backbone, 20,000 titles."""
    x, y = datasets.thucnews("train")
    x, _, y, _ = train_test_split(
        x, y, train_size=20_000, stratify=y, random_state=seed
    )
    x_test, y_test = datasets.thucnews("dev")
    model = {
        "preset": "random:mini",
        "vocabulary": datasets.vocabulary("bert-base-chinese"),
    }
    clf = kbert.Classifier(max_length=48, seed=seed, **(model | start.model))
    clf.fit(x, y, **start.fit(4, 5e-4))
    return (
        scores_of(y_test, clf.predict(x_test)),
        scores_of(y_test, svm(x, y, x_test, characters=True)[0]),
    )


def conll2003(seed: int, start: Start) -> tuple[Scores, Scores]:
    """CoNLL-2003 test, head `ner`, entities."""
    x, y = datasets.conll2003("train")
    x_test, y_test = datasets.conll2003("test")
    clf = kbert.Classifier(head="ner", seed=seed, **start.model)
    clf.fit(x, y, **start.fit(3, 2e-4))
    start.keep(clf, "conll2003", seed)
    report = clf.evaluate(x_test, y_test)
    found = clf.predict(x_test)
    ours = {"F1": report["f1"]}
    with contextlib.suppress(ImportError):
        from seqeval.metrics import f1_score as seqeval_f1

        tags = [tags_of(*row) for row in zip(x_test, found, strict=True)]
        ours["F1 by seqeval"] = float(seqeval_f1(y_test, tags))
    rows = np.random.default_rng(seed).choice(len(x_test), 1000, replace=False)
    ours["of 1,000 sentences with exact spans"] = float(
        np.mean([exact(x_test[i], found[i]) for i in rows])
    )
    return ours, {}


def tags_of(text: str, entities: list[dict]) -> list[str]:
    """BIO tags of the words of a text, each by its first character."""
    tags, place = [], 0
    for word in text.split(" "):
        tag = "O"
        for entity in entities:
            if entity["start"] <= place < entity["end"]:
                begins = place == entity["start"]
                tag = f"{'B' if begins else 'I'}-{entity['type']}"
        tags.append(tag)
        place += len(word) + 1
    return tags


def exact(text: str, entities: list[dict]) -> bool:
    """Whether both kinds of spans slice every entity out of the text."""
    raw = text.encode()
    return all(
        text[e["start"] : e["end"]] == e["text"]
        and raw[e["start_byte"] : e["end_byte"]].decode() == e["text"]
        for e in entities
    )


def stsb(seed: int, start: Start) -> tuple[Scores, Scores]:
    """STS-B dev, head `regression` on pairs."""
    x, y = datasets.stsb("train")
    x_test, y_test = datasets.stsb("dev")
    clf = kbert.Classifier(
        head="regression",
        inputs=("sentence1", "sentence2"),
        minimum=0,
        maximum=5,
        seed=seed,
        **start.model,
    )
    clf.fit(x, y, **start.fit(4, 1e-4, 16))
    start.keep(clf, "stsb", seed)
    report = clf.evaluate(x_test, y_test)
    return {key: report[key] for key in ("pearson", "spearman")}, {}


def cola(seed: int, start: Start) -> tuple[Scores, Scores]:
    """CoLA dev."""
    x, y = datasets.cola("train")
    x_test, y_test = datasets.cola("dev")
    clf = kbert.Classifier(seed=seed, **start.model)
    clf.fit(x, y, **start.fit(4, 1e-4))
    predicted, _ = svm(x, y, x_test)
    return (
        {"matthews": matthews_corrcoef(y_test, clf.predict(x_test))},
        {"matthews": matthews_corrcoef(y_test, predicted)},
    )


ROWS: dict[str, Callable[[int, Start], tuple[Scores, Scores]]] = {
    "sms": sms,
    "sst2-10k": sst2_10k,
    "bbc": bbc,
    "thucnews": thucnews,
    "stsb": stsb,
    "cola": cola,
    "conll2003": conll2003,
    "sst2": sst2,
}

# They run only when they are asked for.
LONG = ("conll2003", "sst2")


def mean_sd(values: list[float]) -> str:
    mean = f"{100 * statistics.mean(values):.2f}"
    if len(values) < 2:
        return mean
    return f"{mean} ± {100 * statistics.stdev(values):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--policy",
        default="float32",
        help="Keras dtype policy; mixed_bfloat16 is faster where the "
        "processor has it",
    )
    parser.add_argument(
        "--preset", help="what to start from; by default each row's own"
    )
    parser.add_argument(
        "--vocabulary", help="vocab.txt, for a preset such as random:2x128"
    )
    parser.add_argument("--epochs", type=int, help="of every row")
    parser.add_argument("--learning-rate", type=float, help="of every row")
    parser.add_argument("--save", type=Path, help="folder for some models")
    parser.add_argument("--log", type=Path, help="JSON Lines, a run a line")
    arguments = parser.parse_args()
    keras.config.set_dtype_policy(arguments.policy)
    rows = arguments.rows or [name for name in ROWS if name not in LONG]
    if unknown := [name for name in rows if name not in ROWS]:
        parser.error(f"unknown row {unknown[0]}; known: {', '.join(ROWS)}")

    model = {"preset": arguments.preset, "vocabulary": arguments.vocabulary}
    start = Start(
        {key: value for key, value in model.items() if value is not None},
        arguments.epochs,
        arguments.learning_rate,
        arguments.save,
    )

    header = (
        f"{machine('keras', 'tensorflow', 'scikit-learn')}, "
        f"{keras.backend.backend()} in {arguments.policy}"
    )
    table = Table(title=header)
    for title in ("row", "metric", "kbert", "TF-IDF + SVM", "minutes a seed"):
        table.add_column(title, justify="left" if title == "row" else "right")
    for name in rows:
        runs, minutes = [], []
        for seed in range(arguments.seeds):
            started = time.perf_counter()
            ours, peer = ROWS[name](seed, start)
            minutes.append((time.perf_counter() - started) / 60)
            runs.append((ours, peer))
            record = {
                "row": name,
                "preset": arguments.preset,
                "seed": seed,
                "kbert": ours,
                "svm": peer,
                "minutes": round(minutes[-1], 2),
                "machine": header,
            }
            print(json.dumps(record), file=sys.stderr, flush=True)
            if arguments.log:
                with arguments.log.open("a") as file:
                    file.write(json.dumps(record) + "\n")
        for i, metric in enumerate(runs[0][0]):
            table.add_row(
                "" if i else ROWS[name].__doc__.rstrip("."),
                metric,
                mean_sd([ours[metric] for ours, _ in runs]),
                mean_sd([peer[metric] for _, peer in runs])
                if metric in runs[0][1]
                else "",
                "" if i else f"{statistics.mean(minutes):.1f}",
            )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
