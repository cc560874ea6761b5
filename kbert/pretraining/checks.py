"""Checks of arguments, before anything is read or built.

They raise `ConfigError`, or `UnknownNameError` for a name.
"""

from __future__ import annotations

from kbert.checkpoints.loading import RANDOM
from kbert.errors import ConfigError
from kbert.errors import UnknownNameError
from kbert.pretraining.first_weights import CORPUS
from kbert.pretraining.first_weights import FIRST_WEIGHTS
from kbert.pretraining.heads import OBJECTIVES
from kbert.training.optimizer import check_rates


def check_pretrainer(
    *,
    preset: str,
    objectives: dict[str, float],
    mask_rate: float,
    whole_words: bool,
    dropout: float | None,
    first_weights: str,
) -> None:
    """Of the arguments of `Pretrainer`."""
    for name, weight in objectives.items():
        if name not in OBJECTIVES:
            raise UnknownNameError("objective", name, OBJECTIVES)
        if not (isinstance(weight, int | float) and weight > 0):
            raise ConfigError(
                f"Weights of `objectives` must be above 0. Received: "
                f"{name}={weight!r}. Leave out what is not wanted."
            )
    if not objectives:
        raise ConfigError(
            f"`objectives` must name one or more of {', '.join(OBJECTIVES)}. "
            "Received: none."
        )
    if not 0 < mask_rate < 1:
        raise ConfigError(
            f"`mask_rate` must be a fraction above 0. Received: "
            f"mask_rate={mask_rate!r}"
        )
    if whole_words and "mlm" not in objectives:
        raise ConfigError(
            "`whole_words` is about the objective 'mlm'. Received: "
            f"whole_words=True with {', '.join(objectives)}."
        )
    if dropout is not None and not (
        isinstance(dropout, int | float) and 0 <= dropout < 1
    ):
        raise ConfigError(
            "`dropout` must be at least 0 and below 1, or None for the "
            f"backbone's own. Received: dropout={dropout!r}"
        )
    if first_weights not in FIRST_WEIGHTS:
        raise UnknownNameError("first weights", first_weights, FIRST_WEIGHTS)
    if first_weights == CORPUS and not preset.startswith(RANDOM):
        raise ConfigError(
            f"`first_weights={CORPUS!r}` is for a new backbone, 'random:SIZE'. "
            f"Received: the preset {preset!r}, whose weights it would replace."
        )


def check_fit(
    *,
    steps: int,
    batch_size: int,
    accumulate: int,
    save_every: int,
    optimizer: str,
    **rates: float,
) -> None:
    """Of the arguments of `Pretrainer.fit`; `rates` are for
    `kbert.training.optimizer.check_rates`."""
    for name, value in (
        ("steps", steps),
        ("batch_size", batch_size),
        ("accumulate", accumulate),
        ("save_every", save_every),
    ):
        if type(value) is not int or value < 1:
            raise ConfigError(
                f"`{name}` must be a positive integer. Received: "
                f"{name}={value!r}"
            )
    if save_every > steps:
        raise ConfigError(
            f"`save_every` must be no more than `steps`, or nothing is saved "
            f"on the way. Received: save_every={save_every}, steps={steps}"
        )
    if batch_size % accumulate:
        raise ConfigError(
            "`batch_size` must be a multiple of `accumulate`. Received: "
            f"batch_size={batch_size}, accumulate={accumulate}"
        )
    check_rates(optimizer, **rates)
