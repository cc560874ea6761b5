"""KerasHub's BertTextClassifier on TensorFlow."""

from __future__ import annotations

from pathlib import Path

from kbert.utils.tensorflow import import_tensorflow

import_tensorflow()  # Without its start-up messages.

import keras
import keras_hub
import numpy as np
import tensorflow as tf

LENGTH = 128


class Docs:
    """As its docs show: texts go in, padded to the default 512 tokens."""

    length = None
    batch_size = 32

    def __init__(self, folder: Path):
        self.model = keras_hub.models.BertTextClassifier.from_preset(
            str(folder / "kerashub"), num_classes=2
        )
        if self.length is not None:
            self.model.preprocessor.sequence_length = self.length

    def predict(self, texts: list[str]) -> list[list[float]]:
        logits = self.model.predict(
            texts, batch_size=self.batch_size, verbose=0
        )
        # Some presets answer probabilities, as their activation says.
        if self.model.activation is keras.activations.softmax:
            return np.asarray(logits).tolist()
        return np.asarray(keras.ops.softmax(logits)).tolist()

    def requests(self, parts: list) -> list:
        """Token ids, padded to the longest row of a batch: the model alone.

        Its preprocessor is left out, as an export leaves it out.
        """
        preprocessor = self.model.preprocessor
        signature = {
            name: tf.TensorSpec((None, None), "int32")
            for name in ("token_ids", "segment_ids", "padding_mask")
        }
        if not hasattr(self, "serve"):
            self.serve = tf.function(
                lambda batch: self.model(batch, training=False),
                input_signature=[signature],
            )
        ready = []
        for texts in parts:
            tokens = preprocessor(texts)
            longest = int(np.asarray(tokens["padding_mask"]).sum(1).max())
            ready.append(
                {
                    name: tf.cast(value[:, :longest], "int32")
                    for name, value in tokens.items()
                }
            )
        return ready

    def batch(self, tokens: dict) -> None:
        self.serve(tokens).numpy()

    def fit(self, texts, labels, epochs, epoch) -> None:
        gate = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda *_: epoch.begin(),
            on_epoch_end=lambda *_: epoch.end(),
        )
        self.prepare_training()
        self.model.fit(
            texts,
            np.array([label == "yes" for label in labels], "int32"),
            batch_size=self.batch_size,
            epochs=epochs,
            callbacks=[gate],
            verbose=0,
        )

    def prepare_training(self) -> None:
        """Its default optimizer, loss and dropout stay."""


class Tuned(Docs):
    """Padded to the 128 tokens that texts are cut to here, and AdamW."""

    length = LENGTH

    def prepare_training(self) -> None:
        self.model.compile(
            keras.optimizers.AdamW(5e-5, weight_decay=0.01),
            keras.losses.SparseCategoricalCrossentropy(
                from_logits=self.model.activation
                is not keras.activations.softmax
            ),
            jit_compile=False,  # Slower with it on a CPU.
        )
