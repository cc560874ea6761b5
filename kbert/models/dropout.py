"""Keras's dropout, from a quarter of the random numbers on TensorFlow."""

import keras


@keras.saving.register_keras_serializable("kbert")
class Dropout(keras.layers.Dropout):
    """`keras.layers.Dropout`, drawn by bytes on TensorFlow.

    There Keras draws a float for each number, which takes longer than all
    that is done with it. A byte tells 256 cases apart, which a rate need not
    hit: what it is held against is drawn too, between the two nearest, so that
    every number is dropped as often as the rate says.

    Reference: Srivastava et al. 2014, Dropout: A Simple Way to Prevent Neural
    Networks from Overfitting.

    Example:

    >>> layer = Dropout(0.1, seed=0)
    >>> layer(np.ones((2, 3)), training=True).shape
    TensorShape([2, 3])
    """

    def call(self, inputs, training=False):
        by_bytes = (
            keras.backend.backend() == "tensorflow"
            and self.noise_shape is None
            and 0 < self.rate < 255 / 256  # What a byte can be held against.
        )
        if not training or not by_bytes:
            return super().call(inputs, training=training)
        import tensorflow as tf

        # A word has four bytes; there is one besides, and what is left over.
        words = tf.random.stateless_uniform(
            [tf.size(inputs) // 4 + 2],
            self.seed_generator.next(),
            minval=None,
            maxval=None,
            dtype=tf.uint32,
        )
        last = tf.cast(words[-1] // 256, tf.float32) / 2.0**24  # Below 1.
        least = tf.cast(tf.floor(256.0 * self.rate + last), tf.uint8)
        drawn = tf.reshape(tf.bitcast(words, tf.uint8), [-1])
        drawn = tf.reshape(drawn[: tf.size(inputs)], tf.shape(inputs))
        kept = tf.cast(drawn >= least, inputs.dtype)
        kept.set_shape(inputs.shape)
        return inputs * (kept * (1.0 / (1.0 - self.rate)))
