"""A checkpoint of any known form, opened."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from kbert.backbone import SIZES
from kbert.backbone import Backbone
from kbert.checkpoints import huggingface
from kbert.checkpoints.presets import DEFAULT_PRESET
from kbert.checkpoints.presets import resolve
from kbert.errors import CheckpointError
from kbert.errors import ConfigError
from kbert.errors import UnknownNameError
from kbert.tokenizer import SPECIAL_TOKENS
from kbert.tokenizer import Tokenizer

RANDOM = "random:"


@dataclass(frozen=True)
class Checkpoint:
    """A tokenizer, a backbone's arguments, and where its weights are.

    Attributes:
        tokenizer: `kbert.Tokenizer`.
        config: arguments of `kbert.Backbone`.
        folder: where model.safetensors is; None for random weights.
    """

    tokenizer: Tokenizer
    config: dict
    folder: Path | None

    def build(self, **overrides) -> Backbone:
        """The backbone with its weights.

        Args:
            **overrides: arguments of `kbert.Backbone` to replace, such as
                `dropout` or `output_attentions`.
        """
        backbone = Backbone(**(self.config | overrides))
        if self.folder is not None:
            path = self.folder / "model.safetensors"
            huggingface.assign_backbone(
                backbone, huggingface.read_tensors(path), path
            )
        return backbone


def open_checkpoint(
    preset: str | os.PathLike = DEFAULT_PRESET,
    vocabulary: str | os.PathLike | None = None,
    lowercase: bool = True,
) -> Checkpoint:
    """Open a preset, a folder in Hugging Face form, or a random backbone.

    Args:
        preset: a preset's name; a folder with config.json,
            model.safetensors and vocab.txt; or `"random:SIZE"` for random
            weights, with a size of `Backbone.from_size`.
        vocabulary: vocab.txt of a random backbone; without it the tokens are
            single ASCII characters.
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
    tokenizer = Tokenizer.from_file(folder / "vocab.txt")
    if not _is_lowercase(folder, tokenizer):
        tokenizer = Tokenizer(tokenizer.vocabulary, lowercase=False)
    if tokenizer.vocabulary_size > config["vocabulary_size"]:
        raise CheckpointError(
            f"Expected at most {config['vocabulary_size']} tokens, the "
            f"embeddings in {folder}. Received: {tokenizer.vocabulary_size} "
            f"in vocab.txt. The files belong to different models."
        )
    return Checkpoint(tokenizer, config, folder)


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
    if size not in SIZES:
        raise UnknownNameError("size of a random preset", size, SIZES)
    if vocabulary is None:
        characters = [chr(code) for code in range(33, 127)]
        characters = [c for c in characters if not (lowercase and c.isupper())]
        pieces = [f"##{c}" for c in characters if c.isalnum()]
        tokenizer = Tokenizer(
            [*SPECIAL_TOKENS, *characters, *pieces], lowercase=lowercase
        )
    else:
        tokenizer = Tokenizer.from_file(vocabulary, lowercase=lowercase)
    config = Backbone.size_config(size)
    config["vocabulary_size"] = tokenizer.vocabulary_size
    return Checkpoint(tokenizer, config, None)


def _is_lowercase(folder: Path, tokenizer: Tokenizer) -> bool:
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
        for token in tokenizer.vocabulary
        if token not in SPECIAL_TOKENS and not token.startswith("[unused")
    )
