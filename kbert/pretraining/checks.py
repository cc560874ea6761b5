"""Checks of arguments, before anything is read or built.

They raise `ConfigError`, or `UnknownNameError` for a name.
"""

from __future__ import annotations

from collections.abc import Mapping

from kbert.checkpoints.loading import RANDOM
from kbert.errors import ConfigError
from kbert.errors import UnknownNameError
from kbert.errors import short
from kbert.models.precision import POLICIES
from kbert.pretraining.first_weights import CORPUS
from kbert.pretraining.first_weights import FIRST_WEIGHTS
from kbert.pretraining.heads import OBJECTIVES
from kbert.utils.checks import check_choice
from kbert.utils.checks import check_flag
from kbert.utils.checks import check_integer
from kbert.utils.checks import check_number
from kbert.utils.checks import check_seed


def check_pretrainer(
    *,
    preset: str,
    objectives: dict[str, float],
    mask_rate: float,
    whole_words: bool,
    dropout: float | None,
    first_weights: str,
    sequence_length: int,
    policy: str | None,
    seed: int,
) -> None:
    """Of the arguments of `Pretrainer`."""
    if not isinstance(objectives, Mapping):
        raise ConfigError(
            f"`objectives` must be a dict of names to weights, such as "
            f"{{'mlm': 1.0}}. Received: objectives={short(objectives)}"
        )
    for name, weight in objectives.items():
        if name not in OBJECTIVES:
            raise UnknownNameError("objective", name, OBJECTIVES)
        check_number(f"objectives[{name!r}]", weight, above=0)
    if not objectives:
        raise ConfigError(
            f"`objectives` must name one or more of {', '.join(OBJECTIVES)}. "
            "Received: none."
        )
    check_seed("seed", seed)
    check_integer("sequence_length", sequence_length, 8)
    if policy is not None:
        check_choice("policy", getattr(policy, "name", policy), POLICIES)
    check_number("mask_rate", mask_rate, above=0, below=1)
    check_flag("whole_words", whole_words)
    if whole_words and "mlm" not in objectives:
        raise ConfigError(
            "`whole_words` is about the objective 'mlm'. Received: "
            f"whole_words=True with {', '.join(objectives)}."
        )
    if dropout is not None:
        why = ", or None for the backbone's own"
        check_number("dropout", dropout, 0, below=1, why=why)
    if first_weights not in FIRST_WEIGHTS:
        raise UnknownNameError("first weights", first_weights, FIRST_WEIGHTS)
    if first_weights == CORPUS and not preset.startswith(RANDOM):
        raise ConfigError(
            f"`first_weights={CORPUS!r}` is for a new backbone, 'random:SIZE'. "
            f"Received: the preset {preset!r}, whose weights it would replace."
        )
