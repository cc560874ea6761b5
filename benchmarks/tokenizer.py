"""Speed of kbert's in-graph tokenizer against the Rust `tokenizers`.

    python benchmarks/tokenizer.py [--full]

One row per data set: lines per CPU-second of each, their ratio, and the
number of lines whose ids differ. Both take a list of `str` and run on one
thread, in turns; figures are medians. Data sets are looked for in
`$KBERT_DATA`, else in `../shared/data` beside the repository.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Both are read once, before the Rust thread pool starts.
os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import argparse
import statistics
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

BATCH = 512
CHINESE = ("chnsenticorp", "thucnews_title", "zhwiki")
ENGLISH = (
    "bbc_news",
    "cola",
    "conll2003",
    "enwiki",
    "imdb",
    "sms_spam",
    "sst2",
    "stsb",
    "wikitext2",
)


def data_root() -> Path:
    """Where the data sets are."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    return Path(os.environ.get("KBERT_DATA", beside))


def vocabulary_path(name: str) -> Path:
    """The published vocabulary of bert-base `name`."""
    return data_root().parent / "vocab" / f"bert-base-{name}.txt"


def read_lines(name: str) -> Iterator[bytes]:
    """Every line that is not blank of every file of a data set."""
    for path in sorted((data_root() / name).iterdir()):
        if path.suffix == ".xz":
            with tarfile.open(path) as archive:
                for member in archive:
                    # IMDB lists the addresses of its reviews; no text.
                    if member.isfile() and "urls_" not in member.name:
                        yield from _lines(archive.extractfile(member))
        elif name == "conll2003":
            yield from _sentences(path)
        else:
            with path.open("rb") as file:
                yield from _lines(file)


def _lines(file) -> Iterator[bytes]:
    return (line.rstrip(b"\r\n") for line in file if line.strip())


def _sentences(path: Path) -> Iterator[bytes]:
    """CoNLL: the first column of the rows between two blank lines."""
    for block in path.read_bytes().split(b"\n\n"):
        words = [row.split(b" ")[0] for row in block.splitlines() if row]
        if words:
            yield b" ".join(words)


def reference(vocabulary: str, lowercase: bool):
    """Hugging Face's tokenizer: list of `str` -> list of lists of ids."""
    from tokenizers import BertWordPieceTokenizer

    rust = BertWordPieceTokenizer(vocabulary, lowercase=lowercase)

    def encode(texts: list[str]) -> list[list[int]]:
        # Offsets are not asked of kbert here either: compare the fastest.
        encodings = rust._tokenizer.encode_batch_fast(
            texts, add_special_tokens=False
        )
        return [encoding.ids for encoding in encodings]

    return encode


def measure(name: str, peers, sample: int, repeats: int, full: bool) -> str:
    """One row of the table; `peers` is kbert's tokenizer and the other's."""
    ours, theirs = peers
    texts = [line.decode("utf-8", "ignore") for line in read_lines(name)]
    step = max(1, len(texts) // sample)
    timed = texts[::step][:sample]
    compared = texts if full else timed

    seconds = {ours: [], theirs: []}
    for _ in range(repeats):
        for encode, runs in seconds.items():
            start = time.process_time()
            for batch in _batches(timed):
                encode(batch)
            runs.append(time.process_time() - start)
    speeds = [len(timed) / statistics.median(runs) for runs in seconds.values()]
    differ = sum(
        mine != other
        for batch in _batches(compared)
        for mine, other in zip(
            ours(batch).to_list(), theirs(batch), strict=True
        )
    )
    return (
        f"| {name} | {len(compared):,} | {speeds[0]:,.0f} | {speeds[1]:,.0f} "
        f"| {speeds[0] / speeds[1]:.2f} | {differ} |"
    )


def _batches(texts: list[str]) -> Iterator[list[str]]:
    return (texts[i : i + BATCH] for i in range(0, len(texts), BATCH))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--full", action="store_true", help="compare the ids of all lines"
    )
    parser.add_argument("--sample", type=int, default=10_000, metavar="LINES")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="*", metavar="NAME")
    arguments = parser.parse_args()

    import tensorflow as tf
    from machine import machine

    from kbert.tokenizers.tokenizer import Tokenizer

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    lines = "all lines" if arguments.full else "the sample"
    print(
        f"{machine('tensorflow', 'tensorflow-text', 'tokenizers')}.\n"
        f"Batches of {BATCH}, one thread each, medians of "
        f"{arguments.repeats} runs in turns over up to {arguments.sample:,} "
        f"lines; ids compared over {lines}.\n"
    )
    print(
        "| data set | lines | kbert, lines/CPU-s | tokenizers, lines/CPU-s "
        "| ratio | lines that differ |\n|---|---|---|---|---|---|"
    )
    for kind, names in (("uncased", ENGLISH), ("chinese", CHINESE)):
        path = str(vocabulary_path(kind))
        tokenizer = Tokenizer.from_file(path, lowercase=True)
        graph = tf.function(
            tokenizer.tokenize,
            input_signature=[tf.TensorSpec([None], tf.string)],
        )
        peers = (
            (lambda texts, g=graph: g(tf.constant(texts))),
            reference(path, lowercase=True),
        )
        for name in names:
            if arguments.only and name not in arguments.only:
                continue
            print(
                measure(
                    name,
                    peers,
                    arguments.sample,
                    arguments.repeats,
                    arguments.full,
                ),
                flush=True,
            )


if __name__ == "__main__":
    main()
