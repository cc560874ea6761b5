"""How tokens lie in memory: padded to rows, or flat, without the padding.

Dense layers and norms work on each token by itself, so they do not care;
attention alone looks along rows. Laid flat, they compute real tokens only.

Shapes: B batch, T tokens in a row, N real tokens of the batch, H hidden size.
A layout is None for padded tokens, or the pair that `FlatLayout` gives.
"""

import keras
from keras import ops

from kbert.errors import ConfigError

LAYOUTS = ("auto", "padded", "flat")


def choose_layout(layout: str = "auto") -> str:
    """How training is to lay out its tokens here; see docs/performance.md.

    Args:
        layout: one of `LAYOUTS`; `"auto"` is `"flat"` where shapes may vary,
            on TensorFlow without XLA, as Keras runs it on a CPU. Where XLA
            compiles for each shape it is `"padded"`, to few lengths on JAX.

    Returns:
        `"padded"` or `"flat"`.

    Raises:
        ConfigError: there is no such layout, or the backend compiles by
            shape and cannot have flat tokens.
    """
    if layout not in LAYOUTS:
        raise ConfigError(
            f"`layout` must be one of {', '.join(LAYOUTS)}. Received: "
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
    if varying and not keras.distribution.list_devices("gpu"):
        return "flat"
    return "padded"


class FlatLayout(keras.layers.Layer):
    """Where the real tokens of a padded batch are, and the way back.

    N differs from batch to batch, so this is for backends that do not compile
    by shape.

    Reference: Zeng et al. 2022, Boosting Distributed Training Performance of
    the Unpadded BERT Model; ByteDance's Effective Transformer.

    Call arguments:
        mask: bool `(B, T)`, true for real tokens.

    Returns:
        `(places, sources)`: int32 `(N,)`, the place of each real token in the
        B * T padded ones; int32 `(B, T)`, which real token stands at each
        place, any one where there is padding.
    """

    def call(self, mask):
        real = ops.reshape(mask, (-1,))  # (B * T,)
        places = ops.cast(ops.nonzero(real)[0], "int32")  # (N,)
        sources = ops.cumsum(ops.cast(real, "int32")) - 1  # (B * T,)
        return places, ops.reshape(ops.maximum(sources, 0), ops.shape(mask))

    def compute_output_spec(self, mask):
        return (
            keras.KerasTensor((None,), dtype="int32"),
            keras.KerasTensor(mask.shape, dtype="int32"),
        )


def flatten(x, layout):
    """Real tokens of `(B, T, ...)` as `(N, ...)`; padded ones as they are."""
    if layout is None:
        return x
    places, _ = layout
    return ops.take(ops.reshape(x, (-1, *x.shape[2:])), places, axis=0)


def pad(x, layout):
    """Tokens `(N, ...)` in rows again, `(B, T, ...)`.

    Padding is filled with copies of real tokens, which the mask hides.
    """
    if layout is None:
        return x
    _, sources = layout
    return ops.take(x, sources, axis=0)


def positions(token_ids, layout):
    """The position of each token in its row, `(T,)` or `(N,)`."""
    length = ops.shape(token_ids)[1]
    if layout is None:
        return ops.arange(length, dtype="int32")
    places, _ = layout
    return places % length
