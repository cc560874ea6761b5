"""A number for a text or a pair: the head `regression`."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from kbert.data.row_names import row_name
from kbert.data.texts import as_numbers
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.errors import short
from kbert.heads.classification import ClassificationHead
from kbert.utils.checks import check_choice
from kbert.utils.checks import check_number
from kbert.utils.finite import is_number

STARTS = ("mean", "least")

# Smaller ones are no numbers to processors that take such for 0.
LEAST_SCALE = 1e-30


class RegressionHead(ClassificationHead):
    """One number, such as the similarity of two texts.

    Trained by squared error on targets that `fit` brings to mean 0 and
    standard deviation 1, and brings back in the answers: the learning rate
    need not know the scale.

    References:
        Devlin et al. 2018, section 4.1 (STS-B as regression)
        Cer et al. 2017, SemEval-2017 Task 1 (Pearson and Spearman)

    Args:
        labels: None; there are no labels.
        minimum: the least number there can be, or None. Others in the data
            are an error, and answers are kept within.
        maximum: the greatest, or None.
        start: what every answer is before training: `"mean"`, or `"least"`
            of the training numbers, such as "not similar", from where the
            model learns what makes it more. It takes more steps to get away
            from there, and was better on the 5,749 pairs of STS-B.
        mean: of the training numbers; learned by `fit`.
        scale: their standard deviation; learned by `fit`.
        **options: `pooling` and `dropout`, see
            `kbert.heads.classification.ClassificationHead`.

    Answers: `score` float `(B,)`.

    Departures: Google's code trains on the numbers as they are.

    Example:

    >>> clf = kbert.Classifier(head="regression", minimum=0, maximum=5)
    >>> clf.fit([("A man sings", "A man is singing")], [4.8])
    >>> clf.predict([("A cat sleeps", "A dog runs")])
    [0.7]
    """

    name = "regression"
    monitor = ("val_loss", "min")
    label_outputs = ()
    answer_output = "score"

    def __init__(
        self,
        labels: None = None,
        minimum: float | None = None,
        maximum: float | None = None,
        start: str = "mean",
        mean: float | None = None,
        scale: float | None = None,
        **options: Any,
    ):
        if labels is not None:
            raise ConfigError(
                f"Expected no labels: the head 'regression' answers numbers. "
                f"Received: labels={short(labels)}. Leave `labels` out."
            )
        super().__init__(**options)
        if minimum is not None:
            minimum = check_number("minimum", minimum)
        if maximum is not None:
            maximum = check_number("maximum", maximum)
        if mean is not None:
            mean = check_number("mean", mean)
        if scale is not None:
            scale = check_number("scale", scale, above=0)
        if minimum is not None and maximum is not None and minimum >= maximum:
            raise ConfigError(
                f"`minimum` must be below `maximum`. Received: "
                f"minimum={minimum!r}, maximum={maximum!r}"
            )
        self.minimum = minimum
        self.maximum = maximum
        self.start = check_choice("start", start, STARTS)
        # Both None until they are learned.
        self.mean: Any = mean
        self.scale: Any = scale
        self._first_bias = 0.0

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "minimum": self.minimum,
            "maximum": self.maximum,
            "start": self.start,
            "mean": self.mean,
            "scale": self.scale,
        }

    @property
    def ready(self) -> bool:
        return self.mean is not None and self.scale is not None

    def read(self, y: Any, columns: list[list]) -> list[float]:
        """A number a row; strings, as files have them, are taken too."""
        numbers = as_numbers(y, len(columns[0]))
        least = -math.inf if self.minimum is None else self.minimum
        most = math.inf if self.maximum is None else self.maximum
        for row, number in enumerate(numbers):
            if not least <= number <= most:
                raise InputError(
                    f"Expected numbers from {least:g} to {most:g}. Received: "
                    f"{number:g} in {row_name(row)}. Correct the row, or "
                    f"change `minimum` and `maximum`."
                )
        return numbers

    def adapt(self, y: list) -> None:
        self.mean, self.scale = float(np.mean(y)), float(np.std(y))
        if self.scale == 0:
            raise InputError(
                f"Expected numbers that differ. Received: {self.mean:g} in "
                f"each of {len(y)} rows, which leaves nothing to learn."
            )
        _check_precision(y, self.scale)
        if self.start == "least":
            self._first_bias = (min(y) - self.mean) / self.scale

    def encode(self, y: list) -> np.ndarray:
        return np.array(y, "float32")

    def build(self, features: dict) -> keras.KerasTensor:
        x = keras.layers.Dense(
            1,
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            bias_initializer=keras.initializers.Constant(self._first_bias),
            dtype="float32",
            name="value",
        )(self.pool(features))  # (B, 1)
        return x[:, 0]

    def loss(self) -> keras.losses.Loss:
        return StandardizedError(self.mean, self.scale)

    def metrics(self) -> list:
        return []

    def serve(self, outputs: keras.KerasTensor) -> dict:
        score = outputs * self.scale + self.mean
        if self.minimum is not None:
            score = ops.maximum(score, self.minimum)
        if self.maximum is not None:
            score = ops.minimum(score, self.maximum)
        return {"score": score}  # (B,)

    def report(self, answers: dict, targets: np.ndarray) -> dict[str, Any]:
        """`pearson` and `spearman` (None where all numbers are equal), and
        the mean squared and absolute errors."""
        # Imported here: they cost a second.
        from scipy import stats

        score = answers["score"].astype("float64")
        error = score - targets
        varied = len(score) > 1 and np.ptp(score) > 0 and np.ptp(targets) > 0
        return {
            "pearson": float(stats.pearsonr(score, targets)[0])
            if varied
            else None,
            "spearman": float(stats.spearmanr(score, targets)[0])
            if varied
            else None,
            "mean_squared_error": float(np.mean(error**2)),
            "mean_absolute_error": float(np.mean(np.abs(error))),
        }


def _check_precision(y: list, scale: float) -> None:
    """Refuse numbers whose differences float32 loses, as it trains and
    answers in it."""
    lost = np.abs(np.asarray(y, "float32") - y).max()
    apart = np.ptp(y)
    if not LEAST_SCALE < scale or lost > scale / 100 or not is_number(apart):
        raise InputError(
            f"Expected numbers that float32 tells apart, which has 7 digits "
            f"and goes from about 1e-38 to 3e38. Received: numbers from "
            f"{min(y)!r} to {max(y)!r}, with a standard deviation of "
            f"{scale:.3g}. Subtract their mean, or use another unit."
        )


@keras.saving.register_keras_serializable("kbert")
class StandardizedError(keras.losses.MeanSquaredError):
    """Squared error in units of the targets' standard deviation.

    Args:
        mean: of the targets.
        scale: their standard deviation.
    """

    def __init__(self, mean: float, scale: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.mean = mean
        self.scale = scale

    def call(self, y_true, y_pred):
        return super().call((y_true - self.mean) / self.scale, y_pred)

    def get_config(self):
        config = super().get_config()
        return config | {"mean": self.mean, "scale": self.scale}
