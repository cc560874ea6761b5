"""Raw strings to labels: kbert beside transformers + Torch, in one run.

    python benchmarks/predict.py                 # minutes on two cores

The model is all-MiniLM-L6-v2 with a classification head, in float32, on the
CPU; the texts are real, with their real lengths, cut to 128 tokens. Rounds
alternate and medians are compared; a ratio above 1 says that kbert is faster.

`predict` is a whole data set: `Classifier.predict` against transformers'
pipeline at the best of its batch sizes. `batch of 64` are batches as they
come, as a server gets them: the exported SavedModel against the Rust
tokenizer and the model in Torch, padded to the longest row.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from kbert.utils.tensorflow import import_tensorflow

import_tensorflow()  # Without its start-up messages.

import real_data
import tensorflow as tf
import torch
import transformers
from machine import machine
from rich.console import Console
from rich.table import Table
from turns import interleaved

import kbert
from kbert.checkpoints.presets import DEFAULT_PRESET
from kbert.checkpoints.presets import resolve

LENGTH = 128
BATCH_SIZES = (1, 8, 32, 64)


def texts_of(name: str, rows: int) -> list[str]:
    """Texts of a data set in the order of its files."""
    if name == "SMS Spam":
        return real_data.sms_spam()[0][:rows]
    if name == "SST-2 dev":
        return real_data.sst2("dev")[0][:rows]
    news, _ = real_data.bbc_news()
    step = max(len(news["body"]) // rows, 1)
    return news["body"][::step][:rows]


class Torch:
    """transformers' model, tokenizer and pipeline."""

    def __init__(self):
        folder = resolve(DEFAULT_PRESET)
        self.tokenizer = transformers.BertTokenizer(str(folder / "vocab.txt"))
        model = transformers.AutoModelForSequenceClassification
        self.model = model.from_pretrained(folder, num_labels=2).eval()
        self.pipeline = transformers.pipeline(
            "text-classification", model=self.model, tokenizer=self.tokenizer
        )

    def predict(self, texts: list[str], batch_size: int) -> None:
        self.pipeline(
            texts, batch_size=batch_size, truncation=True, max_length=LENGTH
        )

    def batches(self, texts: list[str]) -> None:
        with torch.inference_mode():
            for i in range(0, len(texts), 64):
                tokens = self.tokenizer(
                    texts[i : i + 64],
                    padding=True,
                    truncation=True,
                    max_length=LENGTH,
                    return_tensors="pt",
                )
                self.model(**tokens).logits.softmax(-1).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    clf = kbert.Classifier(labels=["no", "yes"], max_length=LENGTH, seed=0)
    peer = Torch()
    table = Table(
        title=machine("tensorflow", "transformers", "torch", "tokenizers")
    )
    for name in ("texts", "tokens a text", "what", "kbert", "peer", "ratio"):
        table.add_column(name, justify="left" if name == "what" else "right")
    with tempfile.TemporaryDirectory() as folder:
        clf.export(Path(folder, "model"))
        loaded = tf.saved_model.load(str(Path(folder, "model", "1")))
        serve = loaded.signatures["serving_default"]

        def batches(texts):
            for i in range(0, len(texts), 64):
                serve(text=tf.constant(texts[i : i + 64]))

        for name in ("SMS Spam", "SST-2 dev", "BBC news"):
            texts = texts_of(name, options.rows)
            lengths = clf.tokenize([texts]).lengths
            ours, *theirs = interleaved(
                options.rounds,
                lambda texts=texts: clf.predict(texts),
                *(
                    lambda texts=texts, size=size: peer.predict(texts, size)
                    for size in BATCH_SIZES
                ),
            )
            best = min(theirs)
            size = BATCH_SIZES[theirs.index(best)]
            rows = [(f"predict; pipeline at batch {size}", ours, best)]
            ours, best = interleaved(
                options.rounds,
                lambda texts=texts: batches(texts),
                lambda texts=texts: peer.batches(texts),
            )
            rows.append(("batches of 64 as they come", ours, best))
            for what, mine, other in rows:
                table.add_row(
                    f"{len(texts)} {name}",
                    f"{lengths.mean():.0f}",
                    what,
                    f"{len(texts) / mine:,.0f}/s",
                    f"{len(texts) / other:,.0f}/s",
                    f"{other / mine:.2f}",
                )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
