"""kbert beside every peer, in one table.

    python benchmarks/speed.py                       # some 35 minutes, 2 cores
    python benchmarks/speed.py --write               # and puts it into the page
    python benchmarks/speed.py --only train --rows 960 --rounds 5
    python benchmarks/speed.py --only train --against "KerasHub, docs"
    python benchmarks/speed.py --preset kbert_tiny_en --rows 16 --rounds 1

One checkpoint (all-MiniLM-L6-v2 unless told otherwise) on the CPU, in float32
unless the row says bfloat16, with a classification head; texts are real, with
their real lengths, cut to 128 tokens. Peers run in processes of their own, all
threads of the machine to the one whose turn it is; the others are halted. In
every round kbert and a peer have a turn each; a ratio is that of the same
round, the table has the median of the rounds and their range, and above 1
kbert is ahead. The first turn, which compiles, is not counted.

`aim` is what is asked of kbert; a row that falls short of it says so.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path

import rows
from machine import machine
from page import put_table

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"
PACKAGES = (
    *("tensorflow", "keras", "keras-hub", "torch", "transformers"),
    *("sentence-transformers", "tokenizers", "onnxruntime"),
)


class Worker:
    """A peer's process, halted when it is not its turn; see `peers/worker.py`.

    Args:
        name: `MODULE.CLASS` of the peer.
        folder: what `peers/prepare.py` wrote.

    Raises:
        RuntimeError: it does not start, with the last line of its errors.
    """

    def __init__(self, name: str, folder: Path):
        self.name = name
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [sys.executable, HERE / "peers" / "worker.py", name, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        self.read()

    def send(self, **command) -> None:
        self.process.send_signal(signal.SIGCONT)
        print(json.dumps(command), file=self.process.stdin, flush=True)

    def read(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            lines = self.errors.read().strip().splitlines() or ["it ended"]
            raise RuntimeError(f"{self.name}: {lines[-1]}")
        # Threads of some spin, and prepare batches, while they wait.
        self.process.send_signal(signal.SIGSTOP)
        return json.loads(line)

    def ask(self, **command) -> dict:
        self.send(**command)
        return self.read()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.errors.close()


@dataclass(frozen=True)
class Turn:
    """A contender of a row.

    Attributes:
        start: begins it; gives what has one turn and returns its figure,
            and what ends it.
        name: as the table shows it.
        aim: the ratio that is asked of kbert against it; None without.
    """

    name: str
    start: Callable[[], tuple[Callable[[], float], Callable[[], None]]]
    aim: float | None = None


@dataclass(frozen=True)
class Row:
    """What is measured, and of whom: it becomes a row for each peer.

    Of some figures less is better, such as seconds.
    """

    what: str
    texts: str
    unit: str
    ours: Turn
    peers: tuple[Turn, ...]
    less: bool = False


def measure(row: Row, rounds: int) -> Iterable[tuple]:
    """Cells of the table, peer by peer.

    One peer at a time stands against kbert: seven trainings at once do not
    fit into the memory of a small machine, and then nobody is measured.
    """
    try:
        go, end = row.ours.start()
    except RuntimeError as error:
        raise SystemExit(str(error)) from error
    try:
        go()  # Compiles, and fills caches.
        for turn in row.peers:
            yield (row.what, row.texts, *_beside(row, go, turn, rounds))
    finally:
        end()


def _beside(row: Row, ours: Callable[[], float], turn: Turn, rounds: int):
    """The other cells of a peer."""
    pairs, end = [], lambda: None
    try:
        theirs, end = turn.start()
        theirs()
        for _ in range(rounds):
            pairs.append((ours(), theirs()))
    except RuntimeError as error:
        return "", turn.name, str(error)[-60:], "", "", ""
    finally:
        end()
    ratios = [b / a if row.less else a / b for a, b in pairs]
    ratio = statistics.median(ratios)
    aim = ""
    if turn.aim is not None:
        short = "" if ratio >= turn.aim else ", short"
        aim = f"{turn.aim:g}{short}"
    medians = [statistics.median(side) for side in zip(*pairs, strict=True)]
    return (
        f"{medians[0]:,.3g} {row.unit}",
        turn.name,
        f"{medians[1]:,.3g} {row.unit}",
        f"{ratio:.2f}",
        f"{min(ratios):.2f}-{max(ratios):.2f}",
        aim,
    )


def among(row: Row, names: list[str] | None) -> Row:
    """The row with those of its peers that are named; all for None."""
    if names is None:
        return row
    return replace(row, peers=tuple(p for p in row.peers if p.name in names))


def markdown(cells: list[tuple], footer: str) -> str:
    """The table; a row's name stands in its first line."""
    lines = [
        "| what | texts | kbert | peer | theirs | ratio | range | aim |",
        "|---|---|--:|---|--:|--:|--:|---|",
    ]
    before = None
    for line in cells:
        first = ("", "") if line[:2] == before else line[:2]
        lines.append(f"| {' | '.join((*first, *line[2:]))} |")
        before = line[:2]
    return "\n".join([*lines, "", footer])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--preset", default="all-minilm-l6-v2")
    parser.add_argument("--rows", type=int, default=320, help="texts a turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=list(rows.GROUPS))
    parser.add_argument(
        "--against", nargs="*", metavar="PEER", help="these peers alone"
    )
    parser.add_argument("--write", action="store_true", help="into the page")
    options = parser.parse_args()
    # Before the load is the benchmark's own.
    header = f"{machine(*PACKAGES)}; {options.preset}"
    cells = []
    with tempfile.TemporaryDirectory() as folder:
        prepare = [HERE / "peers" / "prepare.py", folder, options.preset]
        subprocess.run([sys.executable, *prepare], check=True)
        made = rows.Rows(Path(folder), options.rows, Worker, Row, Turn)
        try:
            for group in options.only or rows.GROUPS:
                for row in rows.GROUPS[group](made):
                    row = among(row, options.against)
                    if not row.peers:
                        continue
                    for line in measure(row, options.rounds):
                        cells.append(line)
                        print("  ".join(line), file=sys.stderr, flush=True)
        finally:
            made.close()
    if not cells:
        raise SystemExit(f"No row has a peer of {options.against}.")
    text = markdown(cells, f"{header}; medians of {options.rounds} rounds.")
    print(text)
    if options.write:
        put_table(PAGE, text)


if __name__ == "__main__":
    main()
