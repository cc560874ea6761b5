r"""Eight examples a class: kbert's few-shot training beside SetFit's.

    python benchmarks/few_shot.py                       # both sets, 10 seeds
    python benchmarks/few_shot.py sst2 --seeds 3 --rows 500

Both start from the same checkpoint and get the same examples, cut to the same
length, each with its own defaults. A seed decides the examples; the rows that
both are tested on are the same for all seeds. The two take turns, each in a
process of its own with as many threads as this process may use cores. The
seconds are those of the training call, with all that it loads.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DATA = ("sst2", "bbc")
SIDES = ("kbert", "setfit")
PER_CLASS = 8


def read(name: str) -> tuple[list, list, list, list]:
    """Texts and labels to choose examples from, and those to test on."""
    import real_data

    if name == "sst2":
        return *real_data.sst2("train"), *real_data.sst2("dev")
    x, y = real_data.bbc_texts()
    # A fifth of the articles is for the test.
    rows = list(range(len(x)))
    random.Random(0).shuffle(rows)
    test, train = rows[: len(rows) // 5], rows[len(rows) // 5 :]
    return (
        [x[i] for i in train],
        [y[i] for i in train],
        [x[i] for i in test],
        [y[i] for i in test],
    )


def choose(name: str, seed: int, limit: int | None) -> dict:
    """The examples of a seed and the rows to test on."""
    x, y, x_test, y_test = read(name)
    dice = random.Random(seed)
    rows = []
    for label in sorted(set(y)):
        of_label = [i for i, value in enumerate(y) if value == label]
        rows += dice.sample(of_label, PER_CLASS)
    test = list(range(len(x_test)))
    random.Random(0).shuffle(test)
    test = test[:limit]
    return {
        "seed": seed,
        "x": [x[i] for i in rows],
        "y": [y[i] for i in rows],
        "x_test": [x_test[i] for i in test],
        "y_test": [y_test[i] for i in test],
    }


# === The two sides: a task -> (predicted labels, seconds, CPU seconds) ===


def run_kbert(task: dict, folder: str) -> tuple[list, float, float]:
    from kbert.utils.tensorflow import import_tensorflow

    import_tensorflow()
    import kbert

    clf = kbert.Classifier(
        folder, max_length=task["max_length"], seed=task["seed"]
    )
    started = time.perf_counter(), time.process_time()
    clf.fit(task["x"], task["y"], method="few_shot", verbose=0)
    return (
        lambda: clf.predict(task["x_test"]),
        time.perf_counter() - started[0],
        time.process_time() - started[1],
    )


def run_setfit(task: dict, folder: str) -> tuple[list, float, float]:
    import torch
    from datasets import Dataset
    from setfit import SetFitModel
    from setfit import Trainer
    from setfit import TrainingArguments

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    labels = sorted(set(task["y"]))
    model = SetFitModel.from_pretrained(folder)
    model.model_body.max_seq_length = task["max_length"]
    examples = Dataset.from_dict(
        {"text": task["x"], "label": [labels.index(v) for v in task["y"]]}
    )
    with tempfile.TemporaryDirectory() as output:
        arguments = TrainingArguments(
            output_dir=output,
            report_to="none",
            save_strategy="no",
            seed=task["seed"],
            show_progress_bar=False,
        )
        started = time.perf_counter(), time.process_time()
        Trainer(model, args=arguments, train_dataset=examples).train()
        seconds = (
            time.perf_counter() - started[0],
            time.process_time() - started[1],
        )
    return (
        lambda: [labels[int(i)] for i in model.predict(task["x_test"])],
        *seconds,
    )


def run_side(side: str) -> None:
    """In a process of its own: a task on standard input, figures out."""
    task = json.load(sys.stdin)
    run = {"kbert": run_kbert, "setfit": run_setfit}[side]
    predict, wall, cpu = run(task, task["folder"])
    right = [a == b for a, b in zip(predict(), task["y_test"], strict=True)]
    figures = {"accuracy": statistics.mean(right), "s": wall, "cpu_s": cpu}
    print(json.dumps(figures))


def ask(side: str, task: dict) -> dict:
    environ = os.environ | {
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(
        [sys.executable, __file__, "--side", side],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        env=environ,
    )
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="*", metavar="DATA", help=str(DATA))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--rows", type=int, help="to test on; by default all")
    parser.add_argument("--log", type=Path, help="JSON Lines, a run a line")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        return run_side(arguments.side)
    if unknown := [name for name in arguments.data if name not in DATA]:
        parser.error(f"unknown data {unknown[0]}; known: {', '.join(DATA)}")

    from machine import machine
    from rich.console import Console
    from rich.table import Table

    from kbert.checkpoints.presets import DEFAULT_PRESET
    from kbert.checkpoints.presets import resolve

    header = machine("keras", "tensorflow", "setfit", "torch", "transformers")
    table = Table(title=header)
    for title in ("data", "figure", *SIDES, "kbert - setfit", "seeds"):
        table.add_column(title, justify="left" if title == "data" else "right")
    folder = str(resolve(DEFAULT_PRESET))
    for name in arguments.data or DATA:
        runs = {side: [] for side in SIDES}
        first = arguments.first_seed
        for seed in range(first, first + arguments.seeds):
            task = choose(name, seed, arguments.rows)
            task |= {"folder": folder, "max_length": arguments.max_length}
            # Who goes first takes turns too.
            for side in SIDES if seed % 2 else SIDES[::-1]:
                runs[side].append(ask(side, task))
                record = {"data": name, "seed": seed, "side": side}
                record["max_length"] = arguments.max_length
                record |= runs[side][-1] | {"machine": header}
                print(json.dumps(record), file=sys.stderr, flush=True)
                if arguments.log:
                    with arguments.log.open("a") as file:
                        file.write(json.dumps(record) + "\n")
        for figure, digits in (("accuracy", 2), ("s", 1), ("cpu_s", 1)):
            factor = 100 if figure == "accuracy" else 1
            ours, peer = (
                [factor * run[figure] for run in runs[side]] for side in SIDES
            )
            gap = [a - b for a, b in zip(ours, peer, strict=True)]
            table.add_row(
                "" if figure != "accuracy" else name,
                figure,
                *(mean_se(values, digits) for values in (ours, peer, gap)),
                str(len(ours)),
            )
    Console(width=120).print(table)


def mean_se(values: list[float], digits: int) -> str:
    """Mean and its standard error."""
    mean = f"{statistics.mean(values):.{digits}f}"
    if len(values) < 2:
        return mean
    error = statistics.stdev(values) / len(values) ** 0.5
    return f"{mean} ± {error:.{digits}f}"


if __name__ == "__main__":
    main()
