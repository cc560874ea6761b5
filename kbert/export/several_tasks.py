"""Export of several tasks: one SavedModel with a signature for each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import keras

from kbert.errors import ConfigError
from kbert.errors import UnknownNameError
from kbert.errors import short
from kbert.export.checks import check_finite_weights
from kbert.export.saved_model import export_elsewhere
from kbert.export.saved_model import make_answer
from kbert.export.saved_model import make_signatures
from kbert.export.saved_model import new_version
from kbert.export.saved_model import trace
from kbert.export.saved_model import usual_requests
from kbert.export.saved_model import write_version
from kbert.exported.check_ops import check_release
from kbert.exported.names import DEFAULT_SIGNATURE
from kbert.exported.warmup import EXPLAIN
from kbert.exported.warmup import Requests
from kbert.exported.warmup import check_requests

if TYPE_CHECKING:
    from kbert.pipeline.multi_model import MultiModel


def export_tasks(
    multi: MultiModel,
    path: Path,
    *,
    default: str | None = None,
    version: int | None = None,
    check_ops: str | None = None,
    warmup: Mapping[str, Requests] | None = None,
) -> Path:
    """Write a SavedModel into a numbered folder, whole or not at all.

    The weights of the backbone are in it once, and so are those of each head.

    Signatures:
        NAME: for each task, what `serving_default` is in the task's own
            export: string `(B,)` for each of its inputs, to its head's
            answers, with label names as strings.
        `serving_default`: that of the default task, as are `classify` and
            `explain` if its head can do them; see
            `kbert.export.saved_model.export`.

    Beside the graph, `assets.extra` holds warm-up requests for every
    signature but `explain`, and kbert.json, the model's configuration.

    Args:
        multi: `kbert.MultiTask`.
        path: the model's folder, which holds its versions.
        default: the task that a request asks that names no signature; the
            first if None.
        version: the number; by default one more than the last.
        check_ops: a TF Serving release; the export is refused if that
            release lacks one of its ops.
        warmup: for some or all tasks requests, dicts of input names to
            texts; by default one short text and a batch of long ones.

    Returns:
        The path of the version.

    Raises:
        UnknownNameError: there is no such task.
        ExportError: the version exists, `path` holds something else, an op
            is missing, weights are not finite, or the SavedModel does not
            answer.
        CheckpointError: the folder cannot be written.

    Example:

    >>> multi.export("saved_models/messages", default="spam").name
    '1'
    """
    for task in multi.tasks.values():
        task.require_model()
    first = next(iter(multi)) if default is None else default
    usual = {name: usual_requests(task) for name, task in multi.tasks.items()}
    if not isinstance(warmup, Mapping | None):
        raise ConfigError(
            f"`warmup` must be a dict of task names to requests. Received: "
            f"{short(warmup)}"
        )
    for name in (first, *(warmup or ())):
        if name not in usual:
            raise UnknownNameError("task", str(name), usual)
    for name, asked in (warmup or {}).items():
        check_requests(name, asked, multi[name].inputs)
    requests = usual | dict(warmup or {})
    if check_ops is not None:
        check_release(check_ops)
    for task in multi.tasks.values():
        check_finite_weights(task.weights())
    target = new_version(path, version)
    if keras.backend.backend() != "tensorflow":
        options = {
            "default": first,
            "check_ops": check_ops,
            "warmup": requests,
        }
        return export_elsewhere(multi, target, options)
    signatures = make_signatures(multi[first])
    requests |= {n: requests[first] for n in signatures if n != EXPLAIN}
    # The default task's is the same function under both names.
    signatures |= {
        name: signatures[DEFAULT_SIGNATURE]
        if name == first
        else trace(make_answer(task), *task.inputs)
        for name, task in multi.tasks.items()
    }
    weights = {
        id(weight): weight
        for task in multi.tasks.values()
        for weight in task.weights()
    }
    config = multi[first].config() | multi.config() | {"default": first}
    write_version(
        target,
        weights.values(),
        signatures,
        requests,
        config,
        check_ops,
        multi.tasks,
    )
    return target
