"""AdamW and Muon with BERT's groups; the warm-up and linear decay schedule."""

import re
from collections.abc import Iterable
from functools import partial
from typing import Any

import keras
from keras import ops

from kbert.errors import UnknownNameError
from kbert.models.precision import computes_in
from kbert.training.callbacks import averages_weights
from kbert.training.callbacks import sets_the_rate
from kbert.training.rate import Mixin
from kbert.training.rate import SettableRate
from kbert.training.used_rows import UsedRows
from kbert.utils.checks import check_number

OPTIMIZERS = ("adamw", "lamb", "muon")

# Checks of the rates that trainings have.
RATES = {
    # A step is about as long as the rate, and weights are about 0.05: with
    # more than 1 nothing is left of them.
    "learning_rate": partial(check_number, above=0, most=1),
    "warmup": partial(check_number, least=0, most=1),
    "weight_decay": partial(check_number, least=0),
    "layer_decay": partial(check_number, above=0, most=1),
}

# Not decayed: biases, and the scale and shift of layer normalizations.
NO_DECAY = ("bias", "gamma", "beta")

# Patterns of the paths of what lies in a layer of the encoder, and in none.
ENCODER_LAYER = r"(^|/)layer_(\d+)/"
NO_ENCODER_LAYER = rf"^(?!.*{ENCODER_LAYER})"


class TrueNorm(Mixin):
    """Gradients are clipped by their norm, on TensorFlow as elsewhere.

    There the gradient of an embedding comes as slices, several for a token
    that a batch has several times. Keras adds up their squares; what counts is
    the square of their sum. It is mixed into optimizers of Keras, before them.
    """

    def _clip_gradients(self, grads):
        if keras.backend.backend() != "tensorflow" or not self.global_clipnorm:
            return super()._clip_gradients(grads)
        import tensorflow as tf

        dense = [None if g is None else tf.convert_to_tensor(g) for g in grads]
        # Without the squares in memory, which Keras makes.
        return tf.clip_by_global_norm(dense, self.global_clipnorm)[0]


@keras.saving.register_keras_serializable("kbert")
class AdamW(UsedRows, TrueNorm, SettableRate, keras.optimizers.AdamW):
    """AdamW whose step size can shrink from the head down to the embeddings.

    Biases and layer normalizations are not decayed. Layer i of n gets
    `learning_rate * layer_decay ** (n - i)`, the embeddings
    `layer_decay ** (n + 1)`, the head and the pooler the full rate.

    Reference: Loshchilov & Hutter 2019, Decoupled Weight Decay
    Regularization; Sun et al. 2019, How to Fine-Tune BERT for Text
    Classification, section 5.3.4 (layer-wise decreasing learning rate).

    Args:
        learning_rate: float or `keras.optimizers.schedules` schedule.
        layer_decay: factor from one layer to the next below it, 0 < f <= 1.
        weight_decay: decay per unit of learning rate.
        used_rows: ids of the tokens that training has, or None for all.
        **kwargs: further arguments of `keras.optimizers.AdamW`.

    Departures: the moments are corrected for their bias, as in Adam; Google's
    BERT code leaves that out. On TensorFlow the update of a weight is one
    fused operation with the same result. With `used_rows` the embeddings of
    other tokens are not decayed, see `UsedRows`.

    Example:

    >>> optimizer = kbert.training.optimizer.AdamW(5e-5, layer_decay=0.95)
    >>> clf.model.compile(optimizer, clf.head.loss())
    """

    def __init__(
        self,
        learning_rate=5e-5,
        layer_decay=1.0,
        weight_decay=0.01,
        epsilon=1e-6,
        global_clipnorm=1.0,
        **kwargs,
    ):
        super().__init__(
            learning_rate,
            weight_decay=weight_decay,
            epsilon=epsilon,
            global_clipnorm=global_clipnorm,
            **kwargs,
        )
        self.layer_decay = layer_decay
        self.exclude_from_weight_decay(var_names=NO_DECAY)

    def build(self, variables):
        super().build(variables)
        depths = [_depth(variable.path) for variable in variables]
        top = max((d for d in depths if d is not None), default=0) + 1
        self._rates = {
            self._var_key(variable): self.layer_decay ** (top - depth)
            if depth is not None
            else 1.0
            for variable, depth in zip(variables, depths, strict=True)
        }

    def _apply_weight_decay(self, variables):
        # Done in `update_step`, where the rate of each variable is known.
        pass

    def update_step(self, gradient, variable, learning_rate):
        rate = learning_rate * self._rates[self._var_key(variable)]
        rate = ops.cast(rate, variable.dtype)
        index = self._get_variable_index(variable)
        decays = self._use_weight_decay(variable)
        with self.updated(variable) as part:
            if decays:
                self.assign(part, part * (1.0 - rate * self.weight_decay))
            if keras.backend.backend() == "tensorflow":
                moments = self._momentums[index], self._velocities[index]
                betas = self.beta_1, self.beta_2
                _fused_adam(self, gradient, part, rate, moments, betas)
            else:
                super().update_step(gradient, part, rate)

    def get_config(self):
        return super().get_config() | {"layer_decay": self.layer_decay}


@keras.saving.register_keras_serializable("kbert")
class Muon(TrueNorm, SettableRate, keras.optimizers.Muon):
    """Muon for the kernels of the encoder layers, AdamW for the rest.

    Muon's step is the momentum with all its singular values brought to about
    1, scaled so that learning rates are of AdamW's size. Biases and layer
    normalizations are not decayed.

    References: Jordan et al. 2024, Muon: An optimizer for hidden layers in
    neural networks; Liu et al. 2025, Muon is Scalable for LLM Training,
    section 2.2 (the scale, and the decay), arXiv:2502.16982.

    Args:
        learning_rate: float or `keras.optimizers.schedules` schedule.
        weight_decay: decay per unit of learning rate.
        adam_lr_ratio: factor from the learning rate to AdamW's.
        **kwargs: further arguments of `keras.optimizers.Muon`.

    Departures from Keras's: the singular values are found in bfloat16, as in
    Jordan's code, and on TensorFlow AdamW's update is one fused operation.

    Example:

    >>> optimizer = kbert.training.optimizer.Muon(2e-3)
    >>> pretrainer.compile(optimizer)
    """

    def __init__(
        self,
        learning_rate=2e-3,
        weight_decay=0.01,
        adam_lr_ratio=0.5,
        epsilon=1e-6,
        global_clipnorm=1.0,
        exclude_layers=(NO_ENCODER_LAYER,),
        **kwargs,
    ):
        super().__init__(
            learning_rate,
            weight_decay=weight_decay,
            adam_lr_ratio=adam_lr_ratio,
            epsilon=epsilon,
            global_clipnorm=global_clipnorm,
            exclude_layers=list(exclude_layers),
            **({"adam_weight_decay": weight_decay} | kwargs),
        )
        self.exclude_from_weight_decay(var_names=NO_DECAY)

    def zeropower_via_newtonschulz5(self, x, steps):
        y = super().zeropower_via_newtonschulz5(ops.cast(x, "bfloat16"), steps)
        return ops.cast(y, x.dtype)

    def _adamw_update_step(self, gradient, variable, learning_rate, m, v):
        if keras.backend.backend() == "tensorflow":
            rate = ops.cast(learning_rate, variable.dtype)
            betas = self.adam_beta_1, self.adam_beta_2
            _fused_adam(self, gradient, variable, rate, (m, v), betas)
        else:
            super()._adamw_update_step(gradient, variable, learning_rate, m, v)


@keras.saving.register_keras_serializable("kbert")
class LossScaleOptimizer(keras.optimizers.LossScaleOptimizer):
    """Keras's loss scaling, which sees what is not finite in every row.

    The gradient of an embedding comes as slices. Keras lays them out by
    their indices to look at them, and of a token that a batch has twice it
    sees one: infinity in the other is taken for a step, and all is NaN.

    Reference: Micikevicius et al. 2018, Mixed Precision Training,
    section 3.2.

    Args:
        inner_optimizer: the optimizer that takes the unscaled gradients.
        **kwargs: further arguments of Keras's.

    Example:

    >>> optimizer = LossScaleOptimizer(AdamW(5e-5))
    >>> pretrainer.compile(optimizer)
    """

    def check_finite(self, grads):
        # `values` are those of `tf.IndexedSlices`.
        return super().check_finite([getattr(g, "values", g) for g in grads])


def scale_losses(
    optimizer: keras.optimizers.Optimizer, model: keras.Model
) -> keras.optimizers.Optimizer:
    """The optimizer, with loss scaling for a model that computes in float16.

    Keras asks the model's own policy, which need not be that of its layers.
    """
    scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    if scaled or not computes_in(model, "float16"):
        return optimizer
    return LossScaleOptimizer(optimizer)


@keras.saving.register_keras_serializable("kbert")
class Lamb(TrueNorm, SettableRate, keras.optimizers.Lamb):
    """Keras's LAMB, with BERT's no-decay groups.

    Reference: You et al. 2020, Large Batch Optimization for Deep Learning.

    Args:
        learning_rate: float or `keras.optimizers.schedules` schedule.
        **kwargs: further arguments of `keras.optimizers.Lamb`.

    Example:

    >>> optimizer = kbert.training.optimizer.Lamb(2e-3, weight_decay=0.01)
    """

    def __init__(
        self, learning_rate=2e-3, epsilon=1e-6, global_clipnorm=1.0, **kwargs
    ):
        super().__init__(
            learning_rate,
            epsilon=epsilon,
            global_clipnorm=global_clipnorm,
            **kwargs,
        )
        self.exclude_from_weight_decay(var_names=NO_DECAY)


def _fused_adam(optimizer, gradient, variable, rate, moments, betas):
    """One pass over memory in place of Keras's six."""
    import tensorflow as tf

    step = ops.cast(optimizer.iterations + 1, variable.dtype)
    (momentum, velocity), (beta_1, beta_2) = moments, betas
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=momentum.value.handle,
        v=velocity.value.handle,
        beta1_power=beta_1**step,
        beta2_power=beta_2**step,
        lr=rate,
        beta1=beta_1,
        beta2=beta_2,
        epsilon=optimizer.epsilon,
        # The gradient of an embedding comes as slices.
        grad=tf.cast(tf.convert_to_tensor(gradient), variable.dtype),
        use_locking=True,
    )


def _depth(path: str) -> int | None:
    """0 for embeddings, i + 1 for layer i, None for what is above them."""
    if re.search(r"(^|/)embeddings/", path):
        return 0
    found = re.search(ENCODER_LAYER, path)
    return int(found[2]) + 1 if found else None


@keras.saving.register_keras_serializable("kbert")
class WarmupLinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate that rises linearly to a peak and falls linearly to 0.

    Reference: Devlin et al. 2018, appendix A.2.

    Args:
        peak: the highest learning rate.
        total_steps: steps until the rate is 0.
        warmup_steps: steps until the rate is `peak`.

    Example:

    >>> schedule = WarmupLinearDecay(5e-5, total_steps=1000, warmup_steps=100)
    >>> round(float(schedule(100)), 6)
    5e-05
    """

    def __init__(self, peak, total_steps, warmup_steps=0):
        self.peak = peak
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps

    def __call__(self, step):
        step = ops.cast(step, "float32")
        # The first step counts as 1, or it would be lost at a rate of 0.
        up = (step + 1.0) / max(self.warmup_steps, 1)
        down = (self.total_steps - step) / max(
            self.total_steps - self.warmup_steps, 1
        )
        return self.peak * ops.clip(ops.minimum(up, down), 0.0, 1.0)

    def get_config(self):
        return {
            "peak": self.peak,
            "total_steps": self.total_steps,
            "warmup_steps": self.warmup_steps,
        }


def check_optimizer(name: str, value: Any) -> str:
    """The name of an optimizer.

    Raises:
        UnknownNameError: no such optimizer.
    """
    if value not in OPTIMIZERS:
        raise UnknownNameError(name, value, OPTIMIZERS)
    return value


def make_optimizer(
    name: str,
    learning_rate: float,
    steps: int,
    warmup: float = 0.1,
    weight_decay: float = 0.01,
    accumulate: int = 1,
    layer_decay: float = 1.0,
    callbacks: Iterable = (),
    used_rows: Iterable[int] | None = None,
) -> keras.optimizers.Optimizer:
    """An optimizer with warm-up, linear decay and BERT's no-decay groups.

    Args:
        name: `"adamw"`, `"lamb"` for large batches (You et al. 2020,
            Large Batch Optimization for Deep Learning), or `"muon"`, which
            pretrains in fewer steps.
        learning_rate: the highest rate.
        steps: batches until the rate is 0.
        warmup: part of them that the rate rises in.
        weight_decay: decay per unit of learning rate.
        accumulate: batches whose gradients make up one update.
        layer_decay: see `AdamW`, which alone has it.
        callbacks: those of the training. Where one sets the rate, that
            begins as `learning_rate` and is the callback's to change; for
            `SwapEMAWeights` an average of the weights is kept.
        used_rows: see `AdamW`, which alone has it.

    Raises:
        UnknownNameError: no such optimizer.
        ConfigError: a rate is not in its range.
    """
    check_optimizer("optimizer", name)
    for key, value in (
        ("learning_rate", learning_rate),
        ("warmup", warmup),
        ("weight_decay", weight_decay),
        ("layer_decay", layer_decay),
    ):
        RATES[key](key, value)
    schedule = float(learning_rate)
    if not sets_the_rate(callbacks):
        schedule = WarmupLinearDecay(
            learning_rate, steps, round(warmup * steps)
        )
    shared = {
        "weight_decay": weight_decay,
        "gradient_accumulation_steps": accumulate if accumulate > 1 else None,
        "use_ema": averages_weights(callbacks),
    }
    if name == "adamw":
        return AdamW(
            schedule, layer_decay=layer_decay, used_rows=used_rows, **shared
        )
    if name == "muon":
        return Muon(schedule, **shared)
    return Lamb(schedule, **shared)
