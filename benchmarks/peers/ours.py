"""kbert, as the peers of the table meet it."""

from __future__ import annotations

import os
from pathlib import Path


def gate(epoch):
    """Has the parent asked before every epoch."""
    import keras

    class Gate(keras.callbacks.Callback):
        def on_epoch_begin(self, number, logs=None):
            epoch.begin()

        def on_epoch_end(self, number, logs=None):
            epoch.end()

    return Gate()


class Kbert:
    """The saved classifier on TensorFlow, and its SavedModel."""

    def __init__(self, folder: Path):
        from kbert.utils.tensorflow import import_tensorflow

        import_tensorflow()
        import tensorflow as tf

        import kbert

        self.folder = folder
        self.clf = kbert.load(folder / "kbert")
        self.ids = tf.function(
            self.clf.tokenizer.tokenize,
            input_signature=[tf.TensorSpec([None], tf.string)],
        )

    def predict(self, texts: list[str]) -> list[list[float]]:
        return self.clf.predict_proba(texts).tolist()

    def requests(self, parts: list) -> list:
        """The SavedModel, loaded once it is asked."""
        import tensorflow as tf

        if not hasattr(self, "serve"):
            self.loaded = tf.saved_model.load(
                str(self.folder / "savedmodel" / "1")
            )
            self.serve = self.loaded.signatures["serving_default"]
        return parts

    def batch(self, texts: list[str]) -> None:
        import tensorflow as tf

        self.serve(text=tf.constant(texts))["probabilities"].numpy()

    def encode(self, texts: list[str]) -> None:
        import kbert

        if not hasattr(self, "embedder"):
            self.embedder = kbert.Embedder(
                self.folder / "huggingface", max_length=self.clf.max_length
            )
        self.embedder.encode(texts)

    def tokenize(self, texts: list[str]) -> None:
        import tensorflow as tf

        for i in range(0, len(texts), 512):
            self.ids(tf.constant(texts[i : i + 512]))

    def ceiling(self) -> dict:
        from kbert.training.throughput import matmul_ceiling

        return {"flops": matmul_ceiling.__wrapped__("float32")}

    def work(self, texts: list[str]) -> dict:
        """FLOPs of the matrix products of texts, their real tokens only."""
        from kbert.training.throughput import training_flops

        table = self.clf.tokenize([texts])
        config = self.clf.backbone.config
        forward = [
            int(n) * training_flops(config, int(n), 0.0) / 3
            for n in table.lengths
        ]
        return {"flops": sum(forward), "tokens": int(table.lengths.sum())}

    def fit(self, texts, labels, epochs, epoch, layout="auto") -> None:
        self.clf.fit(
            texts,
            labels,
            epochs=epochs,
            callbacks=[gate(epoch)],
            layout=layout,
            verbose=0,
        )


class Padded(Kbert):
    """kbert's training with its batches padded."""

    def fit(self, texts, labels, epochs, epoch) -> None:
        super().fit(texts, labels, epochs, epoch, layout="padded")


class Pairs:
    """An embedder that learns from pairs that belong together."""

    def __init__(self, folder: Path):
        from kbert.utils.tensorflow import import_tensorflow

        import_tensorflow()
        import kbert

        self.embedder = kbert.Embedder(folder / "huggingface")

    def fit(self, pairs, epochs, epoch) -> None:
        self.embedder.fit(
            pairs, epochs=epochs, callbacks=[gate(epoch)], verbose=0
        )


class InHalf:
    """In mixed bfloat16."""

    def __init__(self, folder: Path):
        import keras

        keras.config.set_dtype_policy("mixed_bfloat16")
        super().__init__(folder)


class Half(InHalf, Kbert):
    """kbert in mixed bfloat16."""


class HalfPairs(InHalf, Pairs):
    """Its embedder so."""


class Int8:
    """kbert's int8 export, without TensorFlow."""

    def __init__(self, folder: Path):
        import kbert

        cores = len(os.sched_getaffinity(0))
        self.model = kbert.OnnxModel(folder / "int8", threads=cores)

    def predict(self, texts: list[str]) -> list[list[float]]:
        return self.model.answers(texts)["probabilities"].tolist()

    def batch(self, texts: list[str]) -> None:
        self.model.answers(texts)
