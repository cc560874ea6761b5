import numpy as np
import pytest
import tensorflow as tf

import kbert
from kbert.models.norm import LayerNormalization
from kbert.models.norm import constant_norms


@pytest.fixture(params=[1e-12, 1e-5, 1e-3])
def norm(request):
    layer = LayerNormalization(epsilon=request.param)
    layer.build((None, 16))
    random = np.random.default_rng(0)
    for weight in layer.weights:
        weight.assign(random.normal(size=weight.shape))
    return layer


def in_a_graph(layer, x):
    with constant_norms():
        function = tf.function(layer).get_concrete_function(
            tf.TensorSpec([None] * (x.ndim - 1) + [x.shape[-1]])
        )
    return function, function(tf.constant(x)).numpy()


@pytest.fixture(params=["few", "many"])
def size(request, monkeypatch):
    limit = {"few": 10**6, "many": 0}[request.param]
    monkeypatch.setattr("kbert.models.norm.FEW_NUMBERS", limit)


@pytest.mark.parametrize("shape", [(5, 16), (2, 3, 16)])
def test_constant_ones_answer_as_kerass(norm, shape, size):
    # The first row hardly varies, so that epsilon counts.
    x = np.random.default_rng(1).normal(3, 2, shape).astype("float32")
    x[0] = 3 + x[0] / 100
    function, found = in_a_graph(norm, x)
    assert not function.graph.captures
    np.testing.assert_allclose(found, norm(x), rtol=1e-4, atol=1e-4)


def test_half_precision_is_summed_in_float32(size):
    layer = LayerNormalization(dtype="bfloat16")
    layer.build((None, 512))
    x = np.random.default_rng(1).normal(100, 1, (3, 512)).astype("float32")
    half = tf.cast(x, tf.bfloat16)
    with constant_norms():
        found = tf.function(layer)(half)
    assert found.dtype == tf.bfloat16
    wanted = LayerNormalization()(tf.cast(half, tf.float32))
    np.testing.assert_allclose(tf.cast(found, tf.float32), wanted, atol=0.02)


def test_gradients_pass(norm, size):
    x = tf.constant(np.random.default_rng(1).normal(size=(4, 16)), tf.float32)

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(norm(x) ** 3)
        return tape.gradient(y, x)

    with constant_norms():
        found = tf.function(gradient).get_concrete_function(
            tf.TensorSpec([None, 16])
        )(x)
    np.testing.assert_allclose(found, gradient(x), rtol=1e-3, atol=1e-3)


def test_outside_it_follows_its_weights(norm):
    x = np.ones((2, 16), "float32")
    function = tf.function(norm)
    before = function(x).numpy()
    norm.beta.assign(norm.beta + 1)
    np.testing.assert_allclose(function(x), before + 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("policy", "counts"), [("float32", (8, 1)), ("bfloat16", (8,))]
)
def test_is_one_operation_for_many_tokens(
    tmp_path, policy, counts, unexplained
):
    """In TF Serving's session, and in that of `kbert serve`."""
    import keras

    try:
        keras.config.set_dtype_policy(policy)
        clf = kbert.Classifier("random:1x64", labels=["a", "b"])
        for weight in clf.backbone.weights:
            if weight.path.endswith(("gamma", "beta")):
                # Ones and zeros are left out of the graph.
                weight.assign(np.linspace(0.5, 1.5, weight.shape[0]))
        clf.export(tmp_path / "out", version=1)
    finally:
        keras.config.set_dtype_policy("float32")
    for optimized in (True, False):
        config = tf.compat.v1.ConfigProto()
        rewrites = config.graph_options.rewrite_options
        rewrites.disable_meta_optimizer = not optimized
        with (
            tf.Graph().as_default(),
            tf.compat.v1.Session(config=config) as session,
        ):
            model = tf.compat.v1.saved_model.load(
                session, ["serve"], str(tmp_path / "out" / "1")
            )
            signature = model.signature_def["serving_default"]
            for texts in counts:
                labels = operations(session, signature, texts)
                if "_Mkl" not in labels:
                    pytest.skip("TensorFlow has no oneDNN on this processor")
                # Of the layer two, and that of the embeddings.
                norms = 3 if texts > 1 else 0
                assert labels.count("= _MklLayerNorm(") == norms


def operations(session, signature, texts):
    """What TensorFlow ran for so many long texts."""
    metadata = tf.compat.v1.RunMetadata()
    session.run(
        signature.outputs["label"].name,
        {signature.inputs["text"].name: texts * ["what a day " * 40]},
        tf.compat.v1.RunOptions(trace_level=tf.compat.v1.RunOptions.FULL_TRACE),
        metadata,
    )
    return " ".join(
        node.timeline_label
        for device in metadata.step_stats.dev_stats
        for node in device.node_stats
    )


def test_predict_follows_weights_that_change():
    clf = kbert.Classifier("random:1x64", labels=["a", "b"], seed=0)
    before = clf.predict_proba(["what a day"])
    norm = clf.backbone.encoder[-1].output_norm
    norm.gamma.assign(np.linspace(-3, 3, norm.gamma.shape[0]))
    after = clf.predict_proba(["what a day"])
    assert np.abs(after - before).max() > 1e-3
    batch = clf.tokenizer.pad(clf.tokens([["what a day"]]))
    logits = clf.model(batch, training=False)
    np.testing.assert_allclose(after, tf.nn.softmax(logits), atol=1e-5)
