"""A model in one form, written in another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kbert.classifier import Classifier
from kbert.errors import ConfigError
from kbert.export import huggingface
from kbert.export import int8
from kbert.export import kerashub
from kbert.export import portable
from kbert.loading import load
from kbert.multitask import MultiTask
from kbert.pipeline.saved_config import CONFIG
from kbert.utils.checks import check_choice
from kbert.utils.paths import as_path
from kbert.utils.scratch import check_room

FORMS = ("huggingface", "kerashub", "savedmodel", "onnx", "litert", "int8")

# What a checkpoint without a head can become.
_WITHOUT_HEAD = ("huggingface", "kerashub")


def convert(
    source: str | Path,
    target: str | Path,
    to: str,
    replace: bool = False,
    **options: Any,
) -> Path:
    """Write a saved model or a checkpoint in another form.

    Args:
        source: a folder that `Classifier.save` wrote, or what
            `Classifier(preset=...)` takes.
        target: the folder to write; for `"savedmodel"` the one that holds
            the versions.
        to: one of `FORMS`.
        replace: whether an existing folder gives way, if it holds no more
            than the new one.
        **options: of the form, such as `approximate_gelu`.

    Returns:
        The path that was written.

    Raises:
        ConfigError: the form is unknown, or needs a head and there is none.
        ExportError: the form cannot hold the model.
        CheckpointError: the source cannot be read or the target not written.

    Example:

    >>> convert("saved_models/spam", "exports/spam", "onnx")
    PosixPath('exports/spam')
    """
    check_choice("to", to, FORMS)
    target = as_path(target)
    check_room(target.parent)
    saved = as_path(source).expanduser()
    if (saved / CONFIG).is_file():
        task = load(saved)
        if isinstance(task, MultiTask) and to != "savedmodel":
            raise ConfigError(
                f"Expected a model of one task for to={to!r}. Received: "
                f"{source}, one of {', '.join(task)}. Save one of them by "
                f"itself first: kbert.load(...)[{next(iter(task))!r}].save()"
            )
    elif to in _WITHOUT_HEAD:
        # The head stays unbuilt, as its labels are not known.
        task = Classifier(source, max_length=3)
        task.max_length = task.backbone.config["max_sequence_length"]
    else:
        raise ConfigError(
            f"Expected a model that kbert saved, with a head, for to={to!r}. "
            f"Received: {source}, a checkpoint without one. Train it first, "
            f"or write it as {' or '.join(_WITHOUT_HEAD)}."
        )
    if to == "savedmodel":
        return task.export(target)
    if to == "huggingface" and task.model is None:
        huggingface.save_backbone(
            task.backbone, target, task.tokenizer, replace
        )
        return target
    write = {
        "huggingface": huggingface.save_task,
        "kerashub": kerashub.save_task,
        "onnx": portable.export_onnx,
        "litert": portable.export_litert,
        "int8": int8.export_int8,
    }[to]
    write(task, target, replace, **options)
    return target
