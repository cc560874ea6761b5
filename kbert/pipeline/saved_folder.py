"""The folder of a saved model: its files, and the heads that it needs."""

from __future__ import annotations

import json
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import keras
from packaging.utils import InvalidName
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion
from packaging.version import Version

from kbert.checkpoints import huggingface
from kbert.checkpoints.vocabularies import write_tokenizer
from kbert.errors import CheckpointError
from kbert.errors import ConfigError
from kbert.errors import PluginError
from kbert.errors import UnknownNameError
from kbert.errors import short
from kbert.formats.safetensors_form import WEIGHTS
from kbert.formats.safetensors_form import open_tensors
from kbert.formats.safetensors_form import write_tensors
from kbert.formats.tensors import Tensor
from kbert.formats.tensors import assign_tensors
from kbert.formats.tensors import build_backbone
from kbert.formats.tensors import check_tensors
from kbert.pipeline.saved_config import CONFIG
from kbert.pipeline.saved_config import FORMAT
from kbert.pipeline.saved_config import read_saved_config
from kbert.plugins import KNOWN_PLUGINS
from kbert.plugins import Registered
from kbert.plugins import get_plugins
from kbert.tokenizers.tokenizer import Tokenizer
from kbert.utils.atomic import SAVED
from kbert.utils.atomic import check_saved
from kbert.utils.atomic import new_folder
from kbert.utils.json_text import dumps
from kbert.utils.paths import as_path
from kbert.utils.untrusted import member
from kbert.utils.version import DISTRIBUTION
from kbert.utils.version import __version__

if TYPE_CHECKING:
    from kbert.heads.base import Head
    from kbert.models.backbone import Backbone

VOCABULARY = "vocab.txt"


def find_head(head: dict, path: Path) -> Registered:
    """What the registry says of the head in a configuration.

    Raises:
        PluginError: the head's plugin is not installed.
    """
    try:
        return get_plugins().heads.get(head["name"])
    except UnknownNameError as error:
        plugin, version = head["plugin"], head["version"]
        advice = (
            f"Install it if you trust who made the file: "
            f"pip install '{plugin}>={version}'."
        )
        if not _is_release(plugin, version):
            advice = "That is no name and version of a package."
        elif plugin == "kbert":
            advice = f"Install it: pip install '{DISTRIBUTION}>={version}'."
        elif plugin in KNOWN_PLUGINS.values():
            advice = (
                f"Install it, in a checkout of kbert: "
                f"pip install ./plugins/{plugin}."
            )
        raise PluginError(
            f"{path} needs the head {short(head['name'])}, "
            f"which is not installed. Its {CONFIG} says that it is of the "
            f"plugin {short(plugin)} {short(version)}. {advice}"
        ) from error


def _is_release(name: str, version: str) -> bool:
    """Whether a package can have this name (PEP 503) and version (PEP 440)."""
    try:
        canonicalize_name(name, validate=True)
        Version(version)
    except (InvalidName, InvalidVersion):
        return False
    return len(name) + len(version) < 100


def saved_model_class(path: str | Path) -> str:
    """Name of the `kbert` class that loads a saved model.

    Raises:
        CheckpointError: the folder is missing or none that kbert saved.
        PluginError: the head's plugin is not installed.
    """
    path = as_path(path)
    config = read_saved_config(path)
    if "tasks" in config:
        return "MultiTask"
    return find_head(config["head"], path).value.model_class


# === Write ===


def held_by_json(head: Head) -> dict[str, Any]:
    """What `get_config` of a head gives.

    Raises:
        ConfigError: an option is NaN or infinite, which JSON cannot hold.
    """
    config = head.get_config()
    for option, value in config.items():
        if dumps(value) != json.dumps(value):
            raise ConfigError(
                f"Expected options of the head {head.name!r} that are finite, "
                f"or they cannot be saved. Received: {option}="
                f"{short(value)}"
            )
    return config


def shared_config(backbone: Backbone, tokenizer: Tokenizer) -> dict[str, Any]:
    """What every kbert.json says, whatever the heads are."""
    return {
        "format": FORMAT,
        "kbert_version": __version__,
        "backbone": backbone.config,
        "tokenizer": tokenizer.get_config(),
    }


def save_model(
    path: str | Path,
    backbone: Backbone,
    tokenizer: Tokenizer,
    head_weights: Iterable[tuple[str, keras.Variable]],
    config: Mapping[str, Any],
    write_more: Callable[[Path], None] = lambda folder: None,
) -> None:
    """Write the folder of a model, whole or not at all.

    Args:
        path: the folder; a model saved there before gives way, and what
            else it holds stays.
        backbone: `kbert.Backbone`.
        tokenizer: `kbert.Tokenizer`.
        head_weights: the other weights, by name.
        config: what kbert.json holds.
        write_more: writes further files into the folder it is given.

    Raises:
        CheckpointError: the folder cannot be written, or holds something
            that kbert did not save.
    """
    check_saved(path)
    tensors = {
        f"bert.{name}": value
        for name, value in huggingface.backbone_tensors(backbone).items()
    }
    tensors |= {name: variable.numpy() for name, variable in head_weights}
    with new_folder(path, replace=True, ours=SAVED) as folder:
        write_tensors(tensors, folder / WEIGHTS)
        huggingface.write_config(backbone, folder)
        write_tokenizer(tokenizer, folder)
        write_json(config, folder / CONFIG)
        write_more(folder)


# === Read ===


@dataclass(frozen=True)
class SavedFolder:
    """The folder of a saved model, opened.

    Attributes:
        path: the folder.
        config: what kbert.json holds.
        tensors: the weights, which are not read yet, by name.
    """

    path: Path
    config: dict[str, Any]
    tensors: dict[str, Tensor]

    @classmethod
    def open(cls, path: str | Path) -> SavedFolder:
        """Read the configuration and the header of the weights.

        Raises:
            CheckpointError: the folder is missing, incomplete or corrupt.
        """
        path = as_path(path)
        config = read_saved_config(path)
        return cls(path, config, open_tensors(member(path, WEIGHTS)))

    def backbone(self) -> Backbone:
        """The backbone with its weights."""
        return build_backbone(
            self.config["backbone"],
            huggingface.canonical_tensors(self.tensors),
            self.path / WEIGHTS,
        )

    def tokenizer(self) -> Tokenizer:
        """The tokenizer with its vocabulary."""
        with self.refusals():
            return Tokenizer.from_file(
                member(self.path, VOCABULARY), **self.config["tokenizer"]
            )

    def check(self, named: Iterable[tuple[str, keras.Variable]]) -> None:
        """Compare weights of heads with the file, before they take memory.

        Raises:
            CheckpointError: names every tensor that is missing or has another
                shape.
        """
        check_tensors(
            ((name, variable, False) for name, variable in named),
            self.tensors,
            self.path / WEIGHTS,
        )

    def assign(self, named: Iterable[tuple[str, keras.Variable]]) -> None:
        """Set the weights of heads, by name."""
        assign_tensors(
            ((name, variable, False) for name, variable in named),
            self.tensors,
            self.path / WEIGHTS,
        )

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """A head or a tokenizer refuses what it is given in its own way."""
        try:
            yield
        except (LookupError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"Expected a configuration as kbert {__version__} "
                f"writes it in {self.path / CONFIG}. Received: one where "
                f"{error!r} is wrong."
            ) from error


@contextmanager
def weights_later() -> Iterator[None]:
    """Weights that are made in here have shapes, and values at the end.

    A configuration can ask for a head of any size. If the block raises, its
    weights never take memory.
    """
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    except BaseException:
        # Or the next scope that ends would make them; Keras has no public way.
        from keras.src.backend.common import global_state

        global_state.set_global_attribute("uninitialized_variables", [])
        raise
    with keras.StatelessScope():
        pass  # At its end Keras makes all that are still to be made.


def write_json(value: Any, path: Path) -> None:
    """Write a JSON file that people can read."""
    text = dumps(value, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
