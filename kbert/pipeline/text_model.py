"""A backbone, a head and a tokenizer, as one thing that answers texts."""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from kbert.data.batching import TokenTable
from kbert.data.batching import join_rows
from kbert.data.batching import static_shapes
from kbert.data.containers import iterate
from kbert.data.containers import settle
from kbert.data.files import PART
from kbert.data.row_names import rows_from
from kbert.data.row_names import rows_of
from kbert.data.texts import ahead
from kbert.data.texts import chunks
from kbert.data.texts import encoded_parts
from kbert.errors import ConfigError
from kbert.heads.base import Head
from kbert.heads.tokens import TokenHead
from kbert.models.backbone import Backbone
from kbert.models.graphs import compile_model
from kbert.models.graphs import features_of
from kbert.models.graphs import outputs_on
from kbert.models.ngrams import NGRAM_LOGITS
from kbert.models.ngrams import NgramModel
from kbert.pipeline.batch_predict import answer_table
from kbert.pipeline.saved_folder import held_by_json
from kbert.pipeline.saved_folder import shared_config
from kbert.plugins import Registered
from kbert.tokenizers.table_sizes import check_tables
from kbert.tokenizers.tokenizer import Tokenizer
from kbert.tokenizers.windows import Windows
from kbert.tokenizers.windows import make_windows
from kbert.tokenizers.windows import token_table
from kbert.utils.checks import check_integer
from kbert.utils.checks import suggesting
from kbert.utils.progress import counting
from kbert.utils.seeding import Draws

# Texts that are read whole, whose tokens' answers are held at once.
LONG_PART = 1024


@suggesting
class TextModel:
    """A backbone, a head and a tokenizer, from texts to answers.

    Args:
        head: a `kbert.Head`.
        backbone: a `kbert.Backbone`.
        tokenizer: a `kbert.Tokenizer`.
        registered: what the registry says of the head.
        inputs: names of the texts of a row.
        max_length: tokens a row is truncated to, special ones included.
        training: what is known of the training, as JSON can hold it.

    Attributes:
        model: functional `keras.Model` from token arrays to the head's
            outputs; None until the head is ready, as when it has to learn
            its labels.
        serving_model: the same weights, to the head's answers.
        ngrams: `kbert.models.ngrams.NgramModel` of a head that has `ngrams`,
            when the head is ready; else None.
    """

    # Where the seeds of what it builds come from.
    draws = Draws(None)

    def __init__(
        self,
        head: Head,
        backbone: Backbone,
        tokenizer: Tokenizer,
        registered: Registered,
        inputs: tuple[str, ...],
        max_length: int,
        training: dict | None = None,
    ):
        max_length = check_ids(backbone, tokenizer, inputs, max_length)
        self.head = head
        self.backbone = backbone
        self.tokenizer = tokenizer
        self.registered = registered
        self.inputs = inputs
        self.max_length = max_length
        self.training = training or {}
        # None until `build`.
        self.model: keras.Model = None
        self.serving_model: keras.Model = None
        self.ngrams = None
        if head.ready:
            self.build()

    def build(self) -> None:
        """Put the head on the backbone; it must be ready."""
        with self.draws.own():
            self._build()

    def _build(self) -> None:
        inputs = self.backbone.input
        features = features_of(self.backbone)
        if self.head.ngrams:
            classes = len(self.head.labels)
            self.ngrams = self.ngrams or NgramModel(classes, self.head.ngrams)
            logits = keras.Input((classes,), name=NGRAM_LOGITS)
            inputs = inputs | {NGRAM_LOGITS: logits}
            features |= {NGRAM_LOGITS: logits}
        self.model = keras.Model(
            inputs, self.head.build(features), name=self.head.name
        )
        self.build_serving()

    def build_serving(self) -> None:
        """Take over what the head has learned since, such as a threshold."""
        model = self.laid_out("padded" if static_shapes() else "grouped")
        self.serving_model = keras.Model(
            model.input, self.head.serve(model.output), name="serving"
        )
        self._compute = compile_model(self.serving_model)

    def laid_out(self, layout: str) -> keras.Model:
        """`model` with its tokens laid out in a way; the weights are shared.

        Args:
            layout: `"padded"`, which is `model` itself, or another of
                `Backbone.laid_out`; `"packed"` has the inputs of
                `Backbone.packed`.

        Example:

        >>> clf.laid_out("flat").count_params() == clf.model.count_params()
        True
        """
        if layout == "padded":
            return self.model
        encoder = self.backbone.laid_out(layout)
        return keras.Model(
            self.model.input | encoder.input,
            outputs_on(encoder, self.model, self.backbone),
            name=self.model.name,
        )

    @property
    def prompt(self) -> str:
        """What is put before every text."""
        return ""

    def require_model(self) -> None:
        """Raise `ConfigError` if there is no model yet."""
        if self.model is None:
            raise ConfigError(
                "There is no model before the labels are known. Call `fit` "
                "first, or pass `labels` to the constructor."
            )

    # === Texts in, answers out ===

    def tokens(self, columns: list) -> dict:
        """Rows for the model of texts, a list or string tensor a column.

        Returns:
            What `kbert.Tokenizer` gives; for heads that answer tokens, what
            `kbert.tokenizers.windows.make_windows` gives.
        """
        if not isinstance(self.head, TokenHead):
            return self.tokenizer(
                *columns,
                max_length=self.max_length,
                truncation=self.head.truncation,
            )
        return make_windows(
            self.tokenizer,
            *columns,
            max_length=self.max_length,
            overlap=self.head.overlap,
        )

    def finish(self, outputs: dict, tokens: dict, texts: list) -> dict:
        """Answers of texts, dense tensors, from outputs of their tokens.

        Args:
            outputs: of the head's `serve`; ragged for heads that answer
                tokens.
            tokens: what `tokens` gave.
            texts: string tensors `(B,)`, one a column.
        """
        if not isinstance(self.head, TokenHead):
            return outputs
        names = dict(zip(self.head.inputs, texts, strict=True))
        answers = self.head.finish(outputs, tokens, names)
        return {
            key: value.to_tensor(-1 if value.dtype.is_integer else None)
            if hasattr(value, "to_tensor")
            else value
            for key, value in answers.items()
        }

    def tokenize(
        self, columns: list, ngram_logits: np.ndarray | None = None
    ) -> TokenTable:
        """Token ids of texts, one list a column.

        Of a head that has `ngrams` with their logits, float32 `(rows, labels)`:
        those given, or else what `ngrams` says.
        """
        table = TokenTable.concatenate(
            [
                token_table(self.tokens(part), self.tokenizer.pad_id)
                for part in encoded_parts(columns, PART)
            ]
        )
        if self.ngrams is None:
            return table
        if ngram_logits is None:
            ngram_logits = self.ngrams.logits(columns)
        return replace(table, inputs={NGRAM_LOGITS: ngram_logits})

    def windows(self, columns: list) -> Windows:
        """Windows of texts, one list a column; for heads that answer tokens."""
        return Windows.concatenate(
            [
                Windows.from_tensors(self.tokens(part), self.tokenizer.pad_id)
                for part in encoded_parts(columns, PART)
            ]
        )

    def answer_table(
        self,
        table: TokenTable,
        batch_size: int = 64,
        done: Callable[[int], None] | None = None,
    ) -> dict[str, np.ndarray]:
        """What the head's `serve` gives for each row, in the table's order.

        Of heads that answer tokens it is `(N, ...)`, without padding. `done`
        is told how many rows each batch had.

        Raises:
            NotFiniteError: an answer is NaN or infinite.
        """
        by_token = self.head.by_token
        return answer_table(table, self._compute, batch_size, by_token, done)

    def _parts(
        self,
        columns: list,
        batch_size: int,
        done: Callable[[int], None] | None = None,
    ) -> Iterator[dict[str, np.ndarray]]:
        """The head's answers by parts of some thousand rows, in their order.

        A part is tokenized while the one before is computed.
        """
        if not self.head.by_token:
            parts = encoded_parts(columns, PART)
            for table in ahead(map(self.tokenize, parts)):
                yield self.answer_table(table, batch_size, done)
            return
        parts = encoded_parts(columns, LONG_PART)
        for part, tokens in ahead((part, self.tokens(part)) for part in parts):
            yield self._answer_windows(part, tokens, batch_size)
            if done is not None:
                done(len(part[0]))

    def _answer_windows(
        self, texts: list, tokens: dict, batch_size: int
    ) -> dict[str, np.ndarray]:
        import tensorflow as tf

        table = token_table(tokens, self.tokenizer.pad_id)
        outputs = {
            key: tf.RaggedTensor.from_row_splits(value, table.offsets)
            for key, value in self.answer_table(table, batch_size).items()
        }
        texts = [tf.constant(text) for text in texts]
        answers = self.finish(outputs, tokens, texts)
        return {key: value.numpy() for key, value in answers.items()}

    def answer_columns(
        self, columns: list, batch_size: int = 64
    ) -> dict[str, np.ndarray]:
        """The head's answers for what `columns` gave, in their order."""
        self.require_model()
        batch_size = check_integer("batch_size", batch_size)
        answers = list(self._parts(columns, batch_size))
        return {
            key: join_rows([answer[key] for answer in answers])
            for key in answers[0]
        }

    def answers(self, x: Any, batch_size: int = 64) -> dict[str, np.ndarray]:
        """The head's answers for texts of any usual form, in their order.

        Example:

        >>> answers = clf.answers(["Win a prize!", "See you at six"])
        >>> answers["probabilities"].shape
        (2, 2)
        """
        self.require_model()
        batch_size = check_integer("batch_size", batch_size)
        return self.answer_columns(self.columns(x), batch_size)

    def answer_rows(
        self, x: Any, batch_size: int = 64, verbose: str | int = 0
    ) -> Iterator[dict[str, Any]]:
        """The same row by row, with label names, and progress if asked for."""
        self.require_model()
        batch_size = check_integer("batch_size", batch_size)
        columns = self.columns(x)
        with counting(len(columns[0]), PART, verbose) as done:
            for answers in self._parts(columns, batch_size, done):
                yield from self.head.rows(answers)

    def stream(
        self, rows: Iterable, batch_size: int = 64, window: int = PART
    ) -> Iterator[dict[str, Any]]:
        """Answers row by row, in bounded memory, for any iterable of texts.

        Yields:
            One dict a row, with label names in place of indices.

        Example:

        >>> with open("mail.txt") as lines:
        ...     for answer in clf.stream(lines):
        ...         print(answer["label"], answer["score"])
        spam 0.98
        """
        window, first = check_integer("window", window), 0
        for part in chunks(iterate(rows, len(self.inputs)), window):
            with rows_from(first):
                answers = self.answers(part, batch_size)
            yield from self.head.rows(answers)
            first += len(part)

    def columns(self, x: Any) -> list:
        """Texts as one list a column, checked against the model's inputs."""
        with rows_of(x):
            columns = self.head.texts(settle(x, len(self.inputs)), self.inputs)
        if len(columns) != len(self.inputs):
            raise ConfigError(
                f"Expected {len(self.inputs)} text(s) a row "
                f"({', '.join(self.inputs)}). Received: {len(columns)}."
            )
        return columns

    # === What is saved of it ===

    def head_weights(self) -> list[tuple[str, keras.Variable]]:
        """The weights that the head has added, by name."""
        shared = {id(weight) for weight in self.backbone.weights}
        named = [
            (f"head.{weight.path.replace('/', '.')}", weight)
            for weight in self.model.weights
            if id(weight) not in shared and "seed_generator" not in weight.path
        ]
        if self.ngrams is not None:
            named += [(f"ngrams.{w.name}", w) for w in self.ngrams.weights]
        return named

    def weights(self) -> list[keras.Variable]:
        """All that answers depend on."""
        more = [] if self.ngrams is None else self.ngrams.weights
        return [*self.model.weights, *more]

    def config(self) -> dict[str, Any]:
        """What kbert.json holds; see `kbert.load`."""
        return shared_config(self.backbone, self.tokenizer) | self.own_config()

    def own_config(self) -> dict[str, Any]:
        """What is not of the backbone and the tokenizer."""
        return {
            "head": {
                "name": self.head.name,
                "plugin": self.registered.plugin,
                "version": self.registered.version,
                "config": held_by_json(self.head),
            },
            "inputs": list(self.inputs),
            "max_length": self.max_length,
            "training": self.training,
        }

    def identity(self) -> dict[str, Any]:
        """What a run is told of the model, so that no other goes on with it."""
        return {
            "head": {"name": self.head.name} | self.head.get_config(),
            "backbone": self.backbone.config,
            "policy": self.backbone.embeddings.dtype_policy.name,
        }

    def note_training(self, rows: int, seconds: float, **facts) -> None:
        """Remember where the weights come from."""
        self.training = {
            "date": time.strftime("%Y-%m-%d"),
            "rows": rows,
            "seconds": round(seconds, 1),
            "keras": keras.__version__,
            "backend": keras.backend.backend(),
            **facts,
        }


def check_ids(
    backbone: Backbone,
    tokenizer: Tokenizer,
    inputs: tuple[str, ...],
    max_length: int,
) -> int:
    """`max_length`, if the backbone has a row for each id; see there."""
    return check_tables(
        backbone.config,
        tokens=tokenizer.vocabulary_size,
        texts=len(inputs),
        length=max_length,
        casing=tokenizer.casing,
    )
