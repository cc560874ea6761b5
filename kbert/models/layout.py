"""How tokens lie in memory: padded to rows, flat, or packed.

Dense layers and norms work on each token by itself, so they do not care;
attention alone looks along rows. Laid flat, they compute real tokens only, as
many as there are. Packed, several texts share a row, and attention does not
cross from one to another: nearly as little padding, and shapes that are few.

Shapes: B batch, T tokens in a row, N tokens laid out, H hidden size, nh heads
of hs numbers each, R packed rows of L tokens. A layout is None for padded
tokens, or a dict of
`places`: int32 `(N,)`, where in the B * T padded tokens each one is, and
`sources`: int32 `(B, T)`, which of the N stands at each place, any one where
there is padding. If flat, attention pads the texts of a group to the longest
among them, and there are lists with an item for each group of b texts and t
tokens: `head_sources` int32 `(b, nh, t)`, which of the N * nh heads of tokens
stands at each place, and `seen` bool `(b, t)`, true for real tokens; besides
`head_places` int32 `(N, nh)`, where each head is in all groups one after the
other. If packed, N = R * L and it has `owners` besides: int32 `(R, L)`, the
text that each token is of, -1 where there is none.
"""

import keras
from keras import ops

from kbert.errors import ConfigError
from kbert.utils.checks import check_choice

LAYOUTS = ("auto", "padded", "flat", "packed")

# What hides a token from attention: float16 holds it, and e to its power is 0
# in every precision.
HIDDEN = -3e4

# A batch of mixed lengths in groups: its longest eighth, what follows up to a
# third, the rest. With more groups short batches lose what long ones gain.
GROUPS = (1 / 8, 1 / 3, 1)


def choose_layout(layout: str = "auto", packed: bool = False) -> str:
    """How training is to lay out its tokens here; see docs/performance.md.

    Args:
        layout: one of `LAYOUTS`; `"auto"` is `"flat"` where shapes may vary,
            on TensorFlow without XLA, as Keras runs it on a CPU; on JAX,
            which compiles for each shape, it is `"packed"` on a CPU, where
            this training can have that, and else `"padded"`, to few lengths.
        packed: whether this training can have packed rows.

    Returns:
        `"padded"`, `"flat"` or `"packed"`.

    Raises:
        ConfigError: there is no such layout, or the backend compiles by
            shape and cannot have flat tokens.
    """
    known = LAYOUTS if packed else LAYOUTS[:-1]
    check_choice("layout", layout, known)
    varying = keras.backend.backend() == "tensorflow"
    if layout == "flat" and not varying:
        raise ConfigError(
            "`layout='flat'` needs the TensorFlow backend: flat tokens are "
            "of another number in each batch. Received: backend "
            f"{keras.backend.backend()!r}. Leave `layout` out."
        )
    if layout != "auto":
        return layout
    devices = keras.distribution.list_devices()
    if not all(device.startswith("cpu") for device in devices):
        return "padded"
    if varying:
        return "flat"
    return "packed" if packed else "padded"


@keras.saving.register_keras_serializable("kbert")
class FlatLayout(keras.layers.Layer):
    """Where the real tokens of a padded batch are, and the way back.

    N differs from batch to batch, so this is for backends that do not compile
    by shape.

    Reference: Zeng et al. 2022, Boosting Distributed Training Performance of
    the Unpadded BERT Model; ByteDance's Effective Transformer.

    Args:
        num_heads: nh.
        groups: shares of the batch's texts at which the groups end that
            attention pads together, longest texts first; the last is 1.

    Call arguments:
        mask: bool `(B, T)`, true for real tokens.

    Returns:
        A layout, of `places`, `sources`, `head_places`, `head_sources` and
        `seen`.
    """

    def __init__(self, num_heads, groups=GROUPS, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.groups = tuple(groups)

    def call(self, mask):
        batch, length = ops.shape(mask)
        real = ops.reshape(mask, (-1,))  # (B * T,)
        places = ops.cast(ops.nonzero(real)[0], "int32")  # (N,)
        sources = ops.cumsum(ops.cast(real, "int32")) - 1  # (B * T,)
        sources = ops.reshape(ops.maximum(sources, 0), (batch, length))
        heads = ops.arange(self.num_heads, dtype="int32")

        # Columns up to each text's last token, the longest text first; one
        # group needs no order.
        ends = ops.arange(1, length + 1, dtype="int32")
        ends = ops.max(ops.where(mask, ends, 0), axis=1)  # (B,)
        order = ops.arange(batch, dtype="int32")
        if len(self.groups) > 1:
            order = ops.argsort(-ends)
        ends, first = ops.take(ends, order, axis=0), 0
        head_sources, seen, widths = [], [], []
        for share in self.groups:
            last = ops.cast(share * ops.cast(batch, "float32"), "int32")
            rows = order[first:last]  # (b,)
            width = ops.max(ends[first:last], initial=0)  # t
            mine = ops.take(sources, rows, axis=0)[:, :width]  # (b, t)
            head_sources.append(mine[:, None] * self.num_heads + heads[:, None])
            seen.append(ops.take(mask, rows, axis=0)[:, :width])
            widths.append(ops.full_like(rows, width))
            first = last

        row, column = places // length, places % length  # (N,)
        rank = ops.take(ops.argsort(order), row, axis=0)  # (N,)
        widths = ops.concatenate(widths, axis=0)  # (B,)
        starts = (ops.cumsum(widths) - widths) * self.num_heads
        start = ops.take(starts, rank, axis=0)[:, None]  # (N, 1)
        width = ops.take(widths, rank, axis=0)[:, None]
        return {
            "places": places,
            "sources": sources,
            "head_places": start + heads * width + column[:, None],
            "head_sources": head_sources,
            "seen": seen,
        }

    def compute_output_spec(self, mask):
        batch, length = mask.shape
        return {
            "places": keras.KerasTensor((None,), dtype="int32"),
            "sources": keras.KerasTensor((batch, length), dtype="int32"),
            "head_places": keras.KerasTensor(
                (None, self.num_heads), dtype="int32"
            ),
            "head_sources": [
                keras.KerasTensor((None, self.num_heads, None), dtype="int32")
                for _ in self.groups
            ],
            "seen": [
                keras.KerasTensor((None, None), dtype="bool")
                for _ in self.groups
            ],
        }

    def get_config(self):
        return super().get_config() | {
            "num_heads": self.num_heads,
            "groups": self.groups,
        }


@keras.saving.register_keras_serializable("kbert")
class PackedLayout(keras.layers.Layer):
    """The layout of texts that share rows, as `kbert.data.packing` puts them.

    Reference: Krell et al. 2021, Efficient Sequence Packing without
    Cross-contamination, https://arxiv.org/abs/2107.02027

    Call arguments:
        slots: int32 `(R, L)`, which of the B * T padded tokens lies there,
            -1 for none.
        sources: int32 `(B, T)`, see above.

    Returns:
        A layout, of `places`, `sources` and `owners`.
    """

    def call(self, slots, sources):
        return {
            "places": ops.reshape(ops.maximum(slots, 0), (-1,)),  # (R * L,)
            "sources": sources,
            "owners": ops.floor_divide(slots, ops.shape(sources)[1]),
        }

    def compute_output_spec(self, slots, sources):
        return {
            "places": keras.KerasTensor((None,), dtype="int32"),
            "sources": keras.KerasTensor(sources.shape, dtype="int32"),
            "owners": keras.KerasTensor(slots.shape, dtype="int32"),
        }


def flatten(x, layout):
    """Tokens `(B, T, ...)` laid out, `(N, ...)`; padded ones as they are."""
    if layout is None:
        return x
    x = ops.reshape(x, (-1, *x.shape[2:]))
    return ops.take(x, layout["places"], axis=0)


def pad(x, layout):
    """Tokens `(N, ...)` as they came, `(B, T, ...)`.

    Padding is filled with copies of real tokens, which the mask hides.
    """
    return x if layout is None else ops.take(x, layout["sources"], axis=0)


def split_heads(x, layout, num_heads, length, training=None):
    """Tokens in the rows that attention looks along, head by head.

    Args:
        x: float `(B, T, H)` or `(N, H)`.
        layout: see above.
        num_heads: nh.
        length: T or, packed, L.
        training: whether gradients are asked of it again and again.

    Returns:
        A list: float `(B, nh, T, hs)` or, packed, `(R, nh, L, hs)`; flat, for
        each group `(b, nh, t, hs)`.
    """
    head_dim = x.shape[-1] // num_heads
    if layout is not None and "head_sources" in layout:
        x = ops.reshape(x, (-1, head_dim))  # (N * nh, hs)
        return (_to_rows if training else _take_rows)(x, layout)
    x = ops.reshape(x, (-1, length, num_heads, head_dim))
    # tf2onnx makes something else of a transpose that moves no number.
    if num_heads == 1:
        return [ops.reshape(x, (-1, 1, length, head_dim))]
    return [ops.transpose(x, (0, 2, 1, 3))]


def merge_heads(groups, layout, training=None):
    """What `split_heads` takes, from what it gives."""
    x = groups[0]
    _, num_heads, _, head_dim = x.shape
    hidden_dim = num_heads * head_dim
    if layout is not None and "head_places" in layout:
        take = _from_rows if training else _take_tokens
        return ops.reshape(take(groups, layout), (-1, hidden_dim))
    length = ops.shape(x)[2]
    if num_heads > 1:
        x = ops.transpose(x, (0, 2, 1, 3))  # (B, T, nh, hs)
    shape = (-1, hidden_dim) if layout is not None else (-1, length, hidden_dim)
    return ops.reshape(x, shape)


def _take_rows(x, layout):
    """`(N * nh, hs)`, to `(b, nh, t, hs)` for each group."""
    return [ops.take(x, own, axis=0) for own in layout["head_sources"]]


def _take_tokens(groups, layout):
    """`(b, nh, t, hs)` of each group, to `(N, nh, hs)`."""
    groups = [ops.reshape(x, (-1, x.shape[-1])) for x in groups]
    x = groups[0] if len(groups) == 1 else ops.concatenate(groups, axis=0)
    return ops.take(x, layout["head_places"], axis=0)


# TensorFlow adds up a gather's gradient row by row, on one core. Here each
# real token stands at one place, so that it is the gather the other way; what
# stands at the others, no real token sees. In training alone: TensorFlow keeps
# every graph that has a gradient of its own for as long as the process lives.


def _to_rows(x, layout):
    import tensorflow as tf

    @tf.custom_gradient
    def gather(x):
        def gradient(*upstream):
            with tf.name_scope("attention_gradient"):
                tokens = _take_tokens(upstream, layout)
                return tf.reshape(tokens, tf.shape(x))

        return _take_rows(x, layout), gradient

    return gather(x)


def _from_rows(groups, layout):
    import tensorflow as tf

    @tf.custom_gradient
    def gather(*groups):
        def gradient(upstream):
            with tf.name_scope("attention_gradient"):
                rows = tf.reshape(upstream, (-1, upstream.shape[-1]))
                return [
                    tf.where(seen[:, None, :, None], x, tf.zeros((), x.dtype))
                    for x, seen in zip(
                        _take_rows(rows, layout), layout["seen"], strict=True
                    )
                ]

        return _take_tokens(groups, layout), gradient

    return gather(*groups)


def attention_bias(padding_mask, layout, dtype):
    """What is added to attention's scores.

    0 where attention may look, very negative where it may not. A list:
    `(B, 1, 1, T)` or, packed, `(R, 1, L, L)`; flat, for each group
    `(b, 1, 1, t)`.
    """
    if layout is not None and "owners" in layout:
        owners = layout["owners"]
        # (R, 1, L, 1) with (R, 1, 1, L)
        seen = [ops.equal(owners[:, None, :, None], owners[:, None, None, :])]
    else:
        masks = [padding_mask] if layout is None else layout["seen"]
        seen = [mask[:, None, None, :] for mask in masks]
    return [(1.0 - ops.cast(one, dtype)) * HIDDEN for one in seen]


def positions(token_ids, layout):
    """The position of each token in its text, `(T,)` or `(N,)`."""
    length = ops.shape(token_ids)[1]
    if layout is None:
        return ops.arange(length, dtype="int32")
    return layout["places"] % length
