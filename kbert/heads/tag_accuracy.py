"""What training of tags shows."""

import keras
from keras import ops

# Target of a token that is left out of the loss.
IGNORED = -1


@keras.saving.register_keras_serializable("kbert")
class TagAccuracy(keras.metrics.SparseCategoricalAccuracy):
    """Accuracy over the words, without what the loss ignores."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        known = ops.cast(ops.not_equal(y_true, IGNORED), "float32")
        super().update_state(ops.maximum(y_true, 0), y_pred, known)
