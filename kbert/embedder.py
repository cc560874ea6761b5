"""`Embedder`: texts in, vectors out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kbert.checkpoints.loading import open_checkpoint
from kbert.checkpoints.presets import DEFAULT_PRESET
from kbert.checkpoints.sentence import SentenceConfig
from kbert.checkpoints.sentence import read_sentence_config
from kbert.checkpoints.sentence import write_sentence_config
from kbert.errors import InputError
from kbert.heads.embedding import EmbeddingHead
from kbert.plugins import get_plugins
from kbert.task import Task


class Embedder(Task):
    """A BERT that turns texts into vectors that can be compared.

    Pooling, normalization and the length that texts are truncated to are
    what the checkpoint's own sentence-transformers files say (modules.json,
    1_Pooling/config.json, sentence_bert_config.json). A checkpoint without
    them gets sentence-transformers' defaults: the mean of the tokens, not
    normalized, as many tokens as the backbone has positions.

    Reference: Reimers & Gurevych 2019, Sentence-BERT,
    https://arxiv.org/abs/1908.10084

    Args:
        preset: a pretrained checkpoint: a preset's name, a folder in Hugging
            Face form, or `"random:SIZE"`; see
            `kbert.checkpoints.loading.open_checkpoint`.
        pooling: `"mean"` or `"cls"`; None as the checkpoint says.
        normalize: whether vectors are scaled to length 1; None as the
            checkpoint says.
        max_length: tokens a text is truncated to, special ones included;
            None as the checkpoint says.
        vocabulary: vocab.txt of a random preset.
        lowercase: whether that vocabulary is uncased.
        seed: int; makes initialization, dropout and shuffling repeatable.

    Attributes:
        model: a plain functional `keras.Model` from token arrays to vectors.

    Raises:
        UnknownNameError: no such preset.
        CheckpointError: the checkpoint is missing or corrupt, or asks for a
            pooling or a step that kbert does not have.
        ConfigError: an argument is not valid.

    Example:

    >>> embedder = kbert.Embedder()
    >>> embedder.encode(["A man eats.", "Someone is eating."]).shape
    (2, 384)
    >>> embedder.similarity(["A man eats."], ["Someone is eating."]).round(2)
    array([[0.71]], dtype=float32)
    """

    # What a loaded model has; `__init__` sets its own.
    seed: int | None = None

    def __init__(
        self,
        preset: str | os.PathLike = DEFAULT_PRESET,
        *,
        pooling: str | None = None,
        normalize: bool | None = None,
        max_length: int | None = None,
        vocabulary: str | os.PathLike | None = None,
        lowercase: bool = True,
        seed: int | None = None,
    ):
        if seed is not None:
            keras.utils.set_random_seed(seed)
        registered = get_plugins().heads.get(EmbeddingHead.name)
        checkpoint = open_checkpoint(preset, vocabulary, lowercase)
        stated = read_sentence_config(checkpoint.folder, pooling)
        backbone = checkpoint.build()
        positions = backbone.config["max_sequence_length"]
        if max_length is None:
            max_length = min(stated.max_length or positions, positions)
        self.seed = seed
        super().__init__(
            head=registered.value(
                pooling=stated.pooling,
                normalize=stated.normalize if normalize is None else normalize,
            ),
            backbone=backbone,
            tokenizer=checkpoint.tokenizer,
            registered=registered,
            inputs=EmbeddingHead.inputs,
            max_length=max_length,
        )

    @property
    def dimension(self) -> int:
        """H, the size of a vector."""
        return self.backbone.config["hidden_dim"]

    # === Answers ===

    def encode(self, texts: Any, batch_size: int = 64) -> np.ndarray:
        """The vector of each text.

        Texts of like length are computed together and, on TensorFlow,
        without their padding. For more texts than fit into memory use
        `stream`, which yields a dict with `embedding` for each.

        Args:
            texts: a list, NumPy array, pandas column or other iterable.
            batch_size: texts computed at once.

        Returns:
            float32 `(rows, H)`, in the order of the texts.

        Raises:
            InputError: there are no texts, or a row is no text.
        """
        return self.answers(texts, batch_size)["embedding"]

    def similarity(self, a: Any, b: Any = None) -> np.ndarray:
        """Cosine of the angle between vectors, from -1 to 1.

        Args:
            a: texts, or what `encode` gave for them.
            b: the same, to compare with; `a` itself if None.

        Returns:
            float32 `(rows of a, rows of b)`.

        Raises:
            InputError: texts are not as expected, or vectors are not of
                shape `(rows, H)`.
        """
        a = self._directions(a)
        return a @ (a if b is None else self._directions(b)).T

    def _directions(self, x: Any) -> np.ndarray:
        if not (isinstance(x, np.ndarray) and x.dtype.kind == "f"):
            x = self.encode(x)
        if x.ndim != 2 or x.shape[1] != self.dimension:
            raise InputError(
                f"Expected vectors of shape (rows, {self.dimension}). "
                f"Received: shape {x.shape}."
            )
        return unit(x)

    # === Training ===

    def fit(self, x: Any, y: Any = None, **options: Any) -> Any:
        """Train on pairs of texts that belong together, or on scored pairs.

        Args:
            x: pairs of texts as a list of pairs, an array `(rows, 2)`, or a
                dict or data frame with the columns `text` and `text_pair`.
                For the loss `"contrastive"` a row may have a third text (in
                the column `negative`), one that does not belong to the first.
            y: a similarity from -1 to 1 for each pair, or None.
            loss: `"contrastive"`: the second text of a row is told from
                those of the other rows of the batch (multiple negatives
                ranking, InfoNCE). `"cosine"`: the cosine is to be `y`, by
                the squared error. By default `"cosine"` if there is `y`.
            scale: what `"contrastive"` multiplies the cosine by. Default 20.
            validation_data: `(x, y)` in the same forms, `y` None for
                `"contrastive"`. The best epoch's weights are kept.
            epochs: passes over the data. Default 1.
            batch_size: rows in a step. Default 32; a larger one makes
                `"contrastive"` harder and better.
            learning_rate: the highest rate. Default 2e-5.
            warmup: fraction of the steps that the rate rises in; it then
                falls linearly to 0. Default 0.1.
            weight_decay: AdamW's. Default 0.01.
            callbacks: list of `keras.callbacks.Callback`.
            layout: how tokens are laid out: `"padded"`, `"flat"`, which
                leaves padding out and needs TensorFlow, or `"auto"`.
            verbose: `"auto"` for kbert's display, else as Keras.

        Returns:
            Keras's `History`.

        Raises:
            InputError: texts or similarities are not as expected.
            ConfigError: an argument is not valid.

        References:
            Henderson et al. 2017, Efficient Natural Language Response
            Suggestion for Smart Reply, section 4.4,
            https://arxiv.org/abs/1705.00652
            van den Oord et al. 2018, Representation Learning with
            Contrastive Predictive Coding, https://arxiv.org/abs/1807.03748

        Departures: texts that occur more than once in a batch are not held
        against each other.

        Example:

        >>> embedder.fit(questions_and_answers)
        >>> embedder.fit(pairs, scores / 5)
        """
        # Imported here: answering texts needs none of it.
        from kbert.training.contrastive import fit

        seed = 0 if self.seed is None else self.seed
        return fit(self, x, y, **({"seed": seed} | options))

    def evaluate(self, x: Any, y: Any, batch_size: int = 64) -> dict:
        """How well the similarity of pairs follows scores.

        Args:
            x: pairs of texts, in any form that `fit` takes.
            y: a score a pair, numbers of any range.

        Returns:
            A dict of `spearman` and `pearson`, the correlations, and
            `pairs`, their number.

        Raises:
            InputError: texts or scores are not as expected.
        """
        from kbert.training.pairs import read_columns
        from kbert.training.pairs import read_scores

        first, second = read_columns(x, most=2)
        scores = read_scores(y, len(first), (-np.inf, np.inf))
        if len(set(scores.tolist())) < 2:
            raise InputError(
                f"Expected at least two different scores. Received: "
                f"{scores[0]} for all of {len(scores)} pairs."
            )
        a = unit(self.encode(first, batch_size))
        b = unit(self.encode(second, batch_size))
        answers = {"similarity": np.sum(a * b, axis=1)}
        return self.head.report(answers, scores)

    # === Save and load ===

    def write_more(self, folder: Path) -> None:
        # With these sentence-transformers opens the folder too.
        config = SentenceConfig(
            self.head.pooling, self.head.normalize, self.max_length
        )
        write_sentence_config(config, self.dimension, folder)


def unit(x: np.ndarray) -> np.ndarray:
    """Vectors `(rows, H)` scaled to length 1; zeros stay zeros."""
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return (x / np.maximum(length, 1e-12)).astype("float32")
