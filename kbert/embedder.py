"""`Embedder`: texts in, vectors out."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kbert.checkpoints.loading import open_checkpoint
from kbert.checkpoints.presets import DEFAULT_PRESET
from kbert.checkpoints.sentence import SentenceConfig
from kbert.checkpoints.sentence_modules import DenseModule
from kbert.checkpoints.sentence_writing import write_sentence_config
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.errors import short
from kbert.heads.embedding import EmbeddingHead
from kbert.plugins import get_plugins
from kbert.task import Task
from kbert.utils.checks import check_flag
from kbert.utils.checks import check_integer
from kbert.utils.checks import suggesting
from kbert.utils.seeding import Draws


@suggesting
class Embedder(Task):
    """A BERT that turns texts into vectors that can be compared.

    Pooling, layers after it, normalization, prompts, how vectors are compared
    and the length that texts are truncated to are what the checkpoint's own
    sentence-transformers files say (modules.json and those that it names,
    config_sentence_transformers.json). A checkpoint without them gets
    sentence-transformers' defaults: the mean of the tokens, not normalized,
    as many tokens as the tokenizer says or the backbone has positions.

    Reference: Reimers & Gurevych 2019, Sentence-BERT,
    https://arxiv.org/abs/1908.10084

    Args:
        preset: a pretrained checkpoint: a preset's name, a folder in Hugging
            Face form, or `"random:SIZE"`; see
            `kbert.checkpoints.loading.open_checkpoint`.
        pooling: `"mean"`, `"cls"`, `"max"`, `"mean_sqrt_len_tokens"`,
            `"weightedmean"` or `"lasttoken"`; None as the checkpoint says.
        normalize: whether vectors are scaled to length 1; None as the
            checkpoint says.
        max_length: tokens a text is truncated to, special ones included;
            None as the checkpoint says.
        vocabulary: vocab.txt of a random preset.
        lowercase: whether that vocabulary is uncased.
        seed: int; makes initialization, dropout and shuffling repeatable.

    Attributes:
        model: a plain functional `keras.Model` from token arrays to vectors.
        prompts: what may be put before a text, by name, as the checkpoint
            says. Before every text, in training and in the SavedModel too,
            goes the one that it says is the default, if there is one.

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
    head: EmbeddingHead
    # Before every text; None for the head's default.
    _prompt: str | None = None

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
        if max_length is not None:
            check_integer("max_length", max_length, 3)
        if normalize is not None:
            normalize = check_flag("normalize", normalize)
        self.draws = Draws(seed)
        self.seed = self.draws.seed
        registered = get_plugins().heads.get(EmbeddingHead.name)
        checkpoint = open_checkpoint(preset, vocabulary, lowercase)
        stated = SentenceConfig(pooling=(pooling or "mean",))
        if checkpoint.sentences is not None:
            stated = checkpoint.sentences.config(pooling)
        head = registered.value(
            pooling=stated.pooling,
            normalize=stated.normalize if normalize is None else normalize,
            dense=[layer.config() for layer in stated.dense],
            prompts=stated.prompts,
            default_prompt_name=stated.default_prompt_name,
            similarity=stated.similarity,
        )
        with self.draws.own():
            backbone = checkpoint.build()
        positions = backbone.config["max_sequence_length"]
        if max_length is None:
            limit = stated.max_length or checkpoint.text.max_length
            max_length = min(limit or positions, positions)
        super().__init__(
            head=head,
            backbone=backbone,
            tokenizer=checkpoint.tokenizer,
            registered=registered,
            inputs=EmbeddingHead.inputs,
            max_length=max_length,
        )
        for number, layer in enumerate(stated.dense):
            self._dense(number).set_weights(layer.weights)

    def _dense(self, number: int) -> keras.layers.Dense:
        return self.model.get_layer(f"dense_{number}")

    @property
    def dimension(self) -> int:
        """H, the size of a vector."""
        return self.model.output.shape[-1]

    @property
    def prompts(self) -> dict[str, str]:
        return self.head.prompts

    @property
    def prompt(self) -> str:
        """What is put before every text, unless `encode` is told another."""
        return self.head.prompt() if self._prompt is None else self._prompt

    def tokens(self, columns: list) -> dict:
        if prompt := self.prompt:
            import tensorflow as tf

            columns = [tf.strings.join([prompt, texts]) for texts in columns]
        return super().tokens(columns)

    def _after(self, prompt: str) -> Embedder:
        """The same embedder with another prompt before every text."""
        other = object.__new__(type(self))
        vars(other).update(vars(self), _prompt=prompt)
        return other

    # === Answers ===

    def encode(
        self,
        texts: Any,
        batch_size: int = 64,
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
    ) -> np.ndarray:
        """The vector of each text.

        Texts of like length are computed together and, on TensorFlow,
        without their padding. For more texts than fit into memory use
        `stream`, which yields a dict with `embedding` for each.

        Args:
            texts: a list, NumPy array, pandas column or other iterable.
            batch_size: texts computed at once.
            prompt_name: one of `prompts`, to put before every text; None for
                the checkpoint's default, if it has one.
            prompt: the same as a text, such as `"query: "`.

        Returns:
            float32 `(rows, H)`, in the order of the texts.

        Raises:
            InputError: there are no texts, or a row is no text.
            ConfigError: there is no such prompt, or it is given twice.

        Example:

        >>> embedder.encode(["how to boil rice"], prompt="query: ")
        """
        if prompt is not None and prompt_name is not None:
            raise ConfigError(
                f"`prompt` or `prompt_name`, expected one of them. Received: "
                f"prompt={short(prompt)}, prompt_name={short(prompt_name)}"
            )
        if not isinstance(prompt, str | None):
            raise ConfigError(
                f"`prompt`, expected a text. Received: prompt={short(prompt)}"
            )
        if prompt_name is not None:
            prompt = self.head.prompt(prompt_name)
        embedder = self if prompt is None else self._after(prompt)
        return embedder.answers(texts, batch_size)["embedding"]

    def encode_query(self, texts: Any, batch_size: int = 64) -> np.ndarray:
        """`encode` with the prompt `"query"`; with none if there is no such.

        For what is looked for; `encode_document` for where it is looked for.
        As in sentence-transformers, the default prompt is that of neither.

        Example:

        >>> embedder.encode_query(["How do I bake bread?"]).shape
        (1, 384)
        """
        return self._encode_as(texts, batch_size, ("query",))

    def encode_document(self, texts: Any, batch_size: int = 64) -> np.ndarray:
        """`encode` with the prompt `"document"`, `"passage"` or `"corpus"`.

        The first of them that the checkpoint has; no prompt if it has none.

        Example:

        >>> embedder.encode_document(["Bread: flour, water, salt."]).shape
        (1, 384)
        """
        names = ("document", "passage", "corpus")
        return self._encode_as(texts, batch_size, names)

    def _encode_as(self, texts, batch_size, names) -> np.ndarray:
        known = [name for name in names if name in self.prompts]
        prompt = self.prompts[known[0]] if known else ""
        return self.encode(texts, batch_size, prompt=prompt)

    def similarity(self, a: Any, b: Any = None) -> np.ndarray:
        """How much alike vectors are, as the checkpoint says.

        By default the cosine of the angle between them, from -1 to 1; else
        the dot product, or the negative Euclidean or Manhattan distance.

        Args:
            a: texts, or what `encode` gave for them.
            b: the same, to compare with; `a` itself if None.

        Returns:
            float32 `(rows of a, rows of b)`.

        Raises:
            InputError: texts are not as expected, or vectors are not of
                shape `(rows, H)`.

        Example:

        >>> embedder.similarity(["A man eats."], ["He dines.", "A dog."]).shape
        (1, 2)
        """
        a = self._vectors(a)
        b = a if b is None else self._vectors(b)
        return SIMILARITY[self.head.similarity](a, b)

    def _vectors(self, x: Any) -> np.ndarray:
        # Vectors may be in a tensor, texts in an array.
        vectors = np.asarray(x) if getattr(x, "ndim", 0) else None
        if vectors is None or vectors.dtype.kind != "f":
            vectors = self.encode(x)
        x = vectors
        if x.ndim != 2 or x.shape[1] != self.dimension:
            raise InputError(
                f"Expected vectors of shape (rows, {self.dimension}). "
                f"Received: shape {x.shape}."
            )
        return x

    # === Training ===

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        loss: str | None = None,
        scale: float = 20.0,
        validation_data: Any = None,
        epochs: int = 1,
        batch_size: int = 32,
        learning_rate: float = 2e-5,
        warmup: float = 0.1,
        weight_decay: float = 0.01,
        early_stopping: int | None = None,
        callbacks: list | keras.callbacks.Callback | None = None,
        layout: str = "auto",
        verbose: str | int = "auto",
        run_dir: str | os.PathLike | None = None,
    ) -> keras.callbacks.History:
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
            early_stopping: epochs without a lower validation loss after
                which to stop.
            callbacks: list of `keras.callbacks.Callback`, or one.
            layout: how tokens are laid out: `"padded"`, `"flat"`, which
                leaves padding out and needs TensorFlow, or `"auto"`.
            verbose: `"auto"` for kbert's display, else as Keras.
            run_dir: folder of checkpoints, from which a run that was killed
                goes on; as `kbert.Classifier.fit` has it.

        Returns:
            Keras's `History`.

        Raises:
            InputError: texts or similarities are not as expected.
            ConfigError: an argument is not valid.
            NotFiniteError: a loss or weights became NaN or infinite; the
                message has the epoch and the step.

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
        from kbert.training.fit_pairs import fit_pairs
        from kbert.training.settings import Settings

        return fit_pairs(
            self,
            x,
            y,
            Settings(
                epochs=epochs,
                batch_size=batch_size,
                learning_rate=learning_rate,
                warmup=warmup,
                weight_decay=weight_decay,
                early_stopping=early_stopping,
                callbacks=callbacks,
                layout=layout,
                run_dir=run_dir,
                verbose=verbose,
                seed=0 if self.seed is None else self.seed,
            ),
            loss=loss,
            scale=scale,
            validation_data=validation_data,
        )

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

        Example:

        >>> [*embedder.evaluate(pairs, scores)]
        ['spearman', 'pearson', 'pairs']
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
        a = self.encode(first, batch_size)
        b = self.encode(second, batch_size)
        compare = SIMILARITY[self.head.similarity]
        similarity = [
            compare(a[i : i + 1], b[i : i + 1]) for i in range(len(a))
        ]
        answers = {"similarity": np.ravel(similarity)}
        return self.head.report(answers, scores)

    # === Save and load ===

    def write_more(self, folder: Path) -> None:
        # With these sentence-transformers opens the folder too.
        head = self.head
        dense = []
        for number, layer in enumerate(head.dense):
            weights = tuple(self._dense(number).get_weights())
            dense.append(DenseModule(**layer, weights=weights))
        config = SentenceConfig(
            pooling=head.poolings,
            dense=tuple(dense),
            normalize=head.normalize,
            max_length=self.max_length,
            prompts=head.prompts,
            default_prompt_name=head.default_prompt_name,
            similarity=head.similarity,
        )
        write_sentence_config(
            config, self.backbone.config["hidden_dim"], folder
        )


def unit(x: np.ndarray) -> np.ndarray:
    """Vectors `(rows, H)` scaled to length 1; zeros stay zeros."""
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return (x / np.maximum(length, 1e-12)).astype("float32")


def _distances(a: np.ndarray, b: np.ndarray, metric: Any) -> np.ndarray:
    # Imported here: SciPy costs a second, which most need not pay.
    from scipy.spatial.distance import cdist

    return -cdist(a, b, metric).astype("float32")


# Of vectors `(rows, H)`, a table `(rows of a, rows of b)`; more is more alike.
SIMILARITY: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "cosine": lambda a, b: unit(a) @ unit(b).T,
    "dot": lambda a, b: a @ b.T,
    "euclidean": lambda a, b: _distances(a, b, "euclidean"),
    "manhattan": lambda a, b: _distances(a, b, "cityblock"),
}
