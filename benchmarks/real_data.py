"""Readers of the real data sets that benchmarks use.

They are looked for in `$KBERT_DATA`, else in `../shared/data` beside the
repository. Every reader returns `(texts, labels)`; the texts of BBC news are
a dict of titles and bodies.
"""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

from kbert.data.files import read_table
from kbert.data.sentences import split_sentences

ROOT = Path(__file__).resolve().parents[1]


def data_root() -> Path:
    """The folder of the data sets."""
    default = ROOT.parent / "shared" / "data"
    root = Path(os.environ.get("KBERT_DATA", default))
    if not root.is_dir():
        raise SystemExit(
            f"Expected data sets in {root}. Set KBERT_DATA to their folder."
        )
    return root


def no_or_yes(texts: list, labels: list, rows: int) -> tuple[list, list]:
    """So many of the rows, evenly chosen, with two labels: `yes` for the last
    one, `no` for all others."""
    step = max(len(texts) // rows, 1)
    texts, labels = texts[::step][:rows], labels[::step][:rows]
    yes = max(labels)
    return texts, ["yes" if label == yes else "no" for label in labels]


def sms_spam() -> tuple[list, list]:
    """SMS Spam Collection (UCI 228): 5,574 messages, ham or spam."""
    path = data_root() / "sms_spam" / "SMSSpamCollection"
    x, y = read_table(path, ("text",), "label", ["label", "text"])
    return x["text"], y


def sst2(part: str) -> tuple[list, list]:
    """GLUE SST-2: film reviews, `part` is `"train"` or `"dev"`."""
    path = data_root() / "sst2" / f"{part}.tsv"
    x, y = read_table(path, ("sentence",), "label")
    return x["sentence"], ["positive" if v == "1" else "negative" for v in y]


def bbc_news() -> tuple[dict, list]:
    """BBC news 2004-05: 2,225 articles of 5 topics, title and body."""
    texts, topics = {"title": [], "body": []}, []
    with tarfile.open(data_root() / "bbc_news" / "bbc.tar.xz") as archive:
        members = {m.name: m for m in archive if m.name.endswith(".txt")}
        content = {
            name: archive.extractfile(member).read()
            for name, member in members.items()
        }
    for name in sorted(content):
        text = content[name].decode("utf-8", "ignore")
        title, _, body = text.partition("\n")
        texts["title"].append(title.strip())
        texts["body"].append(body.strip())
        topics.append(name.split("/")[1])
    return texts, topics


def bbc_texts() -> tuple[list, list]:
    """The same, title and body in one text."""
    columns, topics = bbc_news()
    rows = zip(*columns.values(), strict=True)
    return [". ".join(row) for row in rows], topics


def imdb_sentences(rows: int) -> tuple[list, list]:
    """IMDB: a sentence from the middle of each of so many reviews, labelled as
    the review."""
    texts, labels = [], []
    with tarfile.open(data_root() / "imdb" / "aclImdb_labeled.tar.xz") as all_:
        for member in all_:
            parts = Path(member.name).parts
            if len(parts) < 3 or parts[-3] != "train":
                continue
            kind = parts[-2]
            if labels.count(kind) < rows // 2:
                review = all_.extractfile(member).read().decode("utf-8")
                sentences = split_sentences(review.replace("<br />", " "))
                texts.append(sentences[len(sentences) // 2])
                labels.append(kind)
            elif len(texts) >= 2 * (rows // 2):
                break
    return texts, labels


def thucnews(part: str) -> tuple[list, list]:
    """Chinese news titles of 10 topics, `part` is `"train"` or `"dev"`.

    Titles of the dev part are taken out of the train part.
    """
    folder = data_root() / "thucnews_title"
    x, y = read_table(
        folder / "dev.txt", ("title",), "topic", ["title", "topic"]
    )
    if part == "dev":
        topics = (folder / "class.txt").read_text().split()
        return x["title"], [topics[int(v)] for v in y]
    dev = set(x["title"])
    x, y = read_table(
        folder / "thucnews_train_10w.txt",
        ("title",),
        "topic",
        ["topic", "title"],
    )
    kept = [i for i, title in enumerate(x["title"]) if title not in dev]
    return [x["title"][i] for i in kept], [y[i] for i in kept]


def conll2003(part: str) -> tuple[list, list]:
    """CoNLL-2003 English: sentences and the tags (BIO) of their words, `part`
    is `"train"`, `"valid"` or `"test"`."""
    path = data_root() / "conll2003" / f"{part}.txt"
    x, y = read_table(path, ("text",), "label", format="conll")
    return x["text"], y


def stsb(part: str) -> tuple[dict, list]:
    """STS benchmark: pairs of sentences and a similarity of 0 to 5."""
    names = ("sentence1", "sentence2")
    return read_table(data_root() / "stsb" / f"{part}.tsv", names, "score")


def paraphrases(rows: int) -> list[tuple]:
    """STS benchmark, train: so many, evenly chosen, of the 2,994 pairs of a
    similarity of 3 (roughly equivalent) or more."""
    x, scores = stsb("train")
    columns = zip(x["sentence1"], x["sentence2"], scores, strict=True)
    pairs = [(a, b) for a, b, score in columns if float(score) >= 3]
    rows = min(rows, len(pairs))
    return [pairs[i * len(pairs) // rows] for i in range(rows)]


def cola(part: str) -> tuple[list, list]:
    """CoLA: sentences and whether they are acceptable, `"1"` or `"0"`."""
    names = ["source", "label", "mark", "sentence"]
    path = data_root() / "cola" / f"{part}.tsv"
    x, y = read_table(path, ("sentence",), "label", names)
    return x["sentence"], y


def wikipedia(rows: int) -> list[str]:
    """English Wikipedia: the first paragraphs of 200 characters or more."""
    path = next((data_root() / "enwiki").glob("*.tar.xz"))
    found = []
    with tarfile.open(path) as archive:
        for member in archive:
            for line in archive.extractfile(member) or ():
                line = line.strip().decode("utf-8", "ignore")
                if len(line) >= 200 and not line.startswith("<"):
                    found.append(line)
                if len(found) == rows:
                    return found
    return found


def vocabulary(name: str) -> Path:
    """A published vocabulary, such as `"bert-base-chinese"`."""
    return data_root().parent / "vocab" / f"{name}.txt"
