"""`Pretrainer`: a BERT of one's own, from raw text."""

from __future__ import annotations

import inspect
import os
from typing import NoReturn

import keras
from keras import ops

from kbert.checkpoints import huggingface
from kbert.checkpoints.loading import RANDOM
from kbert.checkpoints.loading import Checkpoint
from kbert.checkpoints.loading import open_checkpoint
from kbert.checkpoints.pretraining import assign_heads
from kbert.checkpoints.pretraining import head_tensors
from kbert.checkpoints.vocabularies import write_tokenizer
from kbert.data.batching import static_shapes
from kbert.errors import CheckpointError
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.formats.safetensors_form import write_tensors
from kbert.models.backbone import Backbone
from kbert.models.precision import check_trained
from kbert.pretraining.batches import PretrainingBatches
from kbert.pretraining.checks import check_pretrainer
from kbert.pretraining.corpus import Corpus
from kbert.pretraining.feed import repeatable
from kbert.pretraining.first_weights import CORPUS
from kbert.pretraining.first_weights import RANDOM as RANDOM_WEIGHTS
from kbert.pretraining.first_weights import begin_with_corpus
from kbert.pretraining.heads import PAIR_OBJECTIVES
from kbert.pretraining.heads import pretraining_model
from kbert.pretraining.settings import PretrainingSettings
from kbert.tokenizers.table_sizes import check_tables
from kbert.tokenizers.vocabulary import same_ids
from kbert.training.optimizer import make_optimizer
from kbert.training.optimizer import scale_losses
from kbert.training.settings import checked
from kbert.utils.atomic import new_folder
from kbert.utils.checks import check_choice
from kbert.utils.checks import check_integer
from kbert.utils.checks import suggesting
from kbert.utils.seeding import Draws

# As in BERT (Devlin et al. 2018, section 3.1).
DEFAULT_OBJECTIVES = {"mlm": 1.0, "nsp": 1.0}

# What `Pretrainer.save` writes.
SAVED_FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer_config.json",
    "vocab.txt",
)

# Of the weights there.
SAVED_DTYPES = ("float32", "float16")


@suggesting
class Pretrainer:
    """A BERT that learns from raw text, or learns on from a preset.

    Args:
        corpus: folder of `kbert.build_corpus`, or an open `kbert.Corpus`.
        preset: `"random:SIZE"` for a new backbone with the corpus's
            vocabulary, SIZE as `Backbone.from_size` takes it; or a preset's
            name or folder, to pretrain further (Sun et al. 2019). Heads that
            the checkpoint lacks begin at random.
        objectives: name to weight in the loss: `"mlm"` (masked tokens),
            `"nsp"` (next sentence) and `"sop"` (sentence order), in any
            combination.
        sequence_length: T, tokens in a row at most, special ones included.
        mask_rate: part of the tokens that are predicted.
        whole_words: whether words are masked whole.
        dropout: rate in the backbone while it is pretrained; None for its
            own. 0 learns faster from text that is seen a few times (Geiping &
            Goldstein 2022, section 4.3); what is saved keeps its own rates.
        first_weights: of a new backbone, `"random"`, or `"corpus"` to begin
            with what can be told of the corpus without training, see
            `kbert.pretraining.first_weights`.
        policy: Keras dtype policy, such as `"mixed_bfloat16"`; None for the
            global one.
        seed: int; makes initialization, dropout and data repeatable,
            also beside other threads that train. The global generators of
            Python and NumPy are left as they were.

    Attributes:
        model: a plain functional `keras.Model`; see
            `kbert.pretraining.heads.pretraining_model`.
        backbone: `kbert.Backbone`.

    Raises:
        ConfigError: an argument is not valid.
        InputError: the corpus is unfit for the objectives.
        CheckpointError: corpus or preset are missing or corrupt, or their
            vocabularies differ.

    References: Devlin et al. 2018, section 3.1; Lan et al. 2019, section 3.1
    (sentence order); Sun et al. 2019, section 5.4 (further pretraining).

    Example:

    >>> vocabulary = kbert.train_vocabulary(["wiki/"], size=8000)
    >>> tokenizer = kbert.Tokenizer(vocabulary)
    >>> kbert.build_corpus(["wiki/"], tokenizer, "corpora/wiki")
    >>> pretrainer = kbert.Pretrainer("corpora/wiki", "random:mini")
    >>> pretrainer.fit(run_dir="runs/mini", steps=20_000)
    >>> pretrainer.save("saved_models/mini")
    >>> clf = kbert.Classifier("saved_models/mini")
    """

    def __init__(
        self,
        corpus: str | os.PathLike | Corpus,
        preset: str | os.PathLike = "random:mini",
        *,
        objectives: dict[str, float] | None = None,
        sequence_length: int = 128,
        mask_rate: float = 0.15,
        whole_words: bool = False,
        dropout: float | None = None,
        first_weights: str = RANDOM_WEIGHTS,
        policy: str | None = None,
        seed: int = 0,
    ):
        if objectives is None:
            objectives = DEFAULT_OBJECTIVES
        check_pretrainer(
            preset=os.fspath(preset),
            objectives=objectives,
            mask_rate=mask_rate,
            whole_words=whole_words,
            dropout=dropout,
            first_weights=first_weights,
            sequence_length=sequence_length,
            policy=policy,
            seed=seed,
        )
        self.corpus = corpus if isinstance(corpus, Corpus) else Corpus(corpus)
        self.preset = os.fspath(preset)
        self.objectives = objectives
        self.mask_rate = mask_rate
        self.whole_words = whole_words
        self.dropout = dropout
        self.first_weights = first_weights
        self.policy = policy
        self.seed = int(seed)
        checkpoint = self._checkpoint()
        self._rates = _dropout_rates(checkpoint.config)
        rates = {} if dropout is None else dict.fromkeys(self._rates, dropout)
        draws = Draws(self.seed)
        with draws.own():
            self.backbone = checkpoint.build(dtype=policy, **rates)
        self.sequence_length = check_tables(
            self.backbone.config,
            tokens=len(self.corpus.vocabulary),
            texts=2 if set(PAIR_OBJECTIVES) & set(objectives) else 1,
            length=sequence_length,
            name="sequence_length",
            least=8,
        )
        with draws.own():
            self.model = pretraining_model(
                self.backbone, tuple(objectives), dtype=policy
            )
            assign_heads(self.model, checkpoint.tensors(), self.preset)
            if first_weights == CORPUS:
                begin_with_corpus(self.backbone, self.corpus, seed)

    def _checkpoint(self) -> Checkpoint:
        """The preset, whose vocabulary must be the corpus's."""
        if self.preset.startswith(RANDOM):
            return open_checkpoint(
                self.preset, self.corpus.vocabulary, self.corpus.lowercase
            )
        checkpoint = open_checkpoint(self.preset)
        if not same_ids(checkpoint, self.corpus):
            raise CheckpointError(
                f"Expected a corpus with the vocabulary of {self.preset}. "
                f"Received: {self.corpus.path}, which was built with another. "
                f"Build it again: kbert corpus --preset {self.preset}."
            )
        return checkpoint

    def __reduce__(self) -> NoReturn:
        raise ConfigError(
            "A Pretrainer holds an open corpus, and cannot be copied or "
            "pickled. Copy its `model`, or save it; a run goes on by its "
            "`run_dir`."
        )

    # === Train ===

    def fit(
        self,
        run_dir: str | os.PathLike,
        steps: int,
        *,
        batch_size: int = 64,
        accumulate: int = 1,
        optimizer: str = "adamw",
        learning_rate: float = 1e-4,
        warmup: float = 0.1,
        weight_decay: float = 0.01,
        save_every: int | None = None,
        validation: str | os.PathLike | Corpus | None = None,
        validation_steps: int = 50,
        early_stopping: int | None = None,
        jit_compile: bool | str = "auto",
        callbacks: list | keras.callbacks.Callback | None = None,
        verbose: str | int = "auto",
    ) -> keras.callbacks.History:
        """Train, or go on with the run that `run_dir` holds.

        Killed at any moment and called again, the run continues from its
        newest checkpoint and, on a CPU with the same number of threads, ends
        with the same weights bit for bit.

        Args:
            run_dir: folder of checkpoints, log and curves.
            steps: updates of the weights in all.
            batch_size: rows behind one update.
            accumulate: parts that a batch is computed in, to save memory.
            optimizer: `"adamw"`, `"lamb"` (You et al. 2020) or `"muon"`
                (Liu et al. 2025), see `kbert.training.optimizer`.
            learning_rate: the highest rate.
            warmup: part of the steps that the rate rises in; it then falls
                linearly to 0.
            weight_decay: biases and layer normalizations are left out.
            save_every: updates between checkpoints, which are also the epochs
                that Keras counts; by default a hundredth of the steps, 100
                at least and `steps` at most. `steps` is rounded up to a
                multiple of it.
            validation: corpus to evaluate on at each checkpoint.
            validation_steps: batches of it.
            early_stopping: stop after so many checkpoints without a lower
                `val_loss`, with the weights of the best; None for the last
                weights of all steps.
            jit_compile: as in Keras's `compile`; true compiles with XLA for
                a few lengths.
            callbacks: list of `keras.callbacks.Callback`.
            verbose: `"auto"` for kbert's display, else as Keras.

        Returns:
            Keras's `History` of the whole run. Beside losses and accuracies
            it has `tokens_per_second` and `real_tokens`, the part of the
            computed tokens that is not padding.

        Raises:
            ConfigError: an argument is not valid, or `run_dir` holds a run
                with other settings.
            CheckpointError: the corpus was changed or damaged, or a
                checkpoint is corrupt or cannot be written; those before it
                stay.
            NotFiniteError: a loss or weights became NaN or infinite; the
                message has the epoch and the step.

        Example:

        >>> history = pretrainer.fit(run_dir="runs/mini", steps=20_000)
        >>> history.history["mlm_accuracy"][-1]
        0.46
        """
        # Imported here: a model that is only evaluated needs none of it.
        from kbert.pretraining.run import run
        from kbert.training.loop import build_losses

        settings = PretrainingSettings(
            run_dir=checked("run_dir", run_dir),
            steps=steps,
            batch_size=batch_size,
            accumulate=accumulate,
            optimizer=optimizer,
            learning_rate=learning_rate,
            warmup=warmup,
            weight_decay=weight_decay,
            save_every=save_every,
            validation_steps=validation_steps,
            early_stopping=early_stopping,
            jit_compile=jit_compile,
            callbacks=callbacks,
            verbose=verbose,
        )
        stops = settings.early_stopping is not None
        settings.check(validation is not None, stops, "`validation`")
        check_trained(self.model)
        self.corpus.verify()
        static = static_shapes() or settings.jit_compile is True
        self.compile(
            make_optimizer(
                settings.optimizer,
                settings.learning_rate,
                settings.steps * settings.accumulate,
                settings.warmup,
                settings.weight_decay,
                settings.accumulate,
                callbacks=settings.callbacks or (),
            ),
            settings.jit_compile,
        )
        # Variables made while a graph is traced would have it traced twice.
        self.model.optimizer.build(self.model.trainable_variables)
        logits = {
            name: keras.KerasTensor([size or 1 for size in x.shape], x.dtype)
            for name, x in self.model.output.items()
        }
        targets = {
            name: ops.zeros(x.shape[:-1], "int32") for name, x in logits.items()
        }
        build_losses(self.model, targets, logits)
        decided = {
            "corpus": self.corpus.digest,
            "preset": self.preset,
            "objectives": self.objectives,
            "sequence_length": self.sequence_length,
            "mask_rate": self.mask_rate,
            "whole_words": self.whole_words,
            "dropout": self.dropout,
            "first_weights": self.first_weights,
            "policy": self.backbone.embeddings.dtype_policy.name,
            "seed": self.seed,
            "static_shapes": static,
        }
        held_out = None
        if validation is not None:
            validation = self._open(validation)
            held_out = repeatable(
                self.batches(validation, settings.batch_size, static),
                settings.validation_steps,
            )
            if stops:
                decided["validation"] = validation.digest
                decided["validation_steps"] = settings.validation_steps
        rows = settings.batch_size // settings.accumulate
        return run(
            self.model,
            self.batches(self.corpus, rows, static),
            settings,
            decided,
            self.backbone.config,
            held_out,
        )

    def compile(
        self,
        optimizer: keras.optimizers.Optimizer | str = "adamw",
        jit_compile: bool | str = "auto",
    ) -> None:
        """Compile `model` with the losses and metrics of its objectives.

        Example:

        >>> pretrainer.compile("adam")
        >>> pretrainer.model.evaluate(batches)
        """
        self.model.compile(
            scale_losses(keras.optimizers.get(optimizer), self.model),
            # Of the hidden tokens, and not of the filling beside them.
            loss={
                name: keras.losses.SparseCategoricalCrossentropy(
                    from_logits=True, reduction="mean_with_sample_weight"
                )
                for name in self.objectives
            },
            loss_weights=self.objectives,
            weighted_metrics={
                name: [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
                for name in self.objectives
            },
            jit_compile=jit_compile,
        )

    def batches(
        self, corpus: Corpus, batch_size: int, static: bool = False
    ) -> PretrainingBatches:
        """The batches of a corpus; `static` pads them to few lengths.

        Example:

        >>> batches = pretrainer.batches(pretrainer.corpus, batch_size=64)
        """
        return PretrainingBatches(
            corpus,
            tuple(self.objectives),
            self.sequence_length,
            batch_size,
            mask_rate=self.mask_rate,
            whole_words=self.whole_words,
            static=static,
            seed=self.seed,
        )

    # === Evaluate and save ===

    def evaluate(
        self,
        corpus: str | os.PathLike | Corpus,
        steps: int = 100,
        batch_size: int = 64,
    ) -> dict[str, float]:
        """Losses and accuracies on text that was not trained on.

        Args:
            corpus: one that was built with the same vocabulary.
            steps: batches to compute.
            batch_size: rows in each.

        Returns:
            `loss`; for each objective `..._loss`, in nats, and
            `..._accuracy`; and `unigram_entropy` of the corpus, in nats: the
            loss of a model that knows how frequent each token is and nothing
            else.

        Example:

        >>> pretrainer.evaluate("corpora/held-out")["mlm_loss"]
        3.1
        """
        steps = check_integer("steps", steps)
        batch_size = check_integer("batch_size", batch_size)
        corpus = self._open(corpus)
        if not self.model.compiled:
            self.compile()
        batches = self.batches(corpus, batch_size, static_shapes())
        values = self.model.evaluate(
            repeatable(batches, steps), return_dict=True, verbose=0
        )
        return {key: float(value) for key, value in values.items()} | {
            "unigram_entropy": corpus.unigram_entropy()
        }

    def _open(self, corpus: str | os.PathLike | Corpus) -> Corpus:
        corpus = corpus if isinstance(corpus, Corpus) else Corpus(corpus)
        if not same_ids(corpus, self.corpus):
            raise InputError(
                f"Expected a corpus with the vocabulary of "
                f"{self.corpus.path}. Received: {corpus.path}, which was "
                f"built with another. Build it again with the same vocab.txt."
            )
        return corpus

    def save(self, path: str | os.PathLike, dtype: str = "float32") -> None:
        """Save as a preset: a folder in the form of `BertForPreTraining`.

        The folder holds config.json, model.safetensors (backbone and heads),
        vocab.txt and tokenizer_config.json, and takes the place of one that
        holds these and nothing else.

        Args:
            path: the folder.
            dtype: of the weights in the file, `"float32"` or `"float16"`.

        Raises:
            CheckpointError: the folder cannot be written, or holds something
                else.
            ConfigError: it is another dtype.

        Example:

        >>> pretrainer.save("saved_models/mini")
        >>> clf = kbert.Classifier("saved_models/mini")
        """
        # As integers the weights would all be 0.
        check_choice("dtype", dtype, SAVED_DTYPES)
        tensors = {
            f"bert.{name}": value
            for name, value in huggingface.backbone_tensors(
                self.backbone
            ).items()
        }
        tensors |= head_tensors(self.model)
        with new_folder(path, replace=True) as folder:
            write_tensors(
                {k: v.astype(dtype) for k, v in tensors.items()},
                folder / "model.safetensors",
            )
            huggingface.write_config(
                self.backbone,
                folder,
                "BertForPreTraining",
                hidden_dropout_prob=self._rates["dropout"],
                attention_probs_dropout_prob=self._rates["attention_dropout"],
            )
            write_tokenizer(self.corpus, folder)


def _dropout_rates(config: dict) -> dict[str, float]:
    """Those of a backbone of this configuration, by its arguments' names."""
    defaults = inspect.signature(Backbone).parameters
    return {
        name: config.get(name, defaults[name].default)
        for name in ("dropout", "attention_dropout")
    }
