"""BERT as a functional Keras model.

References:
    Devlin et al. 2018, BERT: Pre-training of Deep Bidirectional
    Transformers for Language Understanding, arXiv:1810.04805.
    Turc et al. 2019, Well-Read Students Learn Better, arXiv:1908.08962
    (the sizes tiny to medium).

Shapes: B batch, T tokens in a row, H hidden size, nh attention heads.
"""

import inspect
from typing import Any

import keras

from kbert.errors import ConfigError
from kbert.models.dense import Dense
from kbert.models.layers import ACTIVATIONS
from kbert.models.layers import Embeddings
from kbert.models.layers import EncoderLayer
from kbert.models.layers import kernel_initializer
from kbert.models.layout import GROUPS
from kbert.models.layout import FlatLayout
from kbert.models.layout import PackedLayout
from kbert.models.layout import attention_bias
from kbert.models.layout import pad
from kbert.models.precision import check_policy
from kbert.utils.checks import check_choice
from kbert.utils.checks import check_integer
from kbert.utils.checks import check_number
from kbert.utils.checks import check_options
from kbert.utils.copying import reduced_backbone

# Less of a layer norm's epsilon is lost in float32, where a row of equal
# numbers then is NaN.
LEAST_EPSILON = 1e-20

# (layers, H); nh = H / 64 and F = 4 H, as in the papers.
SIZES = {
    "tiny": (2, 128),
    "mini": (4, 256),
    "small": (4, 512),
    "medium": (8, 512),
    "base": (12, 768),
    "large": (24, 1024),
}


@keras.saving.register_keras_serializable("kbert")
class Backbone(keras.Model):
    """A BERT encoder without a head.

    Args:
        vocabulary_size: number of token ids.
        num_layers: number of encoder layers.
        num_heads: nh, attention heads in a layer; must divide `hidden_dim`.
        hidden_dim: H, size of a token's features.
        embedding_dim: size of the embeddings, from which a dense layer leads
            to H, as in ELECTRA-small (Clark et al. 2020); None for H itself.
        intermediate_dim: F, size of the feed-forward layer.
        activation: `"gelu"` (the erf form), `"gelu_new"` or
            `"gelu_pytorch_tanh"` (the tanh form), or `"relu"`.
        dropout: rate on embeddings and layer outputs, 0 to 1.
        attention_dropout: rate on the attention probabilities, 0 to 1.
        max_sequence_length: number of position embeddings.
        num_segments: number of segment ids.
        layer_norm_epsilon: epsilon of every layer normalization.
        initializer_range: standard deviation of the initial weights.
        output_hidden_states: also return every layer's output.
        output_attentions: also return every layer's attention.

    Input shape:
        A dict of `(B, T)` tensors: `token_ids` int32, `segment_ids` int32,
        and `padding_mask` bool, true for real tokens.

    Output shape:
        A dict: `sequence_output` `(B, T, H)`; `pooled_output` `(B, H)`, the
        [CLS] token through a tanh layer; if asked, `hidden_states`, a list
        of `num_layers + 1` tensors `(B, T, H)` that begins with the
        embeddings, and `attentions`, a list of `num_layers` tensors
        `(B, nh, T, T)`.

    Raises:
        ConfigError: a size is not a positive integer, `hidden_dim` is not a
            multiple of `num_heads`, the activation is unknown, or kbert does
            not compute in the dtype policy.

    Departures: "gelu" follows the checkpoint, so Hugging Face's BERTs get
    the erf form and not the tanh form of Google's code. Dropout is also
    applied to the embeddings, as in Google's code (the paper does not say).

    Example:

    >>> backbone = kbert.Backbone.from_size("tiny", vocabulary_size=1000)
    >>> token_ids = np.array([[2, 17, 5, 3], [2, 9, 3, 0]], "int32")
    >>> outputs = backbone({
    ...     "token_ids": token_ids,
    ...     "segment_ids": np.zeros_like(token_ids),
    ...     "padding_mask": token_ids != 0,
    ... })
    >>> outputs["sequence_output"].shape
    TensorShape([2, 4, 128])
    """

    def __init__(
        self,
        vocabulary_size,
        num_layers,
        num_heads,
        hidden_dim,
        intermediate_dim,
        activation="gelu",
        dropout=0.1,
        attention_dropout=0.1,
        max_sequence_length=512,
        num_segments=2,
        layer_norm_epsilon=1e-12,
        initializer_range=0.02,
        embedding_dim=None,
        output_hidden_states=False,
        output_attentions=False,
        dtype=None,
        name="backbone",
        **kwargs,
    ):
        # What Keras makes of others, it makes in silence.
        own = [*inspect.signature(Backbone).parameters][:-1]
        check_options("`kbert.Backbone`", kwargs, (*own, "trainable"))
        # === Config ===
        config = {
            "vocabulary_size": vocabulary_size,
            "num_layers": num_layers,
            "num_heads": num_heads,
            "hidden_dim": hidden_dim,
            "intermediate_dim": intermediate_dim,
            "activation": activation,
            "dropout": dropout,
            "attention_dropout": attention_dropout,
            "max_sequence_length": max_sequence_length,
            "num_segments": num_segments,
            "layer_norm_epsilon": layer_norm_epsilon,
            "initializer_range": initializer_range,
            "embedding_dim": embedding_dim,
            "output_hidden_states": output_hidden_states,
            "output_attentions": output_attentions,
        }
        _check_config(config)
        check_policy(dtype)

        # === Layers ===
        embeddings = Embeddings(
            vocabulary_size,
            hidden_dim,
            embedding_dim=embedding_dim,
            max_sequence_length=max_sequence_length,
            num_segments=num_segments,
            dropout=dropout,
            layer_norm_epsilon=layer_norm_epsilon,
            initializer_range=initializer_range,
            dtype=dtype,
            name="embeddings",
        )
        encoder = [
            EncoderLayer(
                num_heads,
                intermediate_dim,
                activation=activation,
                dropout=dropout,
                attention_dropout=attention_dropout,
                layer_norm_epsilon=layer_norm_epsilon,
                initializer_range=initializer_range,
                dtype=dtype,
                name=f"layer_{i}",
            )
            for i in range(num_layers)
        ]
        pooler = Dense(
            hidden_dim,
            activation="tanh",
            kernel_initializer=kernel_initializer(initializer_range),
            dtype=dtype,
            name="pooler",
        )

        # === Functional Model ===
        inputs = {
            "token_ids": keras.Input((None,), dtype="int32", name="token_ids"),
            "segment_ids": keras.Input(
                (None,), dtype="int32", name="segment_ids"
            ),
            "padding_mask": keras.Input(
                (None,), dtype="bool", name="padding_mask"
            ),
        }
        outputs = _encode(
            inputs,
            embeddings,
            encoder,
            pooler,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
        )
        super().__init__(inputs=inputs, outputs=outputs, name=name, **kwargs)

        self.config = config
        self.embeddings = embeddings
        self.encoder = encoder
        self.pooler = pooler

    def laid_out(self, layout):
        """The backbone in the form for a layout; the weights are shared.

        Args:
            layout: what `kbert.models.layout.choose_layout` gives: `"padded"`,
                the backbone itself, `"flat"` or `"packed"`; or `"grouped"`,
                flat for answers.

        Example:

        >>> backbone.laid_out("flat")(batch)["sequence_output"].shape
        TensorShape([2, 4, 128])
        """
        if layout == "padded":
            return self
        if layout == "packed":
            return self.packed()
        return self.without_padding(GROUPS if layout == "grouped" else (1,))

    def without_padding(self, groups=GROUPS):
        """The same layers as a model that computes real tokens only.

        Its inputs and outputs are the backbone's, without hidden states and
        attentions. It is for TensorFlow, where batches may have any number of
        tokens; the answers are the same to rounding.

        Args:
            groups: see `kbert.models.layout.FlatLayout`.

        Returns:
            A functional `keras.Model`.

        Example:

        >>> fast = backbone.without_padding()
        >>> fast(batch)["sequence_output"].shape
        TensorShape([2, 4, 128])
        """
        layout = FlatLayout(self.config["num_heads"], groups, name="layout")(
            self.input["padding_mask"]
        )
        outputs = _encode(
            self.input, self.embeddings, self.encoder, self.pooler, layout
        )
        return keras.Model(self.input, outputs, name=f"{self.name}_flat")

    def packed(self):
        """The same layers as a model whose texts share rows.

        For training where XLA compiles for each shape: there are few, and
        nearly all tokens are real. The answers are the same to rounding.

        Returns:
            A functional `keras.Model` with the backbone's outputs, without
            hidden states and attentions. Beside the backbone's inputs it
            takes `slots` int32 `(R, T)` and `sources` int32 `(B, T)`, which
            `kbert.data.packing.pack` gives for a padding mask.

        Example:

        >>> packed = backbone.packed()
        >>> packed(batch | pack(batch["padding_mask"]))
        """
        more = {
            name: keras.Input((None,), dtype="int32", name=name)
            for name in ("slots", "sources")
        }
        layout = PackedLayout(name="layout")(**more)
        outputs = _encode(
            self.input, self.embeddings, self.encoder, self.pooler, layout
        )
        inputs = self.input | more
        return keras.Model(inputs, outputs, name=f"{self.name}_packed")

    def after_embeddings(self):
        """The same layers as a model of embedded tokens.

        For what asks how the answer depends on each token, since a gradient
        cannot pass through token ids.

        Returns:
            A functional `keras.Model` from `embeddings` float `(B, T, H)`,
            what `backbone.embeddings` gives, and `padding_mask` bool
            `(B, T)`, to the backbone's outputs without hidden states and
            attentions.

        Example:

        >>> x = backbone.embeddings(batch["token_ids"], batch["segment_ids"])
        >>> backbone.after_embeddings()(
        ...     {"embeddings": x, "padding_mask": batch["padding_mask"]}
        ... )
        """
        x = keras.Input(
            (None, self.config["hidden_dim"]),
            dtype=self.embeddings.compute_dtype,
            name="embeddings",
        )
        tokens = {
            "token_ids": None,
            "segment_ids": None,
            "padding_mask": self.input["padding_mask"],
        }
        outputs = _encode(tokens, lambda *_: x, self.encoder, self.pooler)
        inputs = {"embeddings": x, "padding_mask": tokens["padding_mask"]}
        return keras.Model(inputs, outputs, name=f"{self.name}_embedded")

    @classmethod
    def from_size(cls, size, vocabulary_size, **kwargs):
        """A randomly initialized backbone of a size known from the papers.

        Args:
            size: `"tiny"`, `"mini"`, `"small"`, `"medium"`, `"base"`,
                `"large"`, or `(num_layers, hidden_dim)`.
            vocabulary_size: number of token ids.
            **kwargs: further arguments of `Backbone`.

        Raises:
            ConfigError: the size is unknown.

        Example:

        >>> kbert.Backbone.from_size("tiny", vocabulary_size=1000).name
        'backbone'
        """
        return cls(vocabulary_size, **(cls.size_config(size) | kwargs))

    @staticmethod
    def size_config(size) -> dict[str, Any]:
        """The arguments that make a size, a dict; see `from_size`.

        Example:

        >>> kbert.Backbone.size_config("tiny")["num_layers"]
        2
        """
        if isinstance(size, tuple):
            num_layers, hidden_dim = size
        else:
            num_layers, hidden_dim = SIZES[check_choice("size", size, SIZES)]
        return {
            "num_layers": num_layers,
            "hidden_dim": hidden_dim,
            "num_heads": max(hidden_dim // 64, 1),
            "intermediate_dim": 4 * hidden_dim,
        }

    def __reduce__(self):
        return reduced_backbone(self)

    def get_config(self):
        policy = self.embeddings.dtype_policy
        return self.config | {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.saving.serialize_keras_object(policy),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)


def _encode(
    inputs,
    embeddings,
    encoder,
    pooler,
    layout=None,
    output_hidden_states=False,
    output_attentions=False,
):
    """Tokens to features, the tokens lying as `layout` says."""
    # (B, T, H), or (N, H) if flat or packed
    x = embeddings(inputs["token_ids"], inputs["segment_ids"], layout)
    # of each group (B, 1, 1, T), or (R, 1, L, L) if packed
    bias = attention_bias(inputs["padding_mask"], layout, x.dtype)
    hidden_states, attentions = [x], []
    for layer in encoder:
        x, probs = layer(x, bias, layout)  # as x, and (B, nh, T, T)
        hidden_states.append(x)
        attentions.append(probs)
    x = pad(x, layout)  # (B, T, H)
    outputs = {
        "sequence_output": x,
        "pooled_output": pooler(x[:, 0]),  # (B, H)
    }
    if output_hidden_states:
        outputs["hidden_states"] = hidden_states
    if output_attentions:
        outputs["attentions"] = attentions
    return outputs


def _check_config(config):
    sizes = [
        "vocabulary_size",
        "num_layers",
        "num_heads",
        "hidden_dim",
        "intermediate_dim",
        "max_sequence_length",
        "num_segments",
    ]
    if config["embedding_dim"] is not None:
        sizes.append("embedding_dim")
    for name in sizes:
        config[name] = check_integer(name, config[name])
    if config["hidden_dim"] % config["num_heads"]:
        raise ConfigError(
            "`hidden_dim` must be a multiple of `num_heads`. Received: "
            f"hidden_dim={config['hidden_dim']}, "
            f"num_heads={config['num_heads']}"
        )
    for name in ("dropout", "attention_dropout"):
        config[name] = check_number(name, config[name], 0, 1)
    epsilon, deviation = "layer_norm_epsilon", "initializer_range"
    config[epsilon] = check_number(epsilon, config[epsilon], LEAST_EPSILON)
    config[deviation] = check_number(deviation, config[deviation], above=0)
    check_choice("activation", config["activation"], ACTIVATIONS)
