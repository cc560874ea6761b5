"""Recipes: TOML files that say how a model is pretrained, from raw text on."""

from __future__ import annotations

import inspect
import tomllib
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

from kbert.data.encodings import check_encoding
from kbert.data.lines import decode
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.errors import UnknownNameError
from kbert.errors import short
from kbert.models.precision import TRAINED
from kbert.pretrainer import DEFAULT_OBJECTIVES
from kbert.pretrainer import SAVED_DTYPES
from kbert.pretrainer import Pretrainer
from kbert.pretraining.checks import check_pretrainer
from kbert.pretraining.settings import PretrainingSettings
from kbert.utils.checks import check_choice
from kbert.utils.paths import as_path


def _keywords(function) -> tuple[str, ...]:
    parameters = inspect.signature(function).parameters
    return tuple(name for name in parameters if name != "self")


# What each table may hold: arguments of the functions that do the work.
TABLES = {
    "text": (
        *("train", "validation", "format", "text_key", "encoding"),
        "segmenter",
    ),
    "vocabulary": ("file", "size", "lowercase"),
    "model": tuple(n for n in _keywords(Pretrainer) if n != "corpus"),
    "training": tuple(
        n
        for n in _keywords(Pretrainer.fit)
        if n not in ("run_dir", "validation", "callbacks", "verbose")
    ),
    "output": ("path", "dtype"),
}


@dataclass(frozen=True)
class Recipe:
    """What a recipe's tables hold, checked.

    Attributes:
        text: `train` and `validation`, lists of files, folders and globs,
            and how to read them; see `kbert.build_corpus`.
        vocabulary: `size` and `lowercase` of `kbert.train_vocabulary`, or
            `file`, a vocab.txt.
        model: arguments of `kbert.Pretrainer`.
        training: arguments of `Pretrainer.fit`.
        output: `path` and `dtype` of `Pretrainer.save`.
    """

    text: dict[str, Any]
    model: dict[str, Any]
    training: dict[str, Any]
    vocabulary: dict[str, Any] = field(default_factory=dict)
    output: dict[str, Any] = field(default_factory=dict)


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe and check its keys.

    Raises:
        InputError: the file is missing or not TOML.
        UnknownNameError: a table or a key is unknown; names the nearest.
        ConfigError: something is missing, or two keys contradict each other.

    Example:

    >>> recipe = read_recipe("recipes/kbert_tiny_en.toml")
    >>> recipe.training["steps"]
    """
    try:
        tables = tomllib.loads(
            decode(as_path(path).read_bytes(), path, fixed=True)
        )
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(
            f"Expected a recipe in TOML. Received: {path}: {error}."
        ) from error
    for name, table in tables.items():
        if name not in TABLES:
            raise UnknownNameError(f"table in {path}:", name, TABLES)
        if not isinstance(table, dict):
            raise ConfigError(
                f"Expected a table [{name}] in {path}. Received: "
                f"{name} = {table!r}."
            )
        for key in table:
            if key not in TABLES[name]:
                raise UnknownNameError(
                    f"key in [{name}] of {path}:", key, TABLES[name]
                )
    _require(path, tables, "text", "train")
    _require(path, tables, "training", "steps")
    tables.setdefault("model", {})
    _check_kinds(path, tables)
    _check_vocabulary(path, tables)
    _check_needs(path, tables)
    _check_arguments(path, tables)
    return Recipe(**tables)


def _require(path, tables, table, key):
    if key not in tables.get(table, {}):
        raise ConfigError(
            f"Expected `{key}` in [{table}] of {path}. Received: "
            f"{', '.join(tables.get(table, {})) or 'nothing'} there."
        )


def _check_kinds(path, tables):
    """Names are strings, and files a list of them."""
    for part in ("train", "validation"):
        files = tables["text"].get(part, ["a"])
        if not (
            isinstance(files, list)
            and files
            and all(isinstance(name, str) and name for name in files)
        ):
            raise ConfigError(
                f'Expected a list such as ["wiki/*.txt"] as `{part}` in '
                f"[text] of {path}. Received: {short(files)}."
            )
    preset = tables["model"].get("preset", "random:mini")
    if not isinstance(preset, str):
        raise ConfigError(
            f"Expected a name as `preset` in [model] of {path}. Received: "
            f"{short(preset)}."
        )


def _check_vocabulary(path, tables):
    """One source of the vocabulary: a preset, a file, or training one."""
    vocabulary = tables.get("vocabulary", {})
    fresh = tables["model"].get("preset", "random:").startswith("random:")
    sources = [key for key in ("file", "size") if key in vocabulary]
    if fresh and len(sources) != 1:
        raise ConfigError(
            f"Expected one of `file` and `size` in [vocabulary] of {path}. "
            f"Received: {' and '.join(sources) or 'neither'}. A random "
            f"preset takes its vocabulary from a file, or one is trained."
        )
    if not fresh and vocabulary:
        raise ConfigError(
            f"Expected no [vocabulary] in {path}: the preset "
            f"{tables['model']['preset']!r} has its own. Received: "
            f"{', '.join(vocabulary)}. Remove one of the two."
        )


# A key that says nothing unless another is there: table, key, the other one.
NEEDS = (
    ("training", "validation_steps", ("text", "validation")),
    ("training", "early_stopping", ("text", "validation")),
    ("output", "dtype", ("output", "path")),
    ("text", "segmenter", ("model", "whole_words")),
)


def _check_needs(path, tables):
    for table, key, (other, needed) in NEEDS:
        if key in tables.get(table, {}) and not tables.get(other, {}).get(
            needed
        ):
            raise ConfigError(
                f"Expected `{needed}` in [{other}] of {path}, since `{key}` "
                f"in [{table}] is about it. Received: {key} = "
                f"{tables[table][key]!r} alone. Add the one or remove the "
                f"other."
            )


# Of [model], what `check_pretrainer` takes as it is.
CHECKED_MODEL = (
    *("preset", "mask_rate", "whole_words"),
    *("dropout", "first_weights", "sequence_length", "policy", "seed"),
)


def _check_arguments(path, tables):
    """What would be found out after hours of making a corpus."""
    model = _with_defaults(Pretrainer, tables["model"])
    objectives = tables["model"].get("objectives", DEFAULT_OBJECTIVES)
    try:
        check_encoding(tables["text"].get("encoding"))
        check_pretrainer(
            objectives=objectives, **{key: model[key] for key in CHECKED_MODEL}
        )
        output = _with_defaults(Pretrainer.save, tables.get("output", {}))
        check_choice("dtype", output["dtype"], SAVED_DTYPES)
        PretrainingSettings(**tables["training"])
        if model["policy"] is not None:
            check_choice("policy", model["policy"], TRAINED)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    except UnknownNameError as error:
        kind = f"{error.kind} in {path}:"
        raise UnknownNameError(kind, error.name, error.known) from error


def _with_defaults(function, table):
    parameters = inspect.signature(function).parameters.items()
    return {name: p.default for name, p in parameters} | table
