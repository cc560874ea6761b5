"""What n-grams beside BERT cost where a model serves.

    python benchmarks/ngrams.py

Milliseconds of the exported function, raw strings in, with and without
`ngrams=4`: medians of a batch, the two in turn.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from kbert.utils.tensorflow import import_tensorflow

import_tensorflow()  # Without its start-up messages.

import numpy as np
import real_data
import tensorflow as tf
from machine import machine
from turns import interleaved

import kbert
from kbert.export.saved_model import make_answer
from kbert.export.saved_model import trace

LONGEST = (0, 4)
ROUNDS = 5
BATCHES = {1: 60, 64: 4}  # How many, by their size.


def answer(serve: Callable, batches: list) -> None:
    for batch in batches:
        serve(text=batch)


def main() -> None:
    sms, _ = real_data.sms_spam()
    news, _ = real_data.bbc_news()
    texts = {
        "SMS Spam": sms,
        "BBC news": [" ".join(row) for row in zip(*news.values(), strict=True)],
    }
    serve = {}
    for longest in LONGEST:
        clf = kbert.Classifier(labels=["ham", "spam"], ngrams=longest, seed=0)
        if longest:
            clf.ngrams.fit([sms], np.arange(len(sms)) % 2)
        serve[longest] = trace(make_answer(clf), "text")
    print(machine("tensorflow"))
    for name, rows in texts.items():
        for size in BATCHES:
            batches = [
                tf.constant(rows[i * size : (i + 1) * size])
                for i in range(BATCHES[size])
            ]
            without, beside = interleaved(
                ROUNDS,
                *(partial(answer, serve[n], batches) for n in LONGEST),
            )
            print(
                f"{name}, batch {size}: {1000 * without / len(batches):.1f} ms "
                f"without, {1000 * beside / len(batches):.1f} with, "
                f"{beside / without - 1:+.0%}"
            )


if __name__ == "__main__":
    main()
