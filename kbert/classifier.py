"""`Classifier`, the front door: texts in, labels out."""

from __future__ import annotations

import inspect
import os
from typing import TYPE_CHECKING
from typing import Any

import keras
import numpy as np

from kbert.checkpoints.loading import open_checkpoint
from kbert.checkpoints.presets import DEFAULT_PRESET
from kbert.data.containers import settle
from kbert.data.row_names import rows_of
from kbert.errors import ConfigError
from kbert.heads.base import Head
from kbert.heads.made_heads import classifier_head
from kbert.heads.made_heads import make_head
from kbert.pipeline.names import check_inputs
from kbert.pipeline.names import default_inputs
from kbert.pipeline.names import refuse_answers
from kbert.pipeline.text_model import check_ids
from kbert.task import Task
from kbert.utils.checks import check_choice
from kbert.utils.checks import check_integer
from kbert.utils.checks import suggesting
from kbert.utils.seeding import Draws

if TYPE_CHECKING:
    from kbert.models.backbone import Backbone
    from kbert.tokenizers.tokenizer import Tokenizer


# Ways to train.
METHODS = ("fine_tune", "few_shot")


@suggesting
class Classifier(Task):
    """A BERT that is fine-tuned on labelled texts.

    Args:
        preset: a pretrained checkpoint: a preset's name, a folder in Hugging
            Face, Google's or KerasHub's form, `"owner/name"` on the Hugging
            Face Hub, `"kerashub:NAME"`, or `"random:SIZE"`; see
            `kbert.checkpoints.loading.open_checkpoint`.
        head: name of the task head, see `kbert heads`.
        labels: the labels in order; learned by `fit` if None.
        max_length: tokens a row is truncated to, special ones included.
        inputs: names of the texts of a row, which become the names of the
            SavedModel's inputs. By default the head's; two texts a row make
            them `("text", "text_pair")`.
        vocabulary: vocab.txt of a random preset.
        lowercase: whether that vocabulary is uncased.
        casing: whether the model is told which words have capitals, which a
            lower-cased vocabulary forgets; see `kbert.Tokenizer`. Entities
            and spam are told by it. Such a model is exported as a SavedModel
            only.
        seed: int; makes initialization, dropout and shuffling repeatable,
            also beside other threads that train. The global generators of
            Python and NumPy are left as they were.
            None draws from them.
        **head_options: further arguments of the head.

    Attributes:
        model: a plain functional `keras.Model`; None before the labels are
            known.
        labels: the labels, in the order of `predict_proba`'s columns.

    Raises:
        UnknownNameError: no such head or preset.
        CheckpointError: the checkpoint is missing or corrupt.
        ConfigError: an argument is not valid.

    Example:

    >>> clf = kbert.Classifier()
    >>> clf.fit(["I loved it", "Never again"], ["good", "bad"])
    >>> clf.predict(["What a day"])
    ['good']
    """

    # What a loaded model has; `__init__` sets its own.
    seed: int | None = None
    _fixed_inputs = True

    def __init__(
        self,
        preset: str | os.PathLike = DEFAULT_PRESET,
        head: str = "classification",
        *,
        labels: list | None = None,
        max_length: int = 128,
        inputs: tuple[str, ...] | None = None,
        vocabulary: str | os.PathLike | None = None,
        lowercase: bool = True,
        casing: bool = False,
        seed: int | None = None,
        **head_options: Any,
    ):
        # Before anything is fetched.
        draws = Draws(seed)
        check_integer("max_length", max_length, 3)
        own = [*inspect.signature(Classifier).parameters][:-1]
        options = {"labels": labels} | head_options
        made = make_head(head, {}, options, own)
        options["labels"] = made.labels  # They may come from an iterator.
        if inputs is not None:
            inputs = check_inputs(inputs, made)
        checkpoint = open_checkpoint(preset, vocabulary, lowercase, casing)
        with draws.own():
            made = make_head(head, checkpoint.head_options, options)
            backbone = checkpoint.build()
        self._start(
            made,
            backbone,
            checkpoint.tokenizer,
            max_length=max_length,
            inputs=inputs,
            draws=draws,
        )

    @classmethod
    def on(
        cls,
        backbone: Backbone,
        tokenizer: Tokenizer,
        head: Head,
        *,
        max_length: int = 128,
        seed: int | None = None,
    ) -> Classifier:
        """A classifier on a backbone that is there already, and stays shared.

        Args:
            backbone: `kbert.Backbone`.
            tokenizer: the `kbert.Tokenizer` that it was trained with.
            head: a `kbert.Head` that is registered.
            max_length: as the constructor's, like `seed`.

        Example:

        >>> clf = Classifier.on(backbone, tokenizer, ClassificationHead())
        """
        clf = cls.__new__(cls)
        clf._start(head, backbone, tokenizer, max_length, None, Draws(seed))
        return clf

    def _start(self, head, backbone, tokenizer, max_length, inputs, draws):
        self.seed = draws.seed
        self.draws = draws
        self._fixed_inputs = inputs is not None
        super().__init__(
            head=head,
            backbone=backbone,
            tokenizer=tokenizer,
            registered=classifier_head(head.name),
            inputs=tuple(inputs or head.inputs),
            max_length=max_length,
        )
        if self.model is not None:
            answers = self.serving_model.output
            refuse_answers(self.inputs, answers, self.head)

    @property
    def labels(self) -> list | None:
        return self.head.labels

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        validation_data: Any = None,
        validation_split: float = 0.0,
        epochs: int | None = None,
        batch_size: int = 32,
        learning_rate: float = 5e-5,
        warmup: float = 0.1,
        weight_decay: float = 0.01,
        layer_decay: float = 1.0,
        r_drop: float = 0.0,
        class_weight: dict | str | None = None,
        sample_weight: Any = None,
        early_stopping: int | None = None,
        callbacks: list | keras.callbacks.Callback | None = None,
        layout: str = "auto",
        verbose: str | int = "auto",
        method: str = "fine_tune",
        pooling: str | None = None,
        run_dir: str | os.PathLike | None = None,
    ) -> keras.callbacks.History:
        """Fine-tune on labelled texts.

        Args:
            x: texts as a list or any other iterable, an array, a tensor, a
                column of pandas, Arrow, Polars or `datasets`, or a
                `tf.data.Dataset` of `(texts, labels)` or `(texts, labels,
                weights)`; pairs of texts as a list of pairs, or a dict,
                data frame or other table that has the columns `inputs`.
            y: one label a text, strings or integers, or what else the head
                learns from (docs/heads.md); None if `x` is a dataset.
            validation_data: `(x, y)` in the same forms, or a dataset.
            validation_split: fraction of the rows to set aside for
                validation, each label in proportion; see
                `kbert.training.split.set_aside`.
            epochs: passes over the data. Default 3.
            batch_size: rows in a step. Default 32.
            learning_rate: the highest rate. Default 5e-5.
            warmup: fraction of the steps that the rate rises in; it then
                falls linearly to 0. Default 0.1.
            weight_decay: AdamW's; biases and layer normalizations are left
                out. Default 0.01.
            layer_decay: factor on the rate from one layer to the next below
                it. Default 1.0, the same rate for all.
            r_drop: weight of R-Drop: each row is taken twice, under different
                dropout, and the two answers are held together. It takes
                twice the time; 1.0 is usual.
                Default 0.0, without. For heads that answer one label.
            class_weight: `"balanced"`, or a dict of label to weight, where
                labels that are not named weigh 1.
            sample_weight: one weight a row; it multiplies with the label's.
                Weights are numbers of 0 or more.
            early_stopping: epochs without a better validation metric after
                which to stop. The best epoch's weights are kept whenever
                there is validation data.
            callbacks: list of `keras.callbacks.Callback`, or one; what each
                of Keras's does here is in docs/keras.md.
            layout: how tokens are laid out, `"padded"` to the longest row
                of a batch, `"flat"`, without padding, or `"packed"`,
                several texts in a row that cannot see each other; see
                `kbert.models.layout.choose_layout`. Default `"auto"`, by
                backend and device.
            verbose: `"auto"` for kbert's display, else as Keras: 0 silent,
                1 a bar, 2 a line an epoch.
            method: `"few_shot"` for a handful of examples a class, in
                SetFit's manner: the backbone learns from pairs of the texts,
                then a logistic regression becomes the head. It takes
                `validation_data`, `validation_split`, `epochs` (default 3
                for each label but one, from 8 to 20), `batch_size`,
                `learning_rate` (default 5e-5), `warmup`, `weight_decay`,
                `class_weight`, `callbacks`, `verbose`, and `pooling`,
                `"mean"` (the default) or `"cls"`, the vector that pairs are
                compared by, and `run_dir`.
            run_dir: folder of checkpoints, one an epoch. Killed at any moment
                and called again with the same data and arguments, the run
                goes on from there and ends with the same weights, unless
                they hang on what a callback of yours remembers.

        Returns:
            Keras's `History`.

        Raises:
            InputError: texts or labels are not as expected.
            ConfigError: an argument is not valid, or `run_dir` holds a run
                with other data or arguments.
            CheckpointError: a checkpoint is corrupt or cannot be written.
            NotFiniteError: a loss or weights became NaN or infinite; the
                message has the epoch and the step.

        References:
            Tunstall et al. 2022, Efficient Few-Shot Learning Without
            Prompts (SetFit), https://arxiv.org/abs/2209.11055
            Liang et al. 2021, R-Drop: Regularized Dropout for Neural
            Networks, https://arxiv.org/abs/2106.14448

        Departures: of SetFit's, see docs/embeddings.md.

        Example:

        >>> history = clf.fit(texts, labels, epochs=2, validation_split=0.1)
        >>> history.epoch
        [0, 1]
        """
        # Imported here: answering texts needs none of it.
        from kbert.training.fit import fit
        from kbert.training.fit_few_shot import fit_few_shot
        from kbert.training.settings import Settings

        check_choice("method", method, METHODS)
        settings = Settings(
            epochs=3 if epochs is None else epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            warmup=warmup,
            weight_decay=weight_decay,
            layer_decay=layer_decay,
            r_drop=r_drop,
            early_stopping=early_stopping,
            callbacks=callbacks,
            layout=layout,
            run_dir=run_dir,
            verbose=verbose,
            seed=0 if self.seed is None else self.seed,
        )
        data = {
            "validation_data": validation_data,
            "validation_split": validation_split,
            "class_weight": class_weight,
            "sample_weight": sample_weight,
        }
        if method == "fine_tune":
            if pooling is not None:
                raise ConfigError(
                    f"`pooling` is of method='few_shot'. Received: "
                    f"pooling={pooling!r}. Leave it out."
                )
            return fit(self, x, y, settings, **data)
        return fit_few_shot(
            self,
            x,
            y,
            settings,
            pooling=pooling or "mean",
            by_labels=epochs is None,
            **data,
        )

    def predict(
        self, x: Any, batch_size: int = 64, verbose: str | int = "auto"
    ) -> list:
        """The label of each text, or what else the head answers.

        Texts are taken by the thousand, sorted by length within those, and
        answered in their order; memory beside the answers does not grow
        with them.

        Args:
            x: texts in any form that `fit` takes; of a `tf.data.Dataset`
                labels and weights are passed over.
            batch_size: rows computed at once; of texts over 128 tokens half
                as many, of those over 256 a quarter, and so on.
            verbose: `"auto"` shows progress on standard error where there
                are many thousand texts, 1 always, 0 never.

        Returns:
            A list with one answer a row, the head's `answer_output`; for
            `classification` labels, strings or integers as they were
            trained.

        Example:

        >>> clf.predict(["Win a prize!", "See you at six"])
        ['spam', 'ham']
        """
        rows = self.answer_rows(x, batch_size, verbose)
        return [row[self.head.answer_output] for row in rows]

    def predict_proba(self, x: Any, batch_size: int = 64) -> np.ndarray:
        """The probability of each label for each text.

        Returns:
            float32 `(rows, labels)`; the columns are `clf.labels`.

        Raises:
            ConfigError: the head answers no probabilities.

        Example:

        >>> clf.predict_proba(["Win a prize!", "See you at six"]).shape
        (2, 2)
        """
        answers = self.answers(x, batch_size)
        if "probabilities" not in answers:
            raise ConfigError(
                f"Expected a head that answers probabilities. Received: "
                f"{self.head.name!r}, which answers {', '.join(answers)}. Use "
                f"`predict` or `stream`."
            )
        return answers["probabilities"]

    def evaluate(self, x: Any, y: Any = None, batch_size: int = 64) -> dict:
        """Compare answers with labels.

        Returns:
            The head's report, as JSON can hold it; for `classification`
            `accuracy`, `macro_f1`, `absent` (labels in neither the data nor
            the answers, which the mean leaves out), `per_class` (precision,
            recall, F1 and support of each label) and `confusion_matrix`
            (rows are the true labels, columns the predicted ones).

        Example:

        >>> report = clf.evaluate(texts, labels)
        >>> [*report["per_class"]]
        ['ham', 'spam']
        """
        from kbert.training.reading import no_weights
        from kbert.training.reading import read_examples

        self.require_model()
        columns, labels, weight = read_examples(self, x, y)
        if weight is not None:
            raise no_weights("evaluation")
        with rows_of(x):
            targets = self.head.encode(labels)
        answers = self.answer_columns(columns, batch_size)
        return self.head.report(answers, targets)

    def columns(self, x: Any) -> list:
        x = settle(x, len(self.inputs))  # It is read twice.
        # Until the model is built, two texts a row say that it takes pairs.
        if self.model is None and not self._fixed_inputs:
            if len(self.inputs) == 1 and self._has_pairs(x):
                pair = default_inputs(self.head, 2)
                check_ids(self.backbone, self.tokenizer, pair, self.max_length)
                self.inputs = pair
        return super().columns(x)

    def _has_pairs(self, x: Any) -> bool:
        with rows_of(x):
            return len(self.head.texts(x, self.inputs)) == 2
