"""Keras's embedding, which reads no more of its table than it looks up."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("kbert")
class Embedding(keras.layers.Embedding):
    """`keras.layers.Embedding` for tables that are updated row by row.

    Keras reads the table as a whole. TensorFlow copies it each time, once rows
    have been written one by one, as `kbert.training.used_rows` does.

    Example:

    >>> Embedding(10, 4)(np.array([[1, 2, 3]])).shape
    TensorShape([1, 3, 4])
    """

    def call(self, inputs):
        if keras.backend.backend() != "tensorflow" or self.lora_enabled:
            return super().call(inputs)
        import tensorflow as tf

        # The variable itself, not its value.
        rows = tf.gather(self._embeddings.value, ops.cast(inputs, "int32"))
        return ops.cast(rows, self.compute_dtype)

    def quantize(self, mode=None, type_check=True, config=None):
        # Keras refuses subclasses, which may compute something else.
        super().quantize(mode, type_check=False, config=config)
