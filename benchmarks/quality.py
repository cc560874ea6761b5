r"""What kbert is worth on real data, beside a linear SVM.

    python benchmarks/quality.py                 # every row, 3 seeds
    python benchmarks/quality.py sms bbc --seeds 1
    python benchmarks/quality.py sst2            # the full training set, long
    python benchmarks/quality.py conll2003 stsb cola --seeds 1 --transformers
    python benchmarks/quality.py sst2 bbc --preset kbert_mini_en \
        --epochs 6 --learning-rate 5e-4 --no-ngrams

Each row trains kbert and a TF-IDF + linear SVM on the same texts and prints
the mean and the standard deviation over the seeds. A seed decides the split
(where the data has none), the sample, the initialization and the shuffling.
Of sms, bbc and thucnews kbert's heads have `ngrams`; `--no-ngrams` is BERT
alone. With `--transformers` some rows also train transformers' class for the
task, from the same checkpoint with the same epochs, rates and batch size, and
the table says by how much kbert is ahead, with the standard error of that (a
bootstrap of the test rows, the same for both).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

from kbert.utils.tensorflow import import_tensorflow

import_tensorflow()  # Without its start-up messages.

import keras
import numpy as np
import real_data
import transformers_peer
from machine import machine
from rich.console import Console
from rich.table import Table
from scipy.stats import pearsonr
from scipy.stats import spearmanr
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import accuracy_score
from sklearn.metrics import f1_score
from sklearn.metrics import matthews_corrcoef
from sklearn.metrics import roc_curve
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

import kbert
from kbert.checkpoints.presets import DEFAULT_PRESET
from kbert.checkpoints.presets import resolve
from kbert.embedder import unit

Scores = dict[str, float]
RESAMPLES = 1000


@dataclass
class Run:
    """Scores of a row's systems with one seed."""

    kbert: Scores
    svm: Scores = field(default_factory=dict)
    transformers: Scores = field(default_factory=dict)
    # Of kbert's score less that of transformers.
    error: Scores = field(default_factory=dict)


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
    ngrams: bool = True
    folder: Path | None = None
    beside: bool = False

    def fit(
        self, epochs: int, learning_rate: float, batch_size: int = 32
    ) -> dict:
        """Arguments of `Classifier.fit`."""
        return {
            "epochs": self.epochs or epochs,
            "learning_rate": self.learning_rate or learning_rate,
            "batch_size": batch_size,
        }

    def longest(self, ngrams: int) -> int:
        """Characters of a head's longest n-grams."""
        return ngrams if self.ngrams else 0

    def keep(self, clf: kbert.Classifier, row: str, seed: int) -> None:
        """Save what was trained, if a folder was given."""
        if self.folder is not None:
            clf.save(self.folder / f"{row}-{seed}")


def put_beside(
    run: Run,
    start: Start,
    clf: kbert.Classifier | kbert.Embedder,
    recipe: dict,
    data: dict,
    answers: list,
    score: Callable[[list], Callable[[np.ndarray], Scores]],
) -> Run:
    """A run with the scores of transformers and the error of the difference.

    `data` has `kind`, `columns`, `y` and `test` of a task of
    transformers_peer.py, `answers` are kbert's, and `score` makes of answers a
    function of the test rows to count.
    """
    folder = str(resolve(start.model.get("preset", DEFAULT_PRESET)))
    task = {"folder": folder, "max_length": clf.max_length, "seed": clf.seed}
    theirs = score(transformers_peer.ask(task | recipe | data)["answers"])
    ours = score(answers)
    count = len(answers)
    run.transformers = theirs(np.arange(count))
    rows = np.random.default_rng(0).integers(count, size=(RESAMPLES, count))
    pairs = [(ours(part), theirs(part)) for part in rows]
    run.error = {
        name: float(np.std([a[name] - b[name] for a, b in pairs], ddof=1))
        for name in run.transformers
    }
    return run


# === Rows: seed and start -> scores ===


def sms(seed: int, start: Start) -> Run:
    """SMS Spam, stratified 80/20, head `spam`."""
    x, y, x_test, y_test = split(*real_data.sms_spam(), seed)
    clf = kbert.Classifier(
        head="spam", ngrams=start.longest(4), seed=seed, **start.model
    )
    # The threshold sees to the classes' sizes, so that weights need not.
    weights = {"ham": 1.0, "spam": 1.0}
    clf.fit(x, y, class_weight=weights, **start.fit(3, 5e-5))
    answers = clf.answers(x_test)
    spam = np.array(y_test) == "spam"
    ours = scores_of(y_test, clf.predict(x_test))
    ours["recall at 0.5% FPR"] = recall_at(0.005, spam, answers["score"])
    predicted, decision = svm(x, y, x_test)
    peer = scores_of(y_test, predicted)
    peer["recall at 0.5% FPR"] = recall_at(0.005, spam, decision)
    return Run(ours, peer)


def sst2(seed: int, start: Start, rows: int | None = None) -> Run:
    """SST-2 dev, trained on the full training set."""
    x, y = real_data.sst2("train")
    if rows is not None:
        x, _, y, _ = train_test_split(
            x, y, train_size=rows, stratify=y, random_state=seed
        )
    x_test, y_test = real_data.sst2("dev")
    clf = kbert.Classifier(seed=seed, **start.model)
    if rows is None:
        # It holds the phrases of its sentences, too, and is soon overfit.
        clf.fit(x, y, r_drop=1.0, **start.fit(2, 1e-4))
    else:
        clf.fit(x, y, **start.fit(3, 1e-4))
    return Run(
        scores_of(y_test, clf.predict(x_test)),
        scores_of(y_test, svm(x, y, x_test)[0]),
    )


def sst2_10k(seed: int, start: Start) -> Run:
    """SST-2 dev, trained on 10,000 sentences."""
    return sst2(seed, start, 10_000)


def bbc(seed: int, start: Start) -> Run:
    """BBC news, 5 topics, stratified 80/20, head `news`."""
    x, y, x_test, y_test = split(*real_data.bbc_news(), seed)
    clf = kbert.Classifier(
        head="news",
        ngrams=start.longest(4),
        max_length=128,
        seed=seed,
        **start.model,
    )
    clf.fit(x, y, **start.fit(2, 1e-4))
    return Run(
        scores_of(y_test, clf.predict(x_test)),
        scores_of(y_test, svm(x, y, x_test)[0]),
    )


def thucnews(seed: int, start: Start) -> Run:
    """THUCNews titles, dev: Chinese, a random 4x256 backbone, 20,000 titles."""
    x, y = real_data.thucnews("train")
    x, _, y, _ = train_test_split(
        x, y, train_size=20_000, stratify=y, random_state=seed
    )
    x_test, y_test = real_data.thucnews("dev")
    model = {
        "preset": "random:mini",
        "vocabulary": real_data.vocabulary("bert-base-chinese"),
    }
    clf = kbert.Classifier(
        ngrams=start.longest(2),
        max_length=48,
        seed=seed,
        **(model | start.model),
    )
    clf.fit(x, y, **start.fit(4, 5e-4))
    return Run(
        scores_of(y_test, clf.predict(x_test)),
        scores_of(y_test, svm(x, y, x_test, characters=True)[0]),
    )


def conll2003(seed: int, start: Start) -> Run:
    """CoNLL-2003 test, head `ner` with `casing`, entities."""
    x, y = real_data.conll2003("train")
    x_test, y_test = real_data.conll2003("test")
    clf = kbert.Classifier(head="ner", casing=True, seed=seed, **start.model)
    recipe = start.fit(3, 2e-4)
    clf.fit(x, y, **recipe)
    start.keep(clf, "conll2003", seed)
    found = clf.predict(x_test)
    count = min(1000, len(x_test))
    rows = np.random.default_rng(seed).choice(len(x_test), count, replace=False)
    spans = [exact(x_test[i], found[i]) for i in rows]
    run = Run(
        {
            "F1": clf.evaluate(x_test, y_test)["f1"],
            f"of {count:,} texts with exact spans": float(np.mean(spans)),
        }
    )
    if start.beside:
        tags = [tags_of(*row) for row in zip(x_test, found, strict=True)]
        score = entity_score(y_test)
        run.kbert |= score(tags)(np.arange(len(tags)))
        data = {
            "kind": "tagging",
            "columns": [[text.split(" ") for text in x]],
            "y": y,
            "test": [[text.split(" ") for text in x_test]],
        }
        put_beside(run, start, clf, recipe, data, tags, score)
    return run


def entity_score(y_test: list) -> Callable:
    """`score` of `put_beside`: F1 of entities as seqeval finds them."""
    from seqeval.metrics.sequence_labeling import get_entities

    true = [set(get_entities(tags)) for tags in y_test]

    def score(answers: list) -> Callable[[np.ndarray], Scores]:
        found = [set(get_entities(tags)) for tags in answers]
        both = zip(true, found, strict=True)
        counts = np.array([(len(a & b), len(a) + len(b)) for a, b in both])

        def of_rows(rows: np.ndarray) -> Scores:
            right, all_ = counts[rows].sum(axis=0)
            return {"F1 by seqeval": float(2 * right / max(all_, 1))}

        return of_rows

    return score


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


def stsb(seed: int, start: Start) -> Run:
    """STS-B dev, head `regression` on pairs."""
    x, y = real_data.stsb("train")
    x_test, y_test = real_data.stsb("dev")
    clf = kbert.Classifier(
        head="regression",
        inputs=("sentence1", "sentence2"),
        minimum=0,
        maximum=5,
        start="least",
        seed=seed,
        **start.model,
    )
    recipe = start.fit(4, 1e-4, 16)
    clf.fit(x, y, **recipe)
    start.keep(clf, "stsb", seed)
    found = clf.predict(x_test)
    data = {
        "kind": "regression",
        "columns": list(x.values()),
        "y": [float(value) for value in y],
        "test": list(x_test.values()),
    }
    return correlated(start, clf, recipe, data, found, y_test)


def stsb_embedder(seed: int, start: Start) -> Run:
    """STS-B dev, `Embedder` trained by the cosine of the pair."""
    x, y = real_data.stsb("train")
    x_test, y_test = real_data.stsb("dev")
    similarity = [float(value) / 5 for value in y]
    embedder = kbert.Embedder(seed=seed, **start.model)
    recipe = start.fit(4, 5e-5, 16)
    embedder.fit(list(zip(*x.values(), strict=True)), similarity, **recipe)
    a, b = (unit(embedder.encode(column)) for column in x_test.values())
    found = np.sum(a * b, axis=1)
    data = {
        "kind": "similarity",
        "columns": list(x.values()),
        "y": similarity,
        "test": list(x_test.values()),
    }
    return correlated(start, embedder, recipe, data, found, y_test)


def correlated(
    start: Start,
    trained: kbert.Classifier | kbert.Embedder,
    recipe: dict,
    data: dict,
    answers: list,
    y_test: list,
) -> Run:
    """How well numbers follow the true ones; the rest as for `put_beside`."""
    true = np.asarray(y_test, "float64")

    def score(answers) -> Callable[[np.ndarray], Scores]:
        answers = np.asarray(answers, "float64")
        return lambda rows: {
            "pearson": float(pearsonr(true[rows], answers[rows])[0]),
            "spearman": float(spearmanr(true[rows], answers[rows])[0]),
        }

    run = Run(score(answers)(np.arange(len(true))))
    if start.beside:
        put_beside(run, start, trained, recipe, data, answers, score)
    return run


def cola(seed: int, start: Start) -> Run:
    """CoLA dev."""
    x, y = real_data.cola("train")
    x_test, y_test = real_data.cola("dev")
    clf = kbert.Classifier(seed=seed, **start.model)
    recipe = start.fit(4, 1e-4)
    clf.fit(x, y, **recipe)
    found = clf.predict(x_test)
    true = np.array(y_test)

    def score(answers) -> Callable[[np.ndarray], Scores]:
        answers = np.array(answers)
        return lambda rows: {
            "matthews": float(matthews_corrcoef(true[rows], answers[rows]))
        }

    every = np.arange(len(true))
    run = Run(score(found)(every), score(svm(x, y, x_test)[0])(every))
    if start.beside:
        data = {"kind": "classification", "columns": [x], "y": y}
        data["test"] = [x_test]
        put_beside(run, start, clf, recipe, data, found, score)
    return run


ROWS: dict[str, Callable[[int, Start], Run]] = {
    "sms": sms,
    "sst2-10k": sst2_10k,
    "bbc": bbc,
    "thucnews": thucnews,
    "stsb": stsb,
    "stsb-embedder": stsb_embedder,
    "cola": cola,
    "conll2003": conll2003,
    "sst2": sst2,
}

# They run only when they are asked for.
LONG = ("conll2003", "sst2")


def mean_sd(runs: list[Run], system: str, metric: str) -> str:
    values = [getattr(run, system).get(metric) for run in runs]
    if None in values:
        return ""
    mean = f"{100 * statistics.mean(values):.2f}"
    if len(values) < 2:
        return mean
    return f"{mean} ± {100 * statistics.stdev(values):.2f}"


def ahead(runs: list[Run], metric: str) -> str:
    """Mean of kbert less transformers, and its standard error: that of the
    test rows does not shrink with more seeds."""
    if metric not in runs[0].transformers:
        return ""
    gaps = [run.kbert[metric] - run.transformers[metric] for run in runs]
    error = statistics.mean(run.error[metric] for run in runs)
    return f"{100 * statistics.mean(gaps):+.2f} (se {100 * error:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--first-seed", type=int, default=0, help="to share seeds out"
    )
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
    parser.add_argument(
        "--ngrams",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="of the rows that have them (sms, bbc, thucnews)",
    )
    parser.add_argument(
        "--transformers", action="store_true", help="train it too"
    )
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
        arguments.ngrams,
        arguments.save,
        arguments.transformers,
    )

    header = (
        f"{machine('keras', 'tensorflow', 'scikit-learn')}, "
        f"{keras.backend.backend()} in {arguments.policy}"
    )
    table = Table(title=header)
    titles = ["row", "metric", "kbert", "TF-IDF + SVM", "minutes a seed"]
    if arguments.transformers:
        titles[4:4] = ["transformers", "kbert - transformers"]
    for title in titles:
        table.add_column(title, justify="left" if title == "row" else "right")
    for name in rows:
        runs, minutes = [], []
        for i in range(arguments.seeds):
            seed = arguments.first_seed + i
            started = time.perf_counter()
            run = ROWS[name](seed, start)
            minutes.append((time.perf_counter() - started) / 60)
            runs.append(run)
            record = {
                "row": name,
                "preset": arguments.preset,
                "epochs": arguments.epochs,
                "learning_rate": arguments.learning_rate,
                "ngrams": arguments.ngrams,
                "seed": seed,
                **{k: v for k, v in asdict(run).items() if v},
                "minutes": round(minutes[-1], 2),
                "machine": header,
            }
            print(json.dumps(record), file=sys.stderr, flush=True)
            if arguments.log:
                with arguments.log.open("a") as file:
                    file.write(json.dumps(record) + "\n")
        for i, metric in enumerate(runs[0].kbert):
            cells = [
                mean_sd(runs, "kbert", metric),
                mean_sd(runs, "svm", metric),
            ]
            if arguments.transformers:
                cells.append(mean_sd(runs, "transformers", metric))
                cells.append(ahead(runs, metric))
            table.add_row(
                "" if i else ROWS[name].__doc__.rstrip("."),
                metric,
                *cells,
                "" if i else f"{statistics.mean(minutes):.1f}",
            )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
