"""R-Drop: two answers under different dropout, held together.

Reference: Liang et al. 2021, R-Drop: Regularized Dropout for Neural Networks,
section 2.2, https://arxiv.org/abs/2106.14448
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

import keras
from keras import ops

from kbert.errors import ConfigError

if TYPE_CHECKING:
    from kbert.pipeline.text_model import TextModel


class RDrop:
    """A form of a task's model that takes each row twice in training.

    Dropout differs between the two, and their loss is the mean of both plus
    `weight / 4` times the sum of the Kullback-Leibler divergences of their
    probabilities, one way and the other. See
    `kbert.training.substitute.trained_as`.

    Departures: that is half of the paper's loss, to be on the scale of the
    loss without R-Drop.

    Args:
        task: a task that has a model, whose head answers `label` and
            `probabilities`.
        weight: the paper's alpha, above 0.
        layout: how tokens lie, see `TextModel.laid_out`.

    Raises:
        ConfigError: the head answers something else.

    Example:

    >>> task.model.compile("adamw", loss=task.head.loss())
    >>> with trained_as(task.model, RDrop(task, 1.0)):
    ...     task.model.fit(batches.for_fit())
    """

    def __init__(self, task: TextModel, weight: float, layout: str = "padded"):
        if not {"label", "probabilities"} <= set(task.serving_model.output):
            raise ConfigError(
                "`r_drop` needs a head that answers one label and the "
                f"probabilities of all. Received: head {task.head.name!r}. "
                "Leave `r_drop` out."
            )
        self.model = task.model
        self.laid_out = task.laid_out(layout)
        self.input = self.laid_out.input
        self.head = task.head
        self.weight = weight

    def __call__(self, inputs: Any, training: bool | None = None) -> Any:
        if not training:
            # `task.model` itself computes in this form, if it is padded.
            return type(self.laid_out).call(self.laid_out, inputs, training)
        inputs = keras.tree.map_structure(_twice, inputs)  # (2 B, ...)
        return type(self.laid_out).call(self.laid_out, inputs, training)

    def compute_loss(
        self,
        x=None,
        y=None,
        y_pred=None,
        sample_weight=None,
        training=True,
    ):
        compute = type(self.model).compute_loss
        if not training:
            return compute(self.model, x, y, y_pred, sample_weight, training)
        loss = compute(
            self.model,
            x,
            _twice(y),
            y_pred,
            None if sample_weight is None else _twice(sample_weight),
            training,
        )
        p = self.head.serve(y_pred)["probabilities"]  # (2 B, labels)
        p, q = ops.split(ops.clip(p, keras.config.epsilon(), 1.0), 2)
        # KL(p, q) + KL(q, p)
        divergence = ops.sum((p - q) * (ops.log(p) - ops.log(q)), axis=-1)
        if sample_weight is not None:
            divergence = divergence * ops.cast(sample_weight, divergence.dtype)
        return loss + self.weight / 4 * ops.mean(divergence)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        first = y_pred[: ops.shape(y)[0]]
        compute = type(self.model).compute_metrics
        return compute(self.model, x, y, first, sample_weight)


def _twice(x: Any) -> Any:
    return ops.concatenate([x, x], axis=0)
