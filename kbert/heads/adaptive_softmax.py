"""Softmax over very many labels, most of them rare: layer and loss."""

from __future__ import annotations

import uuid
from weakref import WeakValueDictionary

import keras
import numpy as np
from keras import ops

from kbert.data.batching import static_shapes
from kbert.errors import ConfigError

# The newest layer of each key. Keras makes a model's layers, then its loss.
_newest: WeakValueDictionary[str, AdaptiveSoftmax] = WeakValueDictionary()


@keras.saving.register_keras_serializable("kbert")
class AdaptiveSoftmax(keras.layers.Layer):
    """Probabilities of labels in a cluster of frequent ones and rarer tails.

    The labels are sorted by how often they occur. The first of them, and one
    entry for each tail, make the head's softmax; a label of a tail has the
    probability of the tail times that within the tail. Tail i sees the
    features through a projection to `H // shrink ** (i + 1)` numbers.

    Called on features, the layer gives them as they are, which is what
    `AdaptiveSoftmaxLoss` wants; with `answer=True` it gives all
    log-probabilities.

    References: Grave et al. 2017, Efficient softmax approximation for GPUs,
    https://arxiv.org/abs/1609.04309, section 4.

    Args:
        order: label indices, the most frequent first.
        cutoffs: ascending places in that order, where the tails begin.
        shrink: factor of the projections' sizes from tail to tail.
        key: what the layer's loss finds it by, in a model that is loaded or
            cloned; by default one of its own.

    Call arguments:
        x: float `(B, H)`.
        answer: whether to compute the labels.

    Returns:
        `x`; or float32 `(B, labels)`, log-probabilities in the order of the
        label indices, whose exponentials sum to 1.

    Departures: the paper sets the cutoffs by a model of the hardware's time.
    As in Torch's `AdaptiveLogSoftmaxWithLoss(head_bias=True)`, whose answers
    these are, the head has a bias and the tails have none.

    Example:

    >>> layer = AdaptiveSoftmax(order=[2, 0, 1, 3], cutoffs=[1, 2])
    >>> layer(features, answer=True).shape
    (8, 4)
    """

    def __init__(
        self,
        order: list[int],
        cutoffs: list[int],
        shrink: int = 4,
        key: str | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.key = key or uuid.uuid4().hex
        _newest[self.key] = self
        self.order = list(order)
        self.cutoffs = list(cutoffs)
        self.shrink = shrink
        # Where each label is in the order.
        self.ranks = np.argsort(self.order).astype("int32")  # (labels,)
        ends = [*self.cutoffs, len(self.order)]
        self.sizes = np.diff(ends).tolist()  # Labels of each tail.
        self.head = _dense(ends[0] + len(self.sizes), "head", self.dtype_policy)

    def build(self, input_shape):
        dim = input_shape[-1]
        self.head.build(input_shape)
        self.projections, self.tails = [], []
        for i, size in enumerate(self.sizes):
            inner = max(dim // self.shrink ** (i + 1), 1)
            projection = keras.layers.Dense(
                inner,
                use_bias=False,
                dtype=self.dtype_policy,
                name=f"projection_{i}",
            )
            projection.build(input_shape)
            tail = _dense(size, f"tail_{i}", self.dtype_policy, bias=False)
            tail.build((*input_shape[:-1], inner))
            self.projections.append(projection)
            self.tails.append(tail)

    def call(self, x, answer=False):
        if not answer:
            return x  # (B, H)
        first = self.cutoffs[0]
        head = ops.log_softmax(self.head(x))  # (B, first + tails)
        parts = [head[:, :first]]
        for i in range(len(self.tails)):
            of_tail = head[:, first + i : first + i + 1]  # (B, 1)
            parts.append(of_tail + ops.log_softmax(self.tail(i, x)))
        return ops.take(ops.concatenate(parts, axis=-1), self.ranks, axis=-1)

    def tail(self, i: int, x):
        """Logits of a tail's labels, `(B, size)`."""
        return self.tails[i](self.projections[i](x))

    def get_config(self):
        return super().get_config() | {
            "order": self.order,
            "cutoffs": self.cutoffs,
            "shrink": self.shrink,
            "key": self.key,
        }


@keras.saving.register_keras_serializable("kbert")
class AdaptiveSoftmaxLoss(keras.losses.Loss):
    """-log p of the target, without the probabilities of other tails.

    A tail is computed for the rows whose target lies in it: on TensorFlow for
    those rows alone. On JAX, whose shapes are static, for all rows, with the
    others masked out; there the smaller projections are what saves work.

    Args:
        softmax: the `AdaptiveSoftmax` whose features are the predictions.

    Call arguments:
        y_true: label indices `(B,)`.
        y_pred: float `(B, H)`, what the layer gave.
    """

    def __init__(
        self,
        softmax: AdaptiveSoftmax,
        name="adaptive_softmax_loss",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        self.softmax = softmax

    def get_config(self):
        return super().get_config() | {"softmax": self.softmax.key}

    @classmethod
    def from_config(cls, config):
        key = config["softmax"]
        if key not in _newest:
            raise ConfigError(
                f"Expected the loss of a model that is there: it computes "
                f"with the model's own layer. Received: a configuration "
                f"without a layer of the key {key!r}. Make the loss from the "
                f"layer, AdaptiveSoftmaxLoss(layer)."
            )
        return cls(**(config | {"softmax": _newest[key]}))

    def call(self, y_true, y_pred):
        softmax = self.softmax
        first = softmax.cutoffs[0]
        target = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        rank = ops.take(softmax.ranks, target)  # (B,)
        # 0 for the head, i + 1 for tail i.
        cluster = sum(ops.cast(rank >= c, "int32") for c in softmax.cutoffs)
        place = ops.where(cluster == 0, rank, first + cluster - 1)
        loss = _cross_entropy(place, softmax.head(y_pred))  # (B,)
        for i, size in enumerate(softmax.sizes):
            inside = cluster == i + 1
            place = rank - softmax.cutoffs[i]
            if static_shapes():
                place = ops.clip(place, 0, size - 1)
                part = _cross_entropy(place, softmax.tail(i, y_pred))
                loss += ops.where(inside, part, 0.0)
                continue
            (rows,) = ops.nonzero(inside)
            part = _cross_entropy(
                ops.take(place, rows),
                softmax.tail(i, ops.take(y_pred, rows, axis=0)),
            )
            loss += ops.scatter(rows[:, None], part, ops.shape(loss))
        return loss


def choose_cutoffs(labels: int) -> list[int]:
    """Cutoffs for a number of labels: a 25th of them, and a fifth.

    Raises:
        ConfigError: there are fewer than 25, which need no clusters.
    """
    if labels < 25:
        raise ConfigError(
            f"Adaptive softmax is for thousands of labels, 25 at least. "
            f"Received: {labels} labels. Leave `adaptive_softmax` out, or "
            f"give `cutoffs`."
        )
    return [labels // 25, labels // 5]


def check_cutoffs(cutoffs: list[int], labels: int | None = None) -> list[int]:
    """`cutoffs`, if they are ascending places within the labels.

    Raises:
        ConfigError: they are not.
    """
    cutoffs = list(cutoffs)
    limit = labels or float("inf")
    if (
        not cutoffs
        or any(type(c) is not int for c in cutoffs)
        or not all(
            a < b for a, b in zip([0, *cutoffs], [*cutoffs, limit], strict=True)
        )
    ):
        below = f" below the number of labels, {labels}" if labels else ""
        raise ConfigError(
            f"`cutoffs` must be ascending positive integers{below}. Received: "
            f"cutoffs={cutoffs}"
        )
    return cutoffs


def _cross_entropy(target, logits):
    return ops.sparse_categorical_crossentropy(
        target, ops.cast(logits, "float32"), from_logits=True
    )


def _dense(units, name, dtype, bias=True):
    return keras.layers.Dense(
        units,
        use_bias=bias,
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
        dtype=dtype,
        name=name,
    )
