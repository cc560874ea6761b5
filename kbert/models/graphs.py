"""A model as a function of batches, for answers outside `fit`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kbert.models.norm import constant_norms


def features_of(backbone: keras.Model) -> dict[str, keras.KerasTensor]:
    """What a head is built on; see `kbert.Head.build`.

    Args:
        backbone: `kbert.Backbone`, or another form of it.
    """
    return backbone.output | {"padding_mask": backbone.input["padding_mask"]}


def compile_model(model: keras.Model) -> Callable[[dict], dict]:
    """A functional model as a function of NumPy batches.

    Keras's `predict_on_batch` traces anew for every shape on TensorFlow;
    here one trace serves all. On JAX, which compiles by shape whoever calls
    it, batches come in few shapes (`kbert.data.batching.BUCKETS`).

    Args:
        model: from a dict of `(B, T)` tensors to a dict of outputs.

    Returns:
        A function from a dict of arrays to a dict of arrays. It reads the
        model's weights when it is called.
    """
    if keras.backend.backend() != "tensorflow":
        return model.predict_on_batch
    import tensorflow as tf

    spec = {
        name: tf.TensorSpec((None, None), tensor.dtype)
        for name, tensor in model.input.items()
    }
    norms = [w for w in model.weights if w.path.endswith(("gamma", "beta"))]

    @tf.function(autograph=False)
    def numbers():
        return tf.concat([tf.cast(w.value, tf.float32) for w in norms], axis=0)

    def trace():
        function = tf.function(
            lambda batch: model(batch, training=False),
            input_signature=[spec],
            autograph=False,
        )
        with constant_norms():
            return function.get_concrete_function()

    graph, held = None, np.empty(0)

    def compute(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        nonlocal graph, held
        # The graph holds the norms' numbers; all else it reads.
        now = numbers().numpy()
        if graph is None or not np.array_equal(held, now, equal_nan=True):
            graph, held = trace(), now
        answers = graph({name: tf.constant(batch[name]) for name in spec})
        return {key: value.numpy() for key, value in answers.items()}

    return compute


def outputs_on(
    encoder: keras.Model, model: keras.Model, backbone: keras.Model
) -> Any:
    """A model's outputs on another form of its backbone.

    Args:
        encoder: a model with the backbone's outputs and the input
            `padding_mask`, such as `Backbone.without_padding` gives.
        model: a head on `backbone`; its layers are shared, and the inputs
            that it has beside the backbone's.
        backbone: `kbert.Backbone`.
    """
    padded, other = backbone.output, encoder.output
    names = [name for name in other if name != "pooled_output"]
    # Only of some heads: nothing else keeps the pooler in the model.
    if backbone.pooler in model.layers:
        names.append("pooled_output")
    more = [model.input[k] for k in model.input if k not in backbone.input]
    head = later_part(
        model.input,
        [*(padded[name] for name in names), model.input["padding_mask"], *more],
        model.output,
    )
    return head(
        [*(other[name] for name in names), encoder.input["padding_mask"], *more]
    )


def later_part(
    inputs: Any, begin: list[keras.KerasTensor], outputs: Any
) -> keras.Model:
    """The later part of a functional graph as a model; layers are shared.

    Args:
        inputs: those of the graph.
        begin: tensors of the graph, its inputs among them or not.
        outputs: what is computed from these tensors alone.

    Returns:
        A functional `keras.Model` from `begin` to `outputs`.
    """
    # Of a copy: where `begin` has one of the graph's inputs, Keras takes it
    # from the graph, which then cannot be saved any more.
    whole = keras.Model(inputs, (begin, outputs))
    copy = keras.models.clone_model(whole, clone_function=lambda layer: layer)
    return keras.Model(*copy.output)
