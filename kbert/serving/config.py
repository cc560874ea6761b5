"""Which models a server has: a folder, or TF Serving's model config file.

Reference: tensorflow_serving/config/model_server_config.proto and
tensorflow_serving/sources/storage_path/file_system_storage_path_source.cc.
"""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from kbert.errors import ConfigError
from kbert.exported.versions import version_folders

if TYPE_CHECKING:
    from tensorflow_serving.config.model_server_config_pb2 import (
        ModelServerConfig,
    )


@dataclass(frozen=True)
class ModelConfig:
    """A model and which of its versions are served.

    Attributes:
        name: what requests call it.
        base_path: folder with a subfolder for each version, its number.
        latest: how many of the newest versions; None for all.
        specific: these versions instead, if any.
        labels: dict of labels to versions.
    """

    name: str
    base_path: Path
    latest: int | None = 1
    specific: tuple[int, ...] = ()
    labels: dict[str, int] = field(default_factory=dict)

    def versions(self) -> dict[int, Path]:
        """The versions to serve that are there now, oldest first.

        Raises:
            OSError: the folder cannot be listed, which does not say that it
                is empty.
        """
        found = version_folders(self.base_path)
        numbers = [*found]
        if self.specific:
            numbers = [number for number in numbers if number in self.specific]
        elif self.latest is not None:
            numbers = numbers[-self.latest :]
        return {number: found[number] for number in numbers}


def from_folder(path: str | Path, name: str | None = None) -> ModelConfig:
    """The model of a base folder.

    Args:
        path: folder that holds numbered versions, as `export` writes it.
        name: by default the folder's.

    Raises:
        ConfigError: there is no version in it.
    """
    path = Path(path).absolute()
    model = ModelConfig(name or path.name, path)
    try:
        there = model.versions()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"Expected a folder that holds versions of a SavedModel. "
            f"Received: {path!s:.200}, which cannot be listed: {error}."
        ) from error
    if not there:
        hint = ""
        if (path / "saved_model.pb").is_file():
            hint = f" That is a version itself; give {path.parent}."
        raise ConfigError(
            f"Expected a folder that holds versions of a SavedModel, such as "
            f"{path}/1. Received: {path}, without one.{hint} Write one with "
            f"`kbert export`."
        )
    return model


def from_file(path: str | Path) -> list[ModelConfig]:
    """The models of a model config file, `ModelServerConfig` as text.

    Raises:
        ConfigError: the file cannot be read, or says something impossible.
    """
    from google.protobuf import text_format
    from tensorflow_serving.config.model_server_config_pb2 import (
        ModelServerConfig,
    )

    try:
        text = Path(path).read_text(encoding="utf-8")
        config = text_format.Parse(text, ModelServerConfig())
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise ConfigError(
            f"Expected a model config file, such as `model_config_list {{ "
            f'config {{ name: "spam" base_path: "/models/spam" '
            f'model_platform: "tensorflow" }} }}`. Received: {path}: {error}.'
        ) from error
    return from_proto(config)


def from_proto(config: ModelServerConfig) -> list[ModelConfig]:
    """The models of a `ModelServerConfig`.

    Raises:
        ConfigError: it says something impossible.
    """
    if config.WhichOneof("config") != "model_config_list":
        raise ConfigError(
            "ServerModelConfig type not supported. Only ModelConfigList is "
            "currently supported"
        )
    models = [_model(entry) for entry in config.model_config_list.config]
    names = [model.name for model in models]
    if len(set(names)) < len(names):
        raise ConfigError(f"Model names must differ. Received: {names}")
    return models


def _model(entry: Any) -> ModelConfig:
    if not entry.name:
        raise ConfigError("Every model needs a name. Received: one without.")
    if entry.model_platform != "tensorflow":
        raise ConfigError(
            f"Expected model_platform 'tensorflow' for model {entry.name!r}. "
            f"Received: {entry.model_platform!r}"
        )
    if not Path(entry.base_path).is_absolute():
        raise ConfigError(
            f"Expected model {entry.name!r} to have an absolute path for "
            f"base_path. Received: {entry.base_path!r}"
        )
    if "\0" in entry.base_path:
        raise ConfigError(
            f"Expected model {entry.name!r} to have a base_path without NUL. "
            f"Received: {entry.base_path!r}"
        )
    policy = entry.model_version_policy
    kind = policy.WhichOneof("policy_choice")
    latest: int | None = 1
    if kind == "all":
        latest = None
    elif kind == "latest":
        latest = policy.latest.num_versions or 1
    return ModelConfig(
        entry.name,
        Path(entry.base_path),
        latest,
        tuple(policy.specific.versions) if kind == "specific" else (),
        dict(entry.version_labels),
    )
