"""`MultiTask`: several heads on one backbone."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import keras

from kbert.checkpoints.loading import Checkpoint
from kbert.checkpoints.loading import open_checkpoint
from kbert.checkpoints.presets import DEFAULT_PRESET
from kbert.classifier import Classifier
from kbert.errors import CheckpointError
from kbert.errors import ConfigError
from kbert.errors import short
from kbert.exported.names import DEFAULT_SIGNATURE
from kbert.heads.base import Head
from kbert.heads.made_heads import classifier_head
from kbert.heads.made_heads import make_head
from kbert.pipeline.multi_model import MultiModel
from kbert.pipeline.names import check_name
from kbert.pipeline.saved_folder import SavedFolder
from kbert.pipeline.saved_folder import save_model
from kbert.pipeline.saved_folder import weights_later
from kbert.utils.checks import suggesting
from kbert.utils.paths import as_path
from kbert.utils.seeding import Draws

if TYPE_CHECKING:
    from kbert.exported.warmup import Requests

# Other signatures of an export, and what Keras calls metrics of validation.
RESERVED = (DEFAULT_SIGNATURE, "classify", "explain", "val")


@suggesting
class MultiTask(MultiModel[Classifier]):
    """Several tasks on one BERT, trained together and served together.

    Each task is a `kbert.Classifier` by its name, `multi["spam"]`, with all
    that those have (`predict`, `predict_proba`, `stream`, `evaluate`), but
    the backbone is one and the same.

    Reference: Liu et al. 2019, Multi-Task Deep Neural Networks for Natural
    Language Understanding, https://arxiv.org/abs/1901.11504

    Args:
        preset: see `kbert.Classifier`.
        heads: a dict of names to heads: the name of a head (see `kbert
            heads`), or a `kbert.Head` of one's own options. A name becomes
            that of a signature: letters, digits and _.
        max_length: tokens a row is truncated to, special ones included; or a
            dict of task names to such.
        vocabulary: see `kbert.Classifier`, as for `lowercase`, `casing` and
            `seed`.

    Attributes:
        tasks: dict of names to `kbert.Classifier`s.
        model: functional `keras.Model` from token arrays to a dict of the
            heads' outputs by task; None until every head is ready.

    Raises:
        UnknownNameError: no such head or preset.
        CheckpointError: the checkpoint is missing or corrupt.
        ConfigError: there are no heads, one stands twice, or a name cannot
            be that of a signature.

    Departures: the tasks' batches need not be in proportion to their rows,
    see `fit`; there is no knowledge distillation.

    Example:

    >>> multi = kbert.MultiTask(heads={"spam": "spam", "mood": "sentiment"})
    >>> multi.fit({"spam": (texts, labels), "mood": (reviews, moods)})
    >>> multi["mood"].predict(["What a day"])
    ['positive']
    >>> multi.export("saved_models/messages")
    """

    # What a loaded model has; `__init__` sets its own.
    seed: int | None = None

    def __init__(
        self,
        preset: str | os.PathLike = DEFAULT_PRESET,
        heads: Mapping[str, str | Head] | None = None,
        *,
        max_length: int | Mapping[str, int] = 128,
        vocabulary: str | os.PathLike | None = None,
        lowercase: bool = True,
        casing: bool = False,
        seed: int | None = None,
    ):
        heads = _check_heads(heads)
        if not isinstance(max_length, Mapping):
            max_length = dict.fromkeys(heads, max_length)
        elif set(max_length) != set(heads):
            raise ConfigError(
                f"`max_length` must be an integer, or have one for each of "
                f"{', '.join(heads)}. Received: {', '.join(max_length)}"
            )
        draws = Draws(seed)
        self.seed = draws.seed
        checkpoint = open_checkpoint(preset, vocabulary, lowercase, casing)
        with draws.own():
            made = {n: _head(head, checkpoint) for n, head in heads.items()}
            _check_made(made)
            backbone, tokenizer = checkpoint.build(), checkpoint.tokenizer
            tasks = {
                name: Classifier.on(
                    backbone, tokenizer, head, max_length=max_length[name]
                )
                for name, head in made.items()
            }
        for task in tasks.values():
            task.seed, task.draws = draws.seed, draws
        self.start(tasks)

    def fit(
        self,
        data: Mapping[str, Any],
        *,
        validation_data: Mapping[str, Any] | None = None,
        validation_split: float = 0.0,
        sampling: str | Mapping[str, float] = "proportional",
        epochs: int = 3,
        batch_size: int = 32,
        learning_rate: float = 5e-5,
        warmup: float = 0.1,
        weight_decay: float = 0.01,
        layer_decay: float = 1.0,
        class_weight: Mapping[str, Any] | None = None,
        early_stopping: int | None = None,
        callbacks: list | keras.callbacks.Callback | None = None,
        layout: str = "auto",
        verbose: str | int = "auto",
        run_dir: str | os.PathLike | None = None,
    ) -> keras.callbacks.History:
        """Fine-tune the backbone and all heads together.

        A batch has rows of one task; all of them train the backbone, and
        each its own head.

        Args:
            data: a dict that has for each task `(x, y)` or `(x, y,
                sample_weight)`, in any form that `Classifier.fit` takes, or
                a `tf.data.Dataset` of `(texts, labels)`.
            validation_data: a dict that has `(x, y)` or a dataset for some
                or all tasks.
            validation_split: fraction of the rows to set aside for
                validation, of each task that has no validation data.
            sampling: how the steps of an epoch, as many as there are batches
                in all data, are shared out. `"proportional"`, as many as a
                task has batches: every row comes once an epoch. `"sqrt"`,
                in proportion to the square root of that. `"equal"`, the same
                for all. Or a dict of task names to weights, numbers greater
                than 0. Then a small task's rows come more than once an
                epoch, and of a large one's some in the next. Which task's
                turn it is, is drawn at random.
            epochs: as `Classifier.fit`, like `batch_size`, `learning_rate`,
                `warmup`, `weight_decay`, `layer_decay`, `callbacks`,
                `layout`, `verbose` and `run_dir`. The rate rises and falls
                over all steps.
            class_weight: a dict of task names to what `Classifier.fit`
                takes, for some or all tasks.
            early_stopping: epochs without a lower `val_loss`, that of all
                tasks together, after which to stop; the weights of the
                epoch that has the lowest are kept then.

        Returns:
            Keras's `History`. Metrics begin with the name of their task.
            `NAME_loss` is what the task adds to `loss`, its steps' share in
            it included.

        Raises:
            InputError: texts or labels are not as expected.
            UnknownNameError: there is no such task.
            ConfigError: an argument is not valid.
            NotFiniteError: a loss or weights became NaN or infinite; the
                message has the epoch and the step.

        References:
            Stickland & Murray 2019, BERT and PALs (sampling by the square
            root), https://arxiv.org/abs/1902.02671

        Departures: the shares are exact, not drawn. Without `early_stopping`
        the last epoch's weights stay: which epoch is best depends on the
        task; `keras.callbacks.EarlyStopping(restore_best_weights=True)`
        watches the metric of one. With AdamW a head moves a little on the
        steps of other tasks, by its momentum.

        Example:

        >>> multi.fit(
        ...     {"spam": (texts, labels), "mood": (reviews, moods)},
        ...     validation_split=0.1,
        ...     sampling={"spam": 1, "mood": 2},
        ... )
        """
        # Imported here: answering texts needs none of it.
        from kbert.training.fit_tasks import fit_tasks
        from kbert.training.settings import Settings

        return fit_tasks(
            self,
            data,
            Settings(
                epochs=epochs,
                batch_size=batch_size,
                learning_rate=learning_rate,
                warmup=warmup,
                weight_decay=weight_decay,
                layer_decay=layer_decay,
                early_stopping=early_stopping,
                callbacks=callbacks,
                layout=layout,
                run_dir=run_dir,
                verbose=verbose,
                seed=0 if self.seed is None else self.seed,
            ),
            validation_data=validation_data,
            validation_split=validation_split,
            sampling=sampling,
            class_weight=class_weight,
        )

    def evaluate(
        self, data: Mapping[str, Any], batch_size: int = 64
    ) -> dict[str, dict]:
        """Compare answers with labels, for some or all tasks.

        Args:
            data: a dict of task names to `(x, y)` or a dataset.
            batch_size: rows computed at once.

        Returns:
            A dict of task names to what `Classifier.evaluate` gives.

        Raises:
            InputError: texts or labels are not as expected.
            UnknownNameError: there is no such task.

        Example:

        >>> [*multi.evaluate({"spam": (texts, labels)})]
        ['spam']
        """
        from kbert.training.reading import no_weights
        from kbert.training.reading import unpack
        from kbert.training.task_data import by_task
        from kbert.training.task_data import naming

        reports = {}
        for name, value in by_task("data", data, self.tasks).items():
            with naming(name):
                x, y, weight = unpack(value, "data")
                if weight is not None:
                    raise no_weights("evaluation")
                reports[name] = self[name].evaluate(x, y, batch_size)
        return reports

    # === Copy ===

    def __reduce__(self) -> tuple:
        return _copied, (type(self), self.seed, self.tasks)

    def __copy__(self) -> MultiTask:
        return copy.deepcopy(self)

    # === Save, load, export ===

    def save(self, path: str | Path) -> None:
        """Save to a folder, which replaces one saved there before.

        What else is in the folder stays. It is that of `Classifier.save`,
        with the heads of all tasks, and a preset to fine-tune further.

        Raises:
            CheckpointError: the folder cannot be written, or holds something
                that kbert did not save.

        Example:

        >>> multi.save("saved_models/mail")
        >>> [*kbert.load("saved_models/mail", kbert.MultiTask)]
        ['spam', 'mood']
        """
        for task in self.tasks.values():
            task.require_model()
        save_model(
            path,
            self.backbone,
            self.tokenizer,
            [pair for name in self for pair in self.head_weights(name)],
            self.config(),
        )

    @classmethod
    def load(cls, path: str | Path) -> MultiTask:
        """Load what `save` saved; `kbert.load` does so too.

        Raises:
            CheckpointError: the folder is missing, incomplete or corrupt, or
                holds one task.
            PluginError: the plugin of a head is not installed.

        Example:

        >>> multi.save("saved_models/mail")
        >>> [*kbert.MultiTask.load("saved_models/mail")]
        ['spam', 'mood']
        """
        saved = SavedFolder.open(path)
        if "tasks" not in saved.config:
            raise CheckpointError(
                f"Expected a model of several tasks in {path}. Received: one "
                f"of one task. Use kbert.load."
            )
        with saved.refusals():
            _check_names(saved.config["tasks"])
        backbone, tokenizer = saved.backbone(), saved.tokenizer()
        multi = cls.__new__(cls)
        with weights_later():
            multi.start(
                {
                    name: Classifier.restore(saved, config, backbone, tokenizer)
                    for name, config in saved.config["tasks"].items()
                }
            )
            for name in multi:
                saved.check(multi.head_weights(name))
        for name in multi:
            saved.assign(multi.head_weights(name))
        return multi

    def export(
        self,
        path: str | Path,
        *,
        default: str | None = None,
        version: int | None = None,
        check_ops: str | None = None,
        warmup: Mapping[str, Requests] | None = None,
    ) -> Path:
        """Write a SavedModel; see `kbert.export.several_tasks.export_tasks`.

        Example:

        >>> multi.export("exports/messages")
        PosixPath('exports/messages/1')
        """
        from kbert.export.several_tasks import export_tasks

        return export_tasks(
            self,
            as_path(path),
            default=default,
            version=version,
            check_ops=check_ops,
            warmup=warmup,
        )


def _copied(cls: type, seed: int | None, tasks: dict) -> MultiTask:
    multi: MultiTask = object.__new__(cls)
    multi.seed = seed
    multi.start(tasks)
    return multi


def _check_heads(heads: Any) -> Mapping[str, str | Head]:
    if not isinstance(heads, Mapping) or not heads:
        raise ConfigError(
            "`heads` must be a dict of task names to heads, such as "
            f"{{'spam': 'spam', 'topic': 'news'}}. Received: "
            f"heads={short(heads)}"
        )
    _check_names(heads)
    seen = {}
    for name, head in heads.items():
        if isinstance(head, str):
            continue
        if id(head) in seen:
            raise ConfigError(
                f"Each task must have a head of its own, as a head learns "
                f"its labels. Received: the same one for {seen[id(head)]!r} "
                f"and {name!r}"
            )
        seen[id(head)] = name
    return heads


def _check_made(heads: Mapping[str, Head]) -> None:
    for name, head in heads.items():
        if head.ngrams:
            raise ConfigError(
                f"A head with `ngrams` is for a model of one task. Received: "
                f"ngrams={head.ngrams} for {name!r}. Leave it out, or train a "
                f"Classifier."
            )


def _check_names(names: Iterable) -> None:
    for name in names:
        check_name("a task", name)
        if name in RESERVED or name.startswith("val_"):
            raise ConfigError(
                f"The name of a task must not be {', '.join(RESERVED)}, or "
                f"begin with val_: other signatures or metrics are called "
                f"so. Received: {short(name)}"
            )


def _head(head: str | Head, checkpoint: Checkpoint) -> Head:
    if isinstance(head, str):
        return make_head(head, checkpoint.head_options, {})
    if not isinstance(head, Head):
        raise ConfigError(
            "A head must be the name of one, or a kbert.Head. Received: "
            f"{head!r}"
        )
    registered = classifier_head(head.name)
    if type(head) is not registered.value:
        raise ConfigError(
            f"Expected a head that is registered, as the saved model asks "
            f"for it by name. Received: a {type(head).__name__}, where "
            f"{head.name!r} is a {registered.value.__name__}."
        )
    return head
