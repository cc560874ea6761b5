"""How tokens lie in memory: padded to rows, flat, or packed.

Dense layers and norms work on each token by itself, so they do not care;
attention alone looks along rows. Laid flat, they compute real tokens only, as
many as there are. Packed, several texts share a row, and attention does not
cross from one to another: nearly as little padding, and shapes that are few.

Shapes: B batch, T tokens in a row, N tokens laid out, H hidden size, R packed
rows of L tokens. A layout is None for padded tokens, or a dict of
`places`: int32 `(N,)`, where in the B * T padded tokens each one is, and
`sources`: int32 `(B, T)`, which of the N stands at each place, any one where
there is padding. If packed, N = R * L and it has `owners` besides: int32
`(R, L)`, the text that each token is of, -1 where there is none.
"""

import keras
from keras import ops

from kbert.errors import ConfigError

LAYOUTS = ("auto", "padded", "flat", "packed")


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
    if layout not in known:
        raise ConfigError(
            f"`layout` must be one of {', '.join(known)}. Received: "
            f"layout={layout!r}"
        )
    varying = keras.backend.backend() == "tensorflow"
    if layout == "flat" and not varying:
        raise ConfigError(
            "`layout='flat'` needs the TensorFlow backend: flat tokens are "
            "of another number in each batch. Received: backend "
            f"{keras.backend.backend()!r}. Leave `layout` out."
        )
    if layout != "auto":
        return layout
    if any(keras.distribution.list_devices(kind) for kind in ("gpu", "tpu")):
        return "padded"
    if varying:
        return "flat"
    return "packed" if packed else "padded"


class FlatLayout(keras.layers.Layer):
    """Where the real tokens of a padded batch are, and the way back.

    N differs from batch to batch, so this is for backends that do not compile
    by shape.

    Reference: Zeng et al. 2022, Boosting Distributed Training Performance of
    the Unpadded BERT Model; ByteDance's Effective Transformer.

    Call arguments:
        mask: bool `(B, T)`, true for real tokens.

    Returns:
        A layout, of `places` and `sources`.
    """

    def call(self, mask):
        real = ops.reshape(mask, (-1,))  # (B * T,)
        places = ops.cast(ops.nonzero(real)[0], "int32")  # (N,)
        sources = ops.cumsum(ops.cast(real, "int32")) - 1  # (B * T,)
        sources = ops.reshape(ops.maximum(sources, 0), ops.shape(mask))
        return {"places": places, "sources": sources}

    def compute_output_spec(self, mask):
        return {
            "places": keras.KerasTensor((None,), dtype="int32"),
            "sources": keras.KerasTensor(mask.shape, dtype="int32"),
        }


class PackedLayout(keras.layers.Layer):
    """The layout of texts that share rows, as `kbert.packing` puts them.

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


def to_rows(x, layout):
    """Tokens `(N, H)` in the rows that attention looks along.

    `(B, T, H)`, or if packed those R * L as they lie.
    """
    packed = layout is not None and "owners" in layout
    return x if packed else pad(x, layout)


def from_rows(x, layout):
    """Rows `(B, T, H)` or, packed, `(R, L, H)` as tokens, `(N, H)`."""
    if layout is not None and "owners" in layout:
        return ops.reshape(x, (-1, x.shape[-1]))
    return flatten(x, layout)


def attention_bias(padding_mask, layout, dtype):
    """What is added to attention's scores.

    0 where attention may look, very negative where it may not, `(B, 1, 1, T)`
    or, packed, `(R, 1, L, L)`.
    """
    if layout is not None and "owners" in layout:
        owners = layout["owners"]
        # (R, 1, L, 1) with (R, 1, 1, L)
        seen = ops.equal(owners[:, None, :, None], owners[:, None, None, :])
    else:
        seen = padding_mask[:, None, None, :]
    return (ops.cast(seen, dtype) - 1.0) * 1e9


def positions(token_ids, layout):
    """The position of each token in its text, `(T,)` or `(N,)`."""
    length = ops.shape(token_ids)[1]
    if layout is None:
        return ops.arange(length, dtype="int32")
    return layout["places"] % length
