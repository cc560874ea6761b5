"""What answers cost as the work grows: seconds and memory, as a picture.

    python benchmarks/scaling.py                     # some 15 minutes, 2 cores
    python benchmarks/scaling.py --most 100000 --output /tmp/scaling.png

Four series, each in a process of its own: the number of texts (SMS, over and
over, with kbert_tiny_en), their length, the batch size and the size of the
model, in float32 on the CPU. Models of the last three are random, their texts
are all of one length. Within a series work only grows, so that the peak of
the process's memory so far is that of the point. Seconds are medians of
`--rounds`, but of the number of texts.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from machine import machine

ROOT = Path(__file__).resolve().parents[1]
SMALL = "small"
SERIES = {
    "texts": (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000),
    "length": (8, 16, 32, 64, 128, 256, 512),
    "batch": (1, 2, 4, 8, 16, 32, 64, 128, 256),
    "size": ("tiny", "mini", "small", "medium", "base"),
}
TITLES = {
    "texts": "number of texts (SMS, kbert_tiny_en)",
    "length": "tokens a text (64 texts, small)",
    "batch": "texts in a batch (256 of 32 tokens, small)",
    "size": "parameters, M (64 texts of 32 tokens)",
}


def peak() -> float:
    """The most memory that this process has had so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(series: str, points: list, rounds: int) -> None:
    """Print a line of JSON for each point: `at`, `seconds`, `memory`."""
    from kbert.utils.tensorflow import import_tensorflow

    import_tensorflow()
    make = {"texts": of_texts, "size": of_size}.get(series, of_rows)
    for at, call, times in make(series, points, rounds):
        call(warm=True)
        seconds = []
        for _ in range(times):
            started = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - started)
        point = {"at": at, "seconds": statistics.median(seconds)}
        print(json.dumps(point | {"memory": peak()}), flush=True)


def of_texts(series: str, points: list, rounds: int):
    import real_data

    import kbert

    clf = kbert.Classifier("kbert_tiny_en", labels=["no", "yes"], seed=0)
    texts = real_data.sms_spam()[0]
    for count in points:
        many = (texts * (count // len(texts) + 1))[:count]

        def call(warm=False, many=many):
            clf.predict(many[:64] if warm else many, verbose=0)

        yield count, call, 1


def classifier(size: str):
    import kbert

    return kbert.Classifier(
        f"random:{size}", labels=["no", "yes"], max_length=512, seed=0
    )


def table_of(clf, rows: int, length: int):
    import numpy as np

    from kbert.data.batching import TokenTable

    most = clf.backbone.config["vocabulary_size"]
    ids = np.random.default_rng(0).integers(5, most, (rows, length))
    return TokenTable.from_rows(ids, np.zeros_like(ids))


def of_rows(series: str, points: list, rounds: int):
    import numpy as np

    clf = classifier(SMALL)
    for at in points:
        length, batch, rows = 32, at, 256
        if series == "length":
            length, batch, rows = at, 64, 64
        table = table_of(clf, rows, length)

        def call(warm=False, table=table, batch=batch):
            clf.answer_table(
                table.select(np.arange(batch)) if warm else table, batch
            )

        yield at, call, rounds


def of_size(series: str, points: list, rounds: int):
    for size in points:
        clf = classifier(size)
        table = table_of(clf, 64, 32)
        weights = clf.backbone.count_params()

        def call(warm=False, clf=clf, table=table):
            clf.answer_table(table)

        yield weights / 1e6, call, rounds


def draw(found: dict, title: str, path: Path) -> None:
    """Seconds above, memory below, a column for each series."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        2, len(found), figsize=(16, 6.5), sharex="col"
    )
    for column, (series, points) in enumerate(found.items()):
        at = [point["at"] for point in points]
        for row, key in enumerate(("seconds", "memory")):
            axis = axes[row][column]
            axis.plot(at, [point[key] for point in points], "o-")
            axis.set_xscale("log")
            axis.grid(alpha=0.3)
            if key == "seconds":
                axis.set_yscale("log")
            else:
                axis.set_ylim(bottom=0)
        axes[1][column].set_xlabel(TITLES[series])
    axes[0][0].set_ylabel("seconds")
    axes[1][0].set_ylabel("peak memory, MB")
    figure.suptitle(title, fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", nargs="*", choices=list(SERIES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most", type=int, default=1_000_000, help="texts")
    parser.add_argument("--points", type=int, help="of each series, the first")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "docs" / "performance.png"
    )
    parser.add_argument("--series", help=argparse.SUPPRESS)
    options = parser.parse_args()
    points = {
        name: [at for at in some if name != "texts" or at <= options.most]
        for name, some in SERIES.items()
    }
    if options.series:
        some = points[options.series][: options.points]
        measure(options.series, some, options.rounds)
        return
    title = machine("tensorflow", "keras")
    print(title)
    found = {}
    for series in options.only or SERIES:
        command = [sys.executable, __file__, *sys.argv[1:], "--series", series]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        found[series] = []
        for line in process.stdout:
            found[series].append(json.loads(line))
            point = found[series][-1]
            print(
                f"{series:>7} {point['at']:>12,.5g}  "
                f"{point['seconds']:>9.3f} s  {point['memory']:>6,.0f} MB",
                flush=True,
            )
        if process.wait():
            raise SystemExit(f"The series {series} failed.")
    draw(found, title, options.output)
    print(f"Drawn: {options.output}")


if __name__ == "__main__":
    main()
