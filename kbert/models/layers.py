"""What the backbone is built of: embeddings, attention, encoder layer.

Shapes: B batch, T tokens in a row, H hidden size, nh attention heads,
hs = H / nh size of one head, F size of the feed-forward layer.
"""

import contextlib
import functools
from collections.abc import Iterable
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import keras
from keras import ops

from kbert.errors import ConfigError
from kbert.models.dense import Dense
from kbert.models.dense import affine
from kbert.models.dropout import Dropout
from kbert.models.gradients import exact_gelu
from kbert.models.layout import flatten
from kbert.models.layout import merge_heads
from kbert.models.layout import positions
from kbert.models.layout import split_heads
from kbert.models.lookup import Embedding
from kbert.models.norm import LayerNormalization

# Hugging Face's `hidden_act`; "gelu" is the erf form there, the tanh form is
# what Google's original code computes.
ACTIVATIONS = {
    "gelu": exact_gelu,
    "gelu_new": functools.partial(keras.activations.gelu, approximate=True),
    "gelu_pytorch_tanh": functools.partial(
        keras.activations.gelu, approximate=True
    ),
    "relu": keras.activations.relu,
}


# What the tables and kernels that are built begin with, if not at random.
_values: ContextVar[Iterator | None] = ContextVar("values", default=None)


@contextlib.contextmanager
def first_values(values: Iterable) -> Iterator[None]:
    """Tables and kernels built in here begin with given values.

    Drawing a BERT-base at random takes longer than reading it.

    Args:
        values: a tensor, or None for a random one, for each table and kernel
            in the order in which they are built.

    Raises:
        ValueError: there are more or fewer, or a shape differs.
    """
    values = iter(values)
    token = _values.set(values)
    try:
        yield
    finally:
        _values.reset(token)
    if next(values, values) is not values:
        raise ValueError("Expected no more values. Received: another.")


class _FirstValue(keras.initializers.TruncatedNormal):
    """The next of `first_values`."""

    def __call__(self, shape, dtype=None):
        # From now on it is what it would have been, also when it is saved.
        self.__class__ = keras.initializers.TruncatedNormal
        value: Any = next(_values.get() or iter(()), _values)
        if value is None:
            return self(shape, dtype)
        if value is _values or tuple(value.shape) != tuple(shape):
            raise ValueError(
                f"Expected a value of shape {tuple(shape)}. Received: "
                f"{getattr(value, 'shape', 'none')}."
            )
        return ops.convert_to_tensor(value, dtype)


def kernel_initializer(stddev: float = 0.02) -> keras.Initializer:
    """A fresh truncated normal, as in BERT (Devlin et al. 2018, A.2)."""
    if _values.get() is not None:
        return _FirstValue(stddev=stddev)
    return keras.initializers.TruncatedNormal(stddev=stddev)


@keras.saving.register_keras_serializable("kbert")
class Embeddings(keras.layers.Layer):
    """Sum of token, position and segment embeddings, normalized.

    Reference: Devlin et al. 2018, figure 2.

    Args:
        vocabulary_size: number of token ids.
        hidden_dim: H.
        embedding_dim: E, size of the tables, from which a dense layer leads
            to H (Lan et al. 2019, section 3.1); None for H without one.
        max_sequence_length: number of positions.
        num_segments: number of segment ids.
        dropout: rate, 0 to 1.
        layer_norm_epsilon: float.
        initializer_range: standard deviation of the initial weights.
        train_tokens: whether the table of tokens is trained, if the layer is.

    Call arguments:
        token_ids, segment_ids: int `(B, T)`.
        layout: None, or one of `kbert.models.layout`.
        table: whether the embeddings of all token ids are wanted instead, as
            output weights that a graph shares with its input.

    Returns:
        float `(B, T, H)` or, laid flat, `(N, H)`; or `(V, E)`.
    """

    def __init__(
        self,
        vocabulary_size,
        hidden_dim,
        embedding_dim=None,
        max_sequence_length=512,
        num_segments=2,
        dropout=0.1,
        layer_norm_epsilon=1e-12,
        initializer_range=0.02,
        train_tokens=True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size
        self.hidden_dim = hidden_dim
        self.embedding_dim = embedding_dim
        self.max_sequence_length = max_sequence_length
        self.num_segments = num_segments
        self.dropout = dropout
        self.layer_norm_epsilon = layer_norm_epsilon
        self.initializer_range = initializer_range

        def table(rows, name):
            return Embedding(
                rows,
                embedding_dim or hidden_dim,
                embeddings_initializer=kernel_initializer(initializer_range),
                dtype=self.dtype_policy,
                name=name,
            )

        self.token_embedding = table(vocabulary_size, "token_embedding")
        self.token_embedding.trainable = train_tokens
        self.position_embedding = table(
            max_sequence_length, "position_embedding"
        )
        self.segment_embedding = table(num_segments, "segment_embedding")
        self.norm = LayerNormalization(
            epsilon=layer_norm_epsilon, dtype=self.dtype_policy, name="norm"
        )
        self.dropout_layer = Dropout(dropout, dtype=self.dtype_policy)
        self.projection = None
        if embedding_dim not in (None, hidden_dim):
            self.projection = Dense(
                hidden_dim,
                kernel_initializer=kernel_initializer(initializer_range),
                dtype=self.dtype_policy,
                name="projection",
            )

    def build(self, input_shape):
        size = self.embedding_dim or self.hidden_dim
        self.token_embedding.build()
        self.position_embedding.build()
        self.segment_embedding.build()
        self.norm.build((None, None, size))
        if self.projection is not None:
            self.projection.build((None, None, size))
        self.built = True

    def call(
        self,
        token_ids,
        segment_ids=None,
        layout=None,
        table=False,
        training=None,
    ):
        if table:
            return ops.convert_to_tensor(self.token_embedding.embeddings)
        x = (
            self.token_embedding(flatten(token_ids, layout))  # (..., E)
            + self.segment_embedding(flatten(segment_ids, layout))  # (..., E)
            + self.position_embedding(positions(token_ids, layout))
        )
        x = self.dropout_layer(self.norm(x), training=training)
        return x if self.projection is None else self.projection(x)

    def compute_output_spec(
        self,
        token_ids,
        segment_ids=None,
        layout=None,
        table=False,
        training=None,
    ):
        if table:
            size = self.embedding_dim or self.hidden_dim
            return keras.KerasTensor(
                (self.vocabulary_size, size), dtype=self.compute_dtype
            )
        shape = token_ids.shape if layout is None else (None,)
        return keras.KerasTensor(
            (*shape, self.hidden_dim), dtype=self.compute_dtype
        )

    def get_config(self):
        return super().get_config() | {
            "vocabulary_size": self.vocabulary_size,
            "hidden_dim": self.hidden_dim,
            "embedding_dim": self.embedding_dim,
            "max_sequence_length": self.max_sequence_length,
            "num_segments": self.num_segments,
            "dropout": self.dropout,
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "initializer_range": self.initializer_range,
            "train_tokens": self.token_embedding.trainable,
        }


@keras.saving.register_keras_serializable("kbert")
class SelfAttention(keras.layers.Layer):
    """Multi-head scaled dot-product self-attention.

    Reference: Vaswani et al. 2017, section 3.2.

    Args:
        num_heads: nh; it must divide the hidden size.
        dropout: rate on the attention probabilities, 0 to 1.
        initializer_range: standard deviation of the initial weights.

    Raises:
        ConfigError: the hidden size is not a multiple of `num_heads`.
    """

    def __init__(
        self, num_heads, dropout=0.1, initializer_range=0.02, **kwargs
    ):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.dropout = dropout
        self.initializer_range = initializer_range

    def build(self, input_shape):
        hidden_dim = input_shape[-1]
        if hidden_dim % self.num_heads:
            raise ConfigError(
                "`hidden_dim` must be a multiple of `num_heads`. Received: "
                f"hidden_dim={hidden_dim}, num_heads={self.num_heads}"
            )
        self.head_dim = hidden_dim // self.num_heads

        def dense(name):
            layer = Dense(
                hidden_dim,
                kernel_initializer=kernel_initializer(self.initializer_range),
                dtype=self.dtype_policy,
                name=name,
            )
            layer.build(input_shape)
            return layer

        self.query = dense("query")
        self.key = dense("key")
        self.value = dense("value")
        self.output_dense = dense("output")
        self.dropout_layer = Dropout(self.dropout, dtype=self.dtype_policy)
        self.built = True

    def call(self, x, bias, layout=None, training=None):
        length = ops.shape(bias[0])[-1]

        def split(x):  # to (B, nh, T, hs) in each group
            return split_heads(x, layout, self.num_heads, length, training)

        q, k, v = map(split, self._project(x, training))
        groups = [
            self._attend(*group, training)
            for group in zip(q, k, v, bias, strict=True)
        ]
        y = merge_heads([y for y, _ in groups], layout, training)
        return self.output_dense(y), groups[0][1]  # as x

    def _project(self, x, training):
        """Queries, scaled, keys and values, each as x."""
        # Scaling q and not the scores touches T / hs times fewer numbers.
        scale = self.head_dim**-0.5
        if not training:
            return self.query(x) * scale, self.key(x), self.value(x)
        # In one product; oneDNN leaves smaller ones to one thread.
        parts = (
            (self.query.kernel * scale, self.query.bias * scale),
            (self.key.kernel, self.key.bias),
            (self.value.kernel, self.value.bias),
        )
        kernel, bias = (
            ops.concatenate(part, axis=-1) for part in zip(*parts, strict=True)
        )
        return ops.split(affine(x, kernel, bias), 3, axis=-1)

    def _attend(self, q, k, v, bias, training):
        # (B, nh, T, hs) x (B, nh, hs, T) -> (B, nh, T, T)
        scores = ops.matmul(q, ops.transpose(k, (0, 1, 3, 2))) + bias
        probs = ops.cast(
            ops.softmax(ops.cast(scores, "float32"), axis=-1), v.dtype
        )
        # (B, nh, T, T) x (B, nh, T, hs) -> (B, nh, T, hs)
        y = ops.matmul(self.dropout_layer(probs, training=training), v)
        return y, probs

    def compute_output_spec(self, x, bias, layout=None, training=None):
        return _encoder_spec(self, x, bias)

    def get_config(self):
        return super().get_config() | {
            "num_heads": self.num_heads,
            "dropout": self.dropout,
            "initializer_range": self.initializer_range,
        }


@keras.saving.register_keras_serializable("kbert")
class EncoderLayer(keras.layers.Layer):
    """Attention and feed-forward, each with a residual and a norm after it.

    Reference: Vaswani et al. 2017, section 3.1 (post-norm).

    Args:
        num_heads: nh.
        intermediate_dim: F.
        activation: a key of `ACTIVATIONS`.
        dropout: rate after attention and after the feed-forward, 0 to 1.
        attention_dropout: rate on the attention probabilities, 0 to 1.
        layer_norm_epsilon: float.
        initializer_range: standard deviation of the initial weights.

    Call arguments:
        x: float `(B, T, H)` or, laid flat, `(N, H)`.
        bias: what `kbert.models.layout.attention_bias` gives, a list of
            `(B, 1, 1, T)`.
        layout: None, or one of `kbert.models.layout`.

    Returns:
        `(y, probs)`: of the shape of `x`, and the attention `(B, nh, T, T)`;
        flat, that of the first group.
    """

    def __init__(
        self,
        num_heads,
        intermediate_dim,
        activation="gelu",
        dropout=0.1,
        attention_dropout=0.1,
        layer_norm_epsilon=1e-12,
        initializer_range=0.02,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.intermediate_dim = intermediate_dim
        self.activation = activation
        self.dropout = dropout
        self.attention_dropout = attention_dropout
        self.layer_norm_epsilon = layer_norm_epsilon
        self.initializer_range = initializer_range

    def build(self, input_shape):
        hidden_dim = input_shape[-1]
        policy = self.dtype_policy

        def dense(units, name, activation=None):
            return Dense(
                units,
                activation=activation,
                kernel_initializer=kernel_initializer(self.initializer_range),
                dtype=policy,
                name=name,
            )

        def norm(name):
            return LayerNormalization(
                epsilon=self.layer_norm_epsilon, dtype=policy, name=name
            )

        self.attention = SelfAttention(
            self.num_heads,
            self.attention_dropout,
            self.initializer_range,
            dtype=policy,
            name="attention",
        )
        self.attention_norm = norm("attention_norm")
        self.intermediate = dense(
            self.intermediate_dim,
            "intermediate",
            ACTIVATIONS[self.activation],
        )
        self.output_dense = dense(hidden_dim, "output")
        self.output_norm = norm("output_norm")
        self.attention.build(input_shape)
        self.attention_norm.build(input_shape)
        self.intermediate.build(input_shape)
        self.output_dense.build((*input_shape[:-1], self.intermediate_dim))
        self.output_norm.build(input_shape)
        self.dropout_layer = Dropout(self.dropout, dtype=policy)
        self.built = True

    def call(self, x, bias, layout=None, training=None):
        y, probs = self.attention(x, bias, layout, training=training)
        y = self.dropout_layer(y, training=training)
        x = self.attention_norm(x + y)  # (..., H)
        y = self.intermediate(x)  # (..., F)
        y = self.dropout_layer(self.output_dense(y), training=training)
        return self.output_norm(x + y), probs  # (..., H)

    def compute_output_spec(self, x, bias, layout=None, training=None):
        return _encoder_spec(self, x, bias)

    def get_config(self):
        return super().get_config() | {
            "num_heads": self.num_heads,
            "intermediate_dim": self.intermediate_dim,
            "activation": self.activation,
            "dropout": self.dropout,
            "attention_dropout": self.attention_dropout,
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "initializer_range": self.initializer_range,
        }


def _encoder_spec(layer, x, bias):
    batch, _, _, length = bias[0].shape
    return (
        keras.KerasTensor(x.shape, dtype=layer.compute_dtype),
        keras.KerasTensor(
            (batch, layer.num_heads, length, length),
            dtype=layer.compute_dtype,
        ),
    )
