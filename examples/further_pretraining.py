"""Does it pay to pretrain further on the texts of the task?

    python examples/further_pretraining.py      # 35 minutes on two cores

Sun et al. 2019 (How to Fine-Tune BERT for Text Classification, section 5.4)
find that it does. Here kbert_mini_en, which knows Wikipedia, is pretrained
further on film reviews without their labels; then it and the model as it came
are fine-tuned on the same 2,000 labelled reviews, three times with different
seeds, and compared on 5,000 others.

The reviews are IMDB's (Maas et al. 2011), in `$KBERT_DATA/imdb` or
`../shared/data/imdb`.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tarfile
import tempfile
import time
from pathlib import Path

from kbert.utils.tensorflow import import_tensorflow

import_tensorflow()  # Without its start-up messages.

import keras

import kbert
from kbert.checkpoints.loading import open_checkpoint

ROOT = Path(__file__).resolve().parents[1]
PRESET = "kbert_mini_en"


def read_reviews() -> dict[str, tuple[list, list]]:
    """Texts and labels of the parts `"train"` and `"test"`."""
    root = Path(os.environ.get("KBERT_DATA", ROOT.parent / "shared" / "data"))
    path = root / "imdb" / "aclImdb_labeled.tar.xz"
    if not path.is_file():
        raise SystemExit(f"Expected {path}. Set KBERT_DATA to its folder.")
    parts = {"train": ([], []), "test": ([], [])}
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isreg() and member.name.count("/") == 3:
                _, part, label, _ = member.name.split("/")
                text = archive.extractfile(member).read().decode()
                texts, labels = parts[part]
                texts.append(text.replace("<br />", " "))
                labels.append(label)
    return parts


def pretrain(texts: list[str], folder: Path, steps: int, preset: Path) -> None:
    """Save the preset after more steps of MLM and NSP on some texts."""
    source = folder / "reviews.txt"
    source.write_text("\n\n".join(texts), encoding="utf-8")
    tokenizer = open_checkpoint(PRESET).tokenizer
    corpus = kbert.build_corpus(
        source, tokenizer, folder / "corpus", format="text"
    )
    # Few texts are seen twice, so that dropout has nothing to mend.
    pretrainer = kbert.Pretrainer(corpus, PRESET, dropout=0.0)
    before = pretrainer.evaluate(corpus, steps=20)
    pretrainer.fit(folder / "run", steps, batch_size=32, learning_rate=1e-3)
    after = pretrainer.evaluate(corpus, steps=20)
    print(
        f"{corpus.tokens:,} tokens of reviews; MLM loss "
        f"{before['mlm_loss']:.3f} before and {after['mlm_loss']:.3f} after "
        f"{steps:,} steps (unigram entropy {after['unigram_entropy']:.3f})"
    )
    pretrainer.save(preset)


def accuracy(preset, train, test, seed: int) -> float:
    """Accuracy after fine-tuning on the labelled texts."""
    clf = kbert.Classifier(preset, seed=seed)
    clf.fit(*train, epochs=4, learning_rate=3e-4, verbose=0)
    return clf.evaluate(*test)["accuracy"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--save", type=Path, help="folder to keep the preset in"
    )
    options = parser.parse_args()
    keras.config.set_dtype_policy("mixed_bfloat16")
    parts = read_reviews()
    # Every 12th review: they are sorted by label.
    train = [column[::12][:2000] for column in parts["train"]]
    test = [column[::5] for column in parts["test"]]
    unlabelled = parts["train"][0]
    print(
        f"{len(train[0]):,} labelled reviews, {len(unlabelled):,} without "
        f"labels, {len(test[0]):,} to test on"
    )
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        further = options.save or Path(folder, "preset")
        pretrain(unlabelled, Path(folder), options.steps, further)
        minutes = (time.perf_counter() - started) / 60
        figures = {
            (name, seed): accuracy(preset, train, test, seed)
            for seed, (name, preset) in itertools.product(
                range(options.seeds),
                (("as it came", PRESET), ("pretrained further", further)),
            )
        }
    for name in ("as it came", "pretrained further"):
        values = [v for (n, _), v in figures.items() if n == name]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        print(
            f"{name:20} {100 * statistics.mean(values):.2f} ± "
            f"{100 * spread:.2f} % right"
        )
    print(f"Further pretraining took {minutes:.1f} minutes.")


if __name__ == "__main__":
    main()
