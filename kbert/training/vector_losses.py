"""Losses on the vectors of texts.

Shapes: B rows of a batch, C texts in a row, H size of a vector.
"""

import keras
from keras import ops

# Added to the score of what is no true negative.
NEVER = -1e9


@keras.saving.register_keras_serializable("kbert")
class ContrastiveLoss(keras.losses.Loss):
    """Cross-entropy of a row's second text among all of the batch.

    Multiple negatives ranking: the score of two texts is `scale` times the
    cosine of their vectors. Third texts are negatives of every row.

    Reference: Henderson et al. 2017, section 4.4; van den Oord et al. 2018,
    equation 4 (InfoNCE).

    Args:
        scale: the inverse of the temperature.

    Call arguments:
        y_true: `(B, C)`, a number for each text, the same for the same text.
        y_pred: float `(C * B, H)`.
    """

    def __init__(self, scale=20.0, name="contrastive_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        self.scale = scale

    def call(self, y_true, y_pred):
        rows, columns = ops.shape(y_true)[0], ops.shape(y_true)[1]
        y_pred = ops.normalize(y_pred, axis=-1)
        scores = self.scale * ops.matmul(
            y_pred[:rows], ops.transpose(y_pred[rows:])
        )  # (B, (C - 1) * B)
        own = ops.arange(rows)
        place = ops.arange((columns - 1) * rows)
        anchor, positive = y_true[:, 0:1], y_true[:, 1:2]  # (B, 1)
        texts = ops.reshape(ops.transpose(y_true)[1:], (1, -1))
        # A positive of the same first text, the positive itself in another
        # row, or the first text: none of them is a negative.
        anchors = ops.take(y_true[:, 0], place % rows)[None, :]
        same = (anchors == anchor) & (place < rows)[None, :]
        same = same | (texts == positive) | (texts == anchor)
        same = same & (place[None, :] != own[:, None])
        scores = ops.where(same, NEVER, scores)
        return keras.losses.sparse_categorical_crossentropy(
            own, scores, from_logits=True
        )  # (B,)

    def get_config(self):
        return super().get_config() | {"scale": self.scale}


@keras.saving.register_keras_serializable("kbert")
class CosineLoss(keras.losses.Loss):
    """Squared error of the cosine of two texts' vectors.

    Reference: Reimers & Gurevych 2019, section 3 (regression objective).

    Call arguments:
        y_true: float `(B,)`, what the cosine should be.
        y_pred: float `(2 * B, H)`.
    """

    def __init__(self, name="cosine_loss", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        rows = ops.shape(y_true)[0]
        y_pred = ops.normalize(y_pred, axis=-1)
        cosine = ops.sum(y_pred[:rows] * y_pred[rows:], axis=-1)  # (B,)
        return ops.square(cosine - y_true)


@keras.saving.register_keras_serializable("kbert")
class PairwiseCosineLoss(keras.losses.Loss):
    """Squared error of the cosine of every two texts of a batch.

    It should be 1 for texts of one class and 0 otherwise; both kinds of
    pairs count the same, however many there are.

    Call arguments:
        y_true: `(B,)`, a number for each class.
        y_pred: float `(B, H)`.
    """

    def __init__(self, name="pairwise_cosine_loss", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        y_true = ops.reshape(y_true, (-1, 1))  # (B, 1)
        y_pred = ops.normalize(y_pred, axis=-1)
        cosine = ops.matmul(y_pred, ops.transpose(y_pred))  # (B, B)
        same = ops.cast(y_true == ops.transpose(y_true), cosine.dtype)
        error = ops.square(cosine - same)
        # A text and itself are no pair.
        positive = same - ops.eye(ops.shape(cosine)[0], dtype=cosine.dtype)
        losses = [
            ops.sum(error * pairs) / ops.maximum(ops.sum(pairs), 1.0)
            for pairs in (positive, 1.0 - same)
        ]
        return sum(losses) / 2
