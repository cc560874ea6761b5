"""A backbone, a head and a tokenizer, as one thing that answers texts."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kbert.data.batching import TokenTable
from kbert.data.batching import answer_batches
from kbert.data.batching import join_rows
from kbert.data.batching import static_shapes
from kbert.data.batching import token_places
from kbert.data.containers import iterate
from kbert.data.containers import settle
from kbert.data.row_names import rows_from
from kbert.data.row_names import rows_of
from kbert.data.texts import encoded_parts
from kbert.data.texts import windows
from kbert.errors import CheckpointError
from kbert.errors import ConfigError
from kbert.errors import NotFiniteError
from kbert.heads.base import Head
from kbert.models.backbone import Backbone
from kbert.models.graphs import compile_model
from kbert.models.graphs import features_of
from kbert.models.graphs import outputs_on
from kbert.models.ngrams import NGRAM_LOGITS
from kbert.models.ngrams import NgramModel
from kbert.pipeline.answering import WINDOW
from kbert.pipeline.answering import answer_parts
from kbert.pipeline.saved_folder import SavedFolder
from kbert.pipeline.saved_folder import find_head
from kbert.pipeline.saved_folder import held_by_json
from kbert.pipeline.saved_folder import save_model
from kbert.pipeline.saved_folder import shared_config
from kbert.pipeline.saved_folder import weights_later
from kbert.plugins import Registered
from kbert.tokenizers.table_sizes import check_tables
from kbert.tokenizers.tokenizer import Tokenizer
from kbert.tokenizers.windows import Windows
from kbert.tokenizers.windows import make_windows
from kbert.tokenizers.windows import token_table
from kbert.utils.checks import check_integer
from kbert.utils.checks import suggesting
from kbert.utils.copying import reduced
from kbert.utils.finite import not_finite
from kbert.utils.paths import as_path
from kbert.utils.progress import counting
from kbert.utils.seeding import Draws


@suggesting
class Task:
    """A backbone, a head and a tokenizer.

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
        self.model = None
        self.serving_model = None
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
        if self.head.overlap is None:
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
        if self.head.overlap is None:
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
                for part in encoded_parts(columns, WINDOW)
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
                for part in encoded_parts(columns, WINDOW)
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
        batches = answer_batches(table.lengths, batch_size)
        answers = []
        order = batches
        for rows in batches:
            batch = table.take(rows, static_shapes())
            answer = self._compute(batch)
            if self.head.overlap is not None:
                mask = batch["padding_mask"]
                answer = {key: value[mask] for key, value in answer.items()}
            answers.append(answer)
            if done is not None:
                done(len(rows))
        if self.head.overlap is not None:
            order = [token_places(table.offsets, rows)[0] for rows in batches]
        inverse = np.argsort(np.concatenate(order))
        joined = {
            key: np.concatenate([answer[key] for answer in answers])[inverse]
            for key in answers[0]
        }
        if names := not_finite(joined.items()):
            raise NotFiniteError(
                f"Expected finite answers. Received: NaN or infinity in "
                f"{names}. The weights are of no use: load the model again, "
                f"or train anew. If they are good, compute in float32 or "
                f"mixed_bfloat16, which hold greater numbers than float16."
            )
        return joined

    def answer_columns(
        self, columns: list, batch_size: int = 64
    ) -> dict[str, np.ndarray]:
        """The head's answers for what `columns` gave, in their order."""
        self.require_model()
        batch_size = check_integer("batch_size", batch_size)
        answers = list(answer_parts(self, columns, batch_size))
        return {
            key: join_rows([answer[key] for answer in answers])
            for key in answers[0]
        }

    def answers(self, x: Any, batch_size: int = 64) -> dict[str, np.ndarray]:
        """The head's answers for texts of any usual form, in their order."""
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
        with counting(len(columns[0]), WINDOW, verbose) as done:
            for answers in answer_parts(self, columns, batch_size, done):
                yield from self.head.rows(answers)

    def stream(
        self, rows: Iterable, batch_size: int = 64, window: int = WINDOW
    ) -> Iterator[dict[str, Any]]:
        """Answers row by row, in bounded memory, for any iterable of texts.

        Yields:
            One dict a row, with label names in place of indices.
        """
        window, first = check_integer("window", window), 0
        for part in windows(iterate(rows, len(self.inputs)), window):
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

    # === Copy ===

    def __reduce__(self) -> tuple:
        return reduced(self)

    def __copy__(self) -> Task:
        return copy.deepcopy(self)  # Half of it cannot be shared.

    # === Save and load ===

    def save(self, path: str | Path) -> None:
        """Save to a folder, which replaces one saved there before.

        What else is in the folder, such as an export or a `run_dir`, stays.
        The folder holds kbert.json, model.safetensors and vocab.txt, and
        beside them config.json and tokenizer_config.json, which make it a
        preset to fine-tune further. It appears whole or not at all.

        Raises:
            CheckpointError: the folder cannot be written, or holds something
                that kbert did not save.
        """
        self.require_model()
        save_model(
            path,
            self.backbone,
            self.tokenizer,
            self.head_weights(),
            self.config(),
            self.write_more,
        )

    def write_more(self, folder: Path) -> None:
        """Write what a subclass keeps beside a model's usual files."""

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

    @classmethod
    def load(cls, path: str | Path) -> Task:
        """Load what `save` saved.

        Raises:
            CheckpointError: the folder is missing, incomplete or corrupt, or
                holds several tasks.
            PluginError: the head's plugin is not installed.
        """
        saved = SavedFolder.open(path)
        if "tasks" in saved.config:
            raise CheckpointError(
                f"Expected a model of one task in {path}. Received: one of "
                f"{', '.join(saved.config['tasks'])}. Use kbert.load."
            )
        backbone, tokenizer = saved.backbone(), saved.tokenizer()
        with weights_later():
            task = cls.restore(saved, saved.config, backbone, tokenizer)
            saved.check(task.head_weights())
        saved.assign(task.head_weights())
        return task

    @classmethod
    def restore(
        cls,
        saved: SavedFolder,
        config: dict,
        backbone: Backbone,
        tokenizer: Tokenizer,
    ) -> Task:
        """A task as it was saved, but for the weights of its head.

        Args:
            saved: the opened folder.
            config: what `own_config` gave.
            backbone: that of the folder.
            tokenizer: that of the folder.
        """
        head = config["head"]
        registered = find_head(head, saved.path)
        task = cls.__new__(cls)
        with saved.refusals():
            Task.__init__(
                task,
                head=registered.value(**head["config"]),
                backbone=backbone,
                tokenizer=tokenizer,
                registered=registered,
                inputs=tuple(config["inputs"]),
                max_length=config["max_length"],
                training=config["training"],
            )
            task.require_model()  # What is saved has labels.
        return task

    def save_pretrained(self, path: str | Path, replace: bool = False) -> None:
        """Write in Hugging Face form; see `kbert.export.huggingface`."""
        from kbert.export.huggingface import save_task

        save_task(self, path, replace)

    def export(
        self, path: str | Path, format: str = "savedmodel", **options
    ) -> Path:
        """Write what serves the model; see `kbert.export.formats.export`."""
        from kbert.export.formats import export

        self.require_model()
        return export(self, as_path(path), format, **options)

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
