"""Speed and memory of the way from raw text to a corpus.

    python benchmarks/corpus.py [--repeats 10]

Trains a vocabulary on the sample of English Wikipedia, then builds a corpus
of it, and one of the same files read `--repeats` times: the peak of memory
must not grow. Every step runs in a process of its own. The sample is looked
for in `$KBERT_DATA`, else in `../shared/data` beside the repository.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZE = 8000


def data_root() -> Path:
    """Where the data sets are."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    return Path(os.environ.get("KBERT_DATA", beside))


def peak() -> float:
    """The most memory this process has had at a time, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


# === Steps, each in its own process ===


def measure_text(files: str) -> dict:
    from kbert.data.documents import read_documents

    documents = read_documents(files)
    return {"bytes": sum(len(p.encode()) + 1 for d in documents for p in d)}


def measure_vocabulary(files: str, vocabulary: str) -> dict:
    from kbert.pretraining.vocabulary import train_vocabulary
    from kbert.tokenizers.vocabulary import write_vocabulary

    start = time.perf_counter()
    tokens = train_vocabulary(files, SIZE)
    seconds = time.perf_counter() - start
    write_vocabulary(tokens, vocabulary)
    return {"seconds": seconds, "tokens": len(tokens), "peak": peak()}


def measure_corpus(files: str, vocabulary: str, times: str) -> dict:
    from kbert.utils.tensorflow import import_tensorflow

    import_tensorflow()
    from kbert.pretraining.corpus_builder import build_corpus
    from kbert.tokenizers.tokenizer import Tokenizer

    tokenizer = Tokenizer.from_file(vocabulary)
    before = peak()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        corpus = build_corpus(
            [files] * int(times), tokenizer, Path(folder, "corpus")
        )
        seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "tokens": corpus.tokens,
        "shards": len(corpus.shards),
        "before": before,
        "peak": peak(),
    }


STEPS = {
    "text": measure_text,
    "vocabulary": measure_vocabulary,
    "corpus": measure_corpus,
}


def run(step: str, *arguments) -> dict:
    """What a step measures in a fresh process."""
    command = [sys.executable, __file__, "--step", step]
    result = subprocess.run(
        [*command, *map(str, arguments)], check=True, stdout=subprocess.PIPE
    )
    return json.loads(result.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10, metavar="TIMES")
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        name, *rest = arguments.step
        print(json.dumps(STEPS[name](*rest)))
        return

    from machine import machine

    files = data_root() / "enwiki"
    text = run("text", files)["bytes"] / 1e6
    print(
        f"{machine('tensorflow', 'tensorflow-text', 'tokenizers')}.\n"
        f"{files.name}: {text:.1f} MB of text.\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = Path(folder, "vocab.txt")
        found = run("vocabulary", files, vocabulary)
        print(
            f"train_vocabulary: {found['tokens']:,} tokens in "
            f"{found['seconds']:.1f} s, peak {found['peak']:,.0f} MB.\n",
            flush=True,
        )
        print(
            "| text, MB | seconds | MB/s | tokens | tokens/s | shards "
            "| memory before, MB | peak, MB |\n" + 8 * "|---" + "|"
        )
        for times in (1, arguments.repeats):
            found = run("corpus", files, vocabulary, times)
            print(
                f"| {times * text:,.0f} | {found['seconds']:.1f} "
                f"| {times * text / found['seconds']:.1f} "
                f"| {found['tokens']:,} "
                f"| {found['tokens'] / found['seconds']:,.0f} "
                f"| {found['shards']} | {found['before']:,.0f} "
                f"| {found['peak']:,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
