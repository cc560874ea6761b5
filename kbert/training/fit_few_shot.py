"""Training from a handful of examples a class, in SetFit's manner.

First the backbone learns to put texts of one class together, from pairs of
them; then a logistic regression on its vectors becomes the head.

Shapes: B texts of a batch, H size of a vector.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from kbert.data.batching import LengthBatches
from kbert.data.batching import TokenTable
from kbert.data.row_names import rows_of
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.errors import short
from kbert.heads.embedding import EmbeddingHead
from kbert.models.graphs import features_of
from kbert.models.layout import choose_layout
from kbert.models.precision import check_trained
from kbert.pipeline.text_model import TextModel
from kbert.training.calibrate import calibrate
from kbert.training.class_weight import label_weights
from kbert.training.examples import Examples
from kbert.training.examples import Rows
from kbert.training.loop import train
from kbert.training.optimizer import AdamW
from kbert.training.reading import no_weights
from kbert.training.reading import read_examples
from kbert.training.rows import learn
from kbert.training.rows import read_held_out
from kbert.training.settings import Settings
from kbert.training.settings import checked
from kbert.training.split import split as set_aside
from kbert.training.vector_losses import PairwiseCosineLoss
from kbert.utils.checks import check_integer

# The layer that the logistic regression becomes.
LOGITS = "logits"

# Passes over the texts: so many for each class that a text is told from, as
# SetFit's pairs and with them its steps grow; but no fewer than SetFit's steps
# for eight texts of each of two classes, and no more than a limit.
EPOCHS, LEAST_EPOCHS, MOST_EPOCHS = 3, 8, 20

# More than for other trainings: the steps are small, and so is what a graph
# would gain.
EAGER_STEPS = 12


class ClassBatches(LengthBatches):
    """Batches that hold pairs of one class and of different ones.

    Each epoch the texts of a class are shuffled and dealt out two by two.
    """

    def _order(self) -> list[np.ndarray]:
        random = np.random.default_rng((self.seed, self.epoch))
        pairs = []
        for target in np.unique(self.targets):
            rows = random.permutation(np.flatnonzero(self.targets == target))
            pairs += [
                (place, random.random(), rows[place : place + 2])
                for place in range(0, len(rows), 2)
            ]
        # The first pair of every class, then the second ones.
        pairs.sort(key=lambda pair: pair[:2])
        rows = np.concatenate([pair[2] for pair in pairs])
        size = self.batch_size
        return [rows[i : i + size] for i in range(0, len(rows), size)]


def fit_few_shot(
    task: TextModel,
    x: Any,
    y: Any,
    settings: Settings,
    *,
    validation_data: Any = None,
    validation_split: float = 0.0,
    class_weight: dict | str | None = None,
    sample_weight: Any = None,
    pooling: str = "mean",
    by_labels: bool = False,
) -> keras.callbacks.History:
    """Train a classifier; see `kbert.Classifier.fit`, which documents it.

    Args:
        by_labels: whether the labels say how many epochs there are.
    """
    for name in ("layer_decay", "r_drop", "early_stopping", "layout"):
        value = getattr(settings, name)
        if value != getattr(Settings, name):
            raise ConfigError(
                f"method='few_shot' trains on pairs of texts, without "
                f"`{name}`. Received: {name}={value!r}. Leave it out."
            )
    started = time.perf_counter()
    check_trained(task.backbone)
    split = checked("validation_split", validation_split)
    check_integer("batch_size", settings.batch_size, 4)
    settings.check(validates=False)
    columns, labels, weight = read_examples(task, x, y)
    if weight is not None or sample_weight is not None:
        raise no_weights("few-shot")
    with rows_of(x):
        learn(task, labels)
        rows = Rows(columns, task.head.encode(labels))
    if validation_data is not None:
        held_out = read_held_out(task, validation_data)
    else:
        strata = task.head.strata(labels)
        rows, held_out = set_aside(rows, strata, split, settings.seed)
    examples = Examples.of(task, rows)
    _check(task, examples)
    weights = label_weights(task.head, labels, class_weight)
    if by_labels:
        wanted = EPOCHS * (len(task.head.labels) - 1)
        epochs = min(max(wanted, LEAST_EPOCHS), MOST_EPOCHS)
        settings = replace(settings, epochs=epochs)
    # The regression's penalty is meant for vectors of length 1, and lengths
    # say little of the class: they depend on how long the text is.
    head: Any = task.head
    if getattr(head, "normalize", None) is False:
        head.normalize = True
        task.build()
    history = _train_backbone(
        task, EmbeddingHead(pooling=pooling), examples, settings
    )
    _solve_head(task, examples, list(weights.values()))
    # For Keras's own calls, as other trainings leave it.
    task.model.compile(
        AdamW(settings.learning_rate),
        task.head.loss(),
        metrics=task.head.metrics(),
    )
    facts = {"epochs": len(history.epoch), "method": "few_shot"}
    if held_out is not None:
        facts |= calibrate(task, held_out)
    task.note_training(len(rows), time.perf_counter() - started, **facts)
    return history


def _check(task: TextModel, examples: Examples) -> None:
    targets = examples.targets
    layer: Any = {x.name: x for x in task.model.layers}.get(LOGITS)
    if task.head.ngrams:
        raise ConfigError(
            "method='few_shot' has a backbone learn from pairs of texts, and "
            f"cannot have n-grams beside it. Received: ngrams="
            f"{task.head.ngrams}. Leave one of the two out."
        )
    if (
        not isinstance(layer, keras.layers.Dense)
        or layer.units != len(task.head.labels)
        or targets.ndim != 1
    ):
        raise ConfigError(
            f"method='few_shot' is for heads that end in a Dense layer named "
            f"{LOGITS!r} with an output for each label. Received: head "
            f"{task.head.name!r}. Leave `method` out."
        )
    counts = np.bincount(targets, minlength=len(task.head.labels))
    if counts.min() < 2:
        label = task.head.labels[int(counts.argmin())]
        raise InputError(
            f"Expected at least two texts of each label, to make pairs. "
            f"Received: {counts.min()} of {short(label)}. Add some; eight of "
            f"each are a good start."
        )


def _train_backbone(
    task: TextModel,
    head: EmbeddingHead,
    examples: Examples,
    settings: Settings,
) -> keras.callbacks.History:
    """The first phase: texts of a class come together."""
    backbone = task.backbone
    # Padding is most of a batch that is not sorted by length.
    settings = replace(settings, layout=choose_layout())
    encoder, form = (
        keras.Model(body.input, head.build(features_of(body)), name="encoder")
        for body in (backbone, backbone.laid_out(settings.layout))
    )
    # A few steps hardly move the embeddings of the words, and would spend
    # much of their time on them.
    words = backbone.embeddings.token_embedding
    trained, words.trainable = words.trainable, False
    try:
        return train(
            encoder,
            settings,
            ClassBatches(
                examples.table,
                examples.targets,
                batch_size=settings.batch_size,
                seed=settings.seed,
            ),
            form=form,
            tokens=len(examples.table.token_ids),
            decided=lambda: {
                "data": examples.digest(),
                "pooling": head.get_config()["pooling"],
                **task.identity(),
            },
            eager_steps=EAGER_STEPS,
            loss=PairwiseCosineLoss(),
        )
    finally:
        words.trainable = trained


def _solve_head(
    task: TextModel, examples: Examples, weights: list[float]
) -> None:
    """The second phase: a logistic regression, written into the head."""
    from sklearn.linear_model import LogisticRegression

    layer = task.model.get_layer(LOGITS)
    vectors = _inputs_of(task, layer, examples.table)  # (rows, H)
    scale = np.linalg.norm(vectors, axis=1).mean()
    regression = LogisticRegression(
        class_weight=dict(enumerate(weights)) or None, max_iter=1000
    )
    regression.fit(vectors / scale, examples.targets)
    kernel, bias = regression.coef_.T / scale, regression.intercept_
    if kernel.shape[1] == 1:  # Of two classes: the odds of the second one.
        kernel = np.concatenate([-kernel, kernel], axis=1) / 2
        bias = np.concatenate([-bias, bias]) / 2
    layer.set_weights([kernel.astype("float32"), bias.astype("float32")])


def _inputs_of(
    task: TextModel, layer: keras.layers.Layer, table: TokenTable
) -> np.ndarray:
    """What a layer of the model gets for each text, `(rows, H)`."""
    model = keras.Model(task.model.input, layer.input)
    batches = LengthBatches(table, np.zeros(len(table)), shuffle=False)
    parts = [np.asarray(model(tokens, training=False)) for tokens, _ in batches]
    rows = np.concatenate(batches._batches)
    return np.concatenate(parts)[np.argsort(rows)].astype("float32")
