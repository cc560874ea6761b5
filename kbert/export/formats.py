"""The formats of `TextModel.export`."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import TYPE_CHECKING

from kbert.utils.checks import check_choice
from kbert.utils.checks import check_options

if TYPE_CHECKING:
    from kbert.pipeline.text_model import TextModel

# Imported when asked for: each needs libraries of its own.
_WRITERS = {
    "savedmodel": ("kbert.export.saved_model", "export"),
    "int8": ("kbert.export.int8", "export_int8"),
    "onnx": ("kbert.export.portable", "export_onnx"),
    "litert": ("kbert.export.portable", "export_litert"),
}


def export(task: TextModel, path: Path, format: str, **options) -> Path:
    """Write what serves a model.

    Args:
        task: a task that has a model.
        path: the folder to write; for `"savedmodel"` the one that holds the
            versions.
        format: `"savedmodel"`, TensorFlow from raw strings to answers, see
            `kbert.export.saved_model.export`; `"int8"`, for a CPU and
            `kbert.OnnxModel`, see `kbert.export.int8.export_int8`; `"onnx"`
            or `"litert"`, from token ids, see `kbert.export.portable`.
        **options: of the format.

    Returns:
        The path that was written.

    Raises:
        ConfigError: there is no such format.
        ExportError: the format cannot hold the model.
        CheckpointError: the folder cannot be written.

    Example:

    >>> clf.export("exports/spam", format="int8")
    """
    module, name = _WRITERS[check_choice("format", format, _WRITERS)]
    write = getattr(importlib.import_module(module), name)
    known = [*inspect.signature(write).parameters][2:]
    check_options(f"`export(format={format!r})`", options, ("format", *known))
    return write(task, path, **options) or path
