"""A checkpoint of any known form, opened."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kbert.backbone import SIZES
from kbert.backbone import Backbone
from kbert.checkpoints import huggingface
from kbert.checkpoints.presets import DEFAULT_PRESET
from kbert.checkpoints.presets import resolve
from kbert.errors import CheckpointError
from kbert.errors import ConfigError
from kbert.errors import UnknownNameError
from kbert.vocabulary import SPECIAL_TOKENS
from kbert.vocabulary import read_vocabulary

if TYPE_CHECKING:
    from kbert.tokenizer import Tokenizer

RANDOM = "random:"
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """A vocabulary, a backbone's arguments, and where its weights are.

    Attributes:
        vocabulary: sequence of `str`.
        lowercase: whether it is uncased.
        config: arguments of `kbert.Backbone`.
        folder: where model.safetensors is; None for random weights.
    """

    vocabulary: Sequence[str]
    lowercase: bool
    config: dict
    folder: Path | None

    @property
    def tokenizer(self) -> Tokenizer:
        """A new `kbert.Tokenizer`; it takes TensorFlow."""
        from kbert.tokenizer import Tokenizer

        return Tokenizer(self.vocabulary, lowercase=self.lowercase)

    def tensors(self) -> dict[str, np.ndarray]:
        """What model.safetensors holds; nothing for random weights."""
        if self.folder is None:
            return {}
        return huggingface.read_tensors(self.folder / WEIGHTS)

    def build(self, **overrides) -> Backbone:
        """The backbone with its weights.

        Args:
            **overrides: arguments of `kbert.Backbone` to replace, such as
                `dropout` or `output_attentions`.
        """
        backbone = Backbone(**(self.config | overrides))
        if self.folder is not None:
            huggingface.assign_backbone(
                backbone, self.tensors(), self.folder / WEIGHTS
            )
        return backbone


def open_checkpoint(
    preset: str | os.PathLike = DEFAULT_PRESET,
    vocabulary: str | os.PathLike | Sequence[str] | None = None,
    lowercase: bool = True,
) -> Checkpoint:
    """Open a preset, a folder in Hugging Face form, or a random backbone.

    Args:
        preset: a preset's name; a folder with config.json,
            model.safetensors and vocab.txt; or `"random:SIZE"` for random
            weights, with a size of `Backbone.from_size` or such as
            `"random:2x128"`, layers by hidden size.
        vocabulary: of a random backbone, its vocab.txt or its tokens; without
            it the tokens are single ASCII characters.
        lowercase: whether that vocabulary is uncased.

    Raises:
        UnknownNameError: nothing is registered under the name.
        CheckpointError: the folder's files are missing, corrupt, or do not
            fit each other.
        ConfigError: a vocabulary is given for a preset that has its own.
    """
    name = os.fspath(preset)
    if name.startswith(RANDOM):
        return _random(name.removeprefix(RANDOM), vocabulary, lowercase)
    if vocabulary is not None:
        raise ConfigError(
            f"`vocabulary` goes with preset='{RANDOM}SIZE' only. Received: "
            f"preset={name!r}, which has its own."
        )
    folder = resolve(preset)
    config = huggingface.read_config(folder)
    tokens = read_vocabulary(folder / "vocab.txt")
    if len(tokens) > config["vocabulary_size"]:
        raise CheckpointError(
            f"Expected at most {config['vocabulary_size']} tokens, the "
            f"embeddings in {folder}. Received: {len(tokens)} in vocab.txt. "
            f"The files belong to different models."
        )
    return Checkpoint(tokens, _is_lowercase(folder, tokens), config, folder)


def load_backbone(
    preset: str | os.PathLike = DEFAULT_PRESET, **overrides
) -> Backbone:
    """The backbone of a preset or a folder, with its weights.

    Args:
        preset: see `kbert.checkpoints.loading.open_checkpoint`.
        **overrides: arguments of `kbert.Backbone` to replace.

    Example:

    >>> backbone = kbert.load_backbone(output_attentions=True)
    """
    return open_checkpoint(preset).build(**overrides)


def _random(size, vocabulary, lowercase) -> Checkpoint:
    if vocabulary is None:
        characters = [chr(code) for code in range(33, 127)]
        characters = [c for c in characters if not (lowercase and c.isupper())]
        pieces = [f"##{c}" for c in characters if c.isalnum()]
        tokens = [*SPECIAL_TOKENS, *characters, *pieces]
    elif isinstance(vocabulary, str | os.PathLike):
        tokens = read_vocabulary(vocabulary)
    else:
        tokens = vocabulary
    config = _size(size) | {"vocabulary_size": len(tokens)}
    return Checkpoint(tokens, lowercase, config, None)


def _size(size: str) -> dict:
    if found := re.fullmatch(r"(\d+)x(\d+)", size):
        return Backbone.size_config(tuple(map(int, found.groups())))
    if size not in SIZES:
        raise UnknownNameError("size of a random preset", size, SIZES)
    return Backbone.size_config(size)


def _is_lowercase(folder: Path, vocabulary: Sequence[str]) -> bool:
    """As tokenizer_config.json says, else as the vocabulary looks."""
    path = folder / "tokenizer_config.json"
    if path.is_file():
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
            if "do_lower_case" in config:
                return bool(config["do_lower_case"])
        except (ValueError, TypeError) as error:
            raise CheckpointError(
                f"Expected a JSON object in {path}. Received: {error}."
            ) from error
    return not any(
        token.isascii() and token != token.lower()
        for token in vocabulary
        if token not in SPECIAL_TOKENS and not token.startswith("[unused")
    )
