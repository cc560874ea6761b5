"""Keras dtype policies: which ones kbert computes in, and trains in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kbert.errors import ConfigError

if TYPE_CHECKING:
    import keras

# Weights stay in float32 in these, and take what a step adds to them.
TRAINED = ("float32", "mixed_bfloat16", "mixed_float16")

POLICIES = (*TRAINED, "bfloat16", "float16", "float64")


def check_policy(dtype: str | keras.DTypePolicy | None = None) -> None:
    """Refuse the policy that layers made with `dtype` get, if it is unknown.

    Raises:
        ConfigError: kbert does not compute in it.
    """
    import keras

    policy = keras.config.dtype_policy() if dtype is None else dtype
    if isinstance(policy, dict):  # As configurations have it.
        policy = keras.dtype_policies.get(policy)
    name = getattr(policy, "name", policy)
    if not isinstance(policy, str | keras.DTypePolicy) or name not in POLICIES:
        raise ConfigError(
            f"The dtype policy must be one of {', '.join(POLICIES)}. "
            f"Received: {name!r}. Set another by "
            f"keras.config.set_dtype_policy."
        )
    if name == "float64" and keras.backend.backend() == "jax":
        import jax

        if not jax.config.values["jax_enable_x64"]:
            raise ConfigError(
                "JAX computes in float64 if JAX_ENABLE_X64=1 is set. "
                "Received: the dtype policy 'float64' without it. Set it, or "
                "use float32."
            )


def check_trained(model: keras.Model) -> None:
    """Refuse to train weights that a step's change is lost in.

    Raises:
        ConfigError: a weight, or what losses are computed in, is not
            float32; the message names the policy.
    """
    import keras

    wrong = {
        weight.dtype: weight.path
        for weight in model.trainable_weights
        if weight.dtype != "float32"
    }
    if wrong:
        dtype, path = next(iter(wrong.items()))
        raise ConfigError(
            f"Training needs weights in float32, to hold what a step adds to "
            f"them. Received: {path} in {dtype}. Train with the dtype policy "
            f"{', '.join(TRAINED[:-1])} or {TRAINED[-1]}; load the model "
            f"with {dtype} to answer or to export."
        )
    if keras.config.floatx() != "float32":
        raise ConfigError(
            f"Training computes losses in float32. Received: "
            f"keras.config.floatx() == {keras.config.floatx()!r}. Leave it, "
            f"and set a dtype policy."
        )


def computes_in(model: keras.Model, dtype: str) -> bool:
    """Whether a layer of the model, or of a model in it, does."""
    return any(
        layer.compute_dtype == dtype or computes_in(layer, dtype)
        for layer in getattr(model, "layers", ())
    )
