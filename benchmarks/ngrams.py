"""What n-grams beside BERT cost where a model serves.

    python benchmarks/ngrams.py

Milliseconds of the exported function, raw strings in, with and without
`ngrams=4`: medians, the two in turn.
"""

from __future__ import annotations

import statistics
import time

from kbert.quiet import import_tensorflow

import_tensorflow()  # Without its start-up messages.

import numpy as np
import real_data
import tensorflow as tf
from machine import machine

import kbert
from kbert.export.saved_model import make_answer
from kbert.export.saved_model import trace

LONGEST = (0, 4)
ROUNDS = {1: 60, 64: 6}  # By the size of a batch.


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
        for size, rounds in ROUNDS.items():
            times = {longest: [] for longest in LONGEST}
            for i in range(rounds):
                batch = tf.constant(rows[i * size : (i + 1) * size])
                for longest in LONGEST:
                    started = time.perf_counter()
                    serve[longest](text=batch)
                    times[longest].append(time.perf_counter() - started)
            without, beside = (
                1000 * statistics.median(times[n]) for n in LONGEST
            )
            print(
                f"{name}, batch {size}: {without:.1f} ms without, "
                f"{beside:.1f} with, {beside / without - 1:+.0%}"
            )


if __name__ == "__main__":
    main()
