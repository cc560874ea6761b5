"""The heads of pretraining, and the functional model that carries them.

Shapes: B batch, T tokens in a row, P hidden tokens in a row, H hidden size,
V vocabulary size.
"""

from __future__ import annotations

import keras
from keras import ops

from kbert.models.backbone import Backbone
from kbert.models.dense import Dense
from kbert.models.layers import ACTIVATIONS
from kbert.models.layers import kernel_initializer

# Objectives that the [CLS] token answers, with two classes each.
PAIR_OBJECTIVES = ("nsp", "sop")
OBJECTIVES = ("mlm", *PAIR_OBJECTIVES)


@keras.saving.register_keras_serializable("kbert")
class MaskedLanguageHead(keras.layers.Layer):
    """Logits of the vocabulary for the hidden tokens.

    A dense layer with the backbone's activation and a layer normalization,
    then the token embeddings once more, as output weights, and a bias.

    Reference: Devlin et al. 2018, section 3.1; the transformation is Google's
    run_pretraining.py.

    Args:
        activation: a key of `kbert.models.layers.ACTIVATIONS`.
        layer_norm_epsilon: float.
        initializer_range: standard deviation of the initial weights.

    Call arguments:
        x: float `(B, T, H)`, the backbone's `sequence_output`.
        positions: int `(B, P)`, which tokens of each row to answer for.
        table: float `(V, E)`, the token embeddings; E is H unless the
            backbone has an `embedding_dim`.

    Returns:
        float32 `(B, P, V)`.
    """

    def __init__(
        self,
        activation="gelu",
        layer_norm_epsilon=1e-12,
        initializer_range=0.02,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.activation = activation
        self.layer_norm_epsilon = layer_norm_epsilon
        self.initializer_range = initializer_range

    def build(self, x_shape, positions_shape, table_shape):
        vocabulary_size, embedding_dim = table_shape
        self.dense = Dense(
            embedding_dim,
            activation=ACTIVATIONS[self.activation],
            kernel_initializer=kernel_initializer(self.initializer_range),
            dtype=self.dtype_policy,
            name="transform",
        )
        self.norm = keras.layers.LayerNormalization(
            epsilon=self.layer_norm_epsilon,
            dtype=self.dtype_policy,
            name="norm",
        )
        self.dense.build(x_shape)
        self.norm.build((None, None, embedding_dim))
        self.bias = self.add_weight(
            shape=(vocabulary_size,), initializer="zeros", name="bias"
        )
        self.built = True

    def call(self, x, positions, table):
        # Only hidden tokens meet the vocabulary: that is most of the work.
        rows, length = ops.shape(x)[0], ops.shape(x)[1]
        flat = ops.reshape(x, (-1, x.shape[-1]))  # (B * T, H)
        places = positions + length * ops.arange(rows)[:, None]  # (B, P)
        x = ops.take(flat, places, axis=0)  # (B, P, H)
        x = self.norm(self.dense(x))  # (B, P, E)
        logits = ops.matmul(x, ops.transpose(table)) + self.bias  # (B, P, V)
        return ops.cast(logits, "float32")

    def compute_output_spec(self, x, positions, table):
        return keras.KerasTensor(
            (*positions.shape, table.shape[0]), dtype="float32"
        )

    def get_config(self):
        return super().get_config() | {
            "activation": self.activation,
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "initializer_range": self.initializer_range,
        }


def pretraining_model(
    backbone: Backbone, objectives: tuple[str, ...], dtype: str | None = None
) -> keras.Model:
    """A backbone under the heads of some objectives, as a functional model.

    Args:
        backbone: `kbert.Backbone`.
        objectives: of `"mlm"`, `"nsp"` (does the second segment follow the
            first?) and `"sop"` (are the segments in order?).
        dtype: Keras dtype policy of the heads; their logits are float32.

    Returns:
        `keras.Model` from the backbone's inputs and, with `"mlm"`,
        `masked_positions` int32 `(B, P)` to a dict of logits: `mlm`
        `(B, P, V)`, `nsp` and `sop` `(B, 2)`. Class 0 of `nsp` says that the
        second segment follows, as in Google's code and Hugging Face's.

    Example:

    >>> backbone = kbert.Backbone.from_size("tiny", vocabulary_size=8000)
    >>> model = pretraining_model(backbone, ("mlm", "nsp"))
    """
    inputs, outputs = dict(backbone.input), {}
    config = backbone.config
    if "mlm" in objectives:
        positions = keras.Input((None,), dtype="int32", name="masked_positions")
        inputs["masked_positions"] = positions
        outputs["mlm"] = MaskedLanguageHead(
            activation=config["activation"],
            layer_norm_epsilon=config["layer_norm_epsilon"],
            initializer_range=config["initializer_range"],
            dtype=dtype,
            name="mlm",
        )(
            backbone.output["sequence_output"],
            positions,
            backbone.embeddings(inputs["token_ids"], table=True),
        )
    for name in PAIR_OBJECTIVES:
        if name in objectives:
            outputs[name] = keras.layers.Dense(
                2,
                kernel_initializer=kernel_initializer(
                    config["initializer_range"]
                ),
                dtype="float32",
                name=name,
            )(backbone.output["pooled_output"])
    return keras.Model(inputs, outputs, name="pretraining")
