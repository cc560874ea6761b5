"""Whether a backbone's tables have a row for every id that a task gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kbert.errors import ConfigError
from kbert.tokenizers.casing import CASINGS
from kbert.tokenizers.casing import TEXTS
from kbert.utils.checks import check_integer


def check_tables(
    config: Mapping[str, Any],
    *,
    tokens: int,
    texts: int,
    length: int,
    casing: bool = False,
    name: str = "max_length",
    least: int = 3,
) -> int:
    """Refuse ids that a table lacks, before anything is looked up.

    A backend answers them with NaN, zeros or an error of its own.

    Args:
        config: arguments of the `kbert.Backbone`.
        tokens: tokens of the vocabulary.
        texts: texts in a row, each with a segment id.
        length: tokens in a row, each with a position.
        casing: whether segment ids say how words are written, too.
        name: what the user calls `length`.
        least: the least `length`.

    Returns:
        The length, as an `int`.

    Raises:
        ConfigError: says which table is too small.
    """
    length = check_integer(
        name,
        length,
        *(least, config["max_sequence_length"]),
        why=", the backbone's number of positions",
    )
    if tokens > config["vocabulary_size"]:
        raise ConfigError(
            f"Expected at most {config['vocabulary_size']} tokens, as many "
            f"as the backbone has embeddings of. Received: a vocabulary of "
            f"{tokens}. The files belong to different models, or tokens were "
            f"added to one of them only."
        )
    segments = config["num_segments"]
    if casing and segments < TEXTS * CASINGS:
        raise ConfigError(
            f"Expected a backbone of {TEXTS * CASINGS} segment ids for a "
            f"tokenizer with casing=True. Received: num_segments={segments}. "
            f"Pass casing=True to what opens the checkpoint."
        )
    if segments < texts:
        raise ConfigError(
            f"Expected a backbone with a segment id for each of {texts} texts "
            f"in a row. Received: one with num_segments={segments} "
            f"(type_vocab_size in its files). Give one text a row, or use "
            f"another preset."
        )
    return length
