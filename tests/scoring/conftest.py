"""A SavedModel that is no kbert model: it measures texts."""

import pytest


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Base folder with the versions 2 and 10, of which 10 adds 1."""
    import tensorflow as tf

    base = tmp_path_factory.mktemp("models") / "lengths"
    for version, more in ((2, 0), (10, 1)):

        def serve(text, more=more):
            length = tf.strings.length(text, "UTF8_CHAR") + more  # (B,)
            longer = tf.cast(length, tf.float32) / 10
            return {
                "score": longer,
                "probabilities": tf.stack([1 - longer, longer], axis=-1),
                "label": tf.where(length > 2, "läng", "short"),
                # As of a head that answers tokens: as wide as the longest.
                "codes": tf.strings.unicode_decode(text, "UTF-8").to_tensor(),
            }

        module = tf.Module()
        module.serve = tf.function(
            serve, input_signature=[tf.TensorSpec([None], tf.string, "text")]
        )
        tf.saved_model.save(module, str(base / str(version)), module.serve)
    return base
