"""Kill a training run at random moments, and see that nothing is lost.

    python benchmarks/kill.py 200

A toy model is pretrained twice. One run is left alone; the other is killed
(SIGKILL) N times at random moments, most of them while a checkpoint is being
written, and started again each time. After every kill the newest checkpoint
must load, and in the end both runs must have the same weights bit for bit.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

STEPS = 30
WORDS = "a bird calls down every field grass hill in june".split()


def make_corpus(folder: Path) -> Path:
    """A corpus of 80 documents of random words."""
    import kbert

    draw = random.Random(0)
    lines = []
    for _ in range(80):
        for _ in range(draw.randint(2, 6)):
            words = draw.choices(WORDS, k=draw.randint(3, 9))
            lines.append(" ".join(words).capitalize() + ".")
        lines.append("")
    text = folder / "text.txt"
    text.write_text("\n".join(lines))
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "."]
    tokenizer = kbert.Tokenizer(special + WORDS)
    kbert.build_corpus(text, tokenizer, folder / "corpus")
    return folder / "corpus"


def train(corpus: str, run_dir: str, output: str, started, after: int) -> None:
    """Run, or go on; sets `started` once `after` batches are done."""
    import keras

    import kbert

    pretrainer = kbert.Pretrainer(
        corpus, "random:1x16", sequence_length=24, seed=1
    )

    class Started(keras.callbacks.Callback):
        done = 0

        def on_train_batch_end(self, batch, logs=None):
            self.done += 1
            if self.done >= after:
                started.set()

    history = pretrainer.fit(
        run_dir,
        steps=STEPS,
        batch_size=4,
        save_every=1,
        callbacks=[Started()],
        verbose=0,
    )
    weights = {
        str(i): np.asarray(v) for i, v in enumerate(pretrainer.model.variables)
    }
    np.savez(output, history=json.dumps(history.history["loss"]), **weights)
    started.set()


def check_checkpoint(run_dir: Path) -> int:
    """Load the newest checkpoint as a new process would; its step."""
    from kbert.training.resume import RunFolder

    settings = json.loads((run_dir / "run.json").read_text())
    state = RunFolder(run_dir, settings).latest()
    return 0 if state is None else state.step


class Runner:
    """Starts and kills training processes.

    They are forked from a server that has imported everything, so that most
    of their life is training and not start-up.
    """

    def __init__(self, folder: Path):
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(
            ["kbert.pretrainer", "kbert.pretraining.run"]
        )
        self.folder = folder
        self.corpus = make_corpus(folder)

    def start(self, run_dir: Path, after: int = 1):
        started = self.context.Event()
        process = self.context.Process(
            target=train,
            args=(
                str(self.corpus),
                str(run_dir),
                f"{run_dir}.npz",
                started,
                after,
            ),
        )
        process.start()
        return process, started

    def finish(self, run_dir: Path) -> dict[str, np.ndarray]:
        """Let a run come to its end; its weights."""
        process, _ = self.start(run_dir)
        process.join()
        if process.exitcode:
            raise SystemExit(f"A run failed with {process.exitcode}.")
        with np.load(f"{run_dir}.npz") as file:
            return dict(file)

    def kill(self, run_dir: Path, after: int, delay: float) -> int:
        """Start a run, kill it `delay` seconds after so many batches.

        Returns:
            The step of the newest checkpoint, which is loaded.
        """
        process, started = self.start(run_dir, after)
        while not started.wait(1):
            if process.exitcode is not None:
                raise SystemExit(f"A run failed with {process.exitcode}.")
        time.sleep(delay)
        process.kill()
        process.join()
        return check_checkpoint(run_dir)


def kill_runs(kills: int, seed: int = 0) -> dict:
    """Kill runs `kills` times in all; what came of it."""
    draw = random.Random(seed)
    steps, runs = [], 0
    with tempfile.TemporaryDirectory() as name:
        runner = Runner(Path(name))
        expected = runner.finish(Path(name, "whole"))
        while len(steps) < kills:
            run_dir = Path(name, f"killed-{runs}")
            # As long as this run has steps left to be killed in.
            while len(steps) < kills:
                # Batches, for progress on a busy machine too; then a moment.
                moment = draw.randint(1, 4), draw.uniform(0, 0.1)
                step = runner.kill(run_dir, *moment)
                steps.append(step)
                if step >= STEPS:
                    break
            received = runner.finish(run_dir)
            runs += 1
            if left := [p.name for p in run_dir.glob(".*")]:
                raise SystemExit(f"Expected nothing unfinished. Found: {left}.")
            differ = [
                key
                for key, value in expected.items()
                if not np.array_equal(value, received[key])
            ]
            if differ or expected.keys() != received.keys():
                raise SystemExit(
                    f"Expected equal weights after {len(steps)} kills. These "
                    f"differ: {differ}."
                )
            shutil.rmtree(run_dir)
    return {"kills": len(steps), "runs": runs, "checkpoints": steps}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kills", type=int, nargs="?", default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    started = time.perf_counter()
    result = kill_runs(arguments.kills, arguments.seed)
    print(
        f"{result['kills']} kills in {result['runs']} runs of {STEPS} steps: "
        f"every checkpoint loaded, all weights equal bit for bit, in "
        f"{time.perf_counter() - started:.0f} s"
    )


if __name__ == "__main__":
    main()
