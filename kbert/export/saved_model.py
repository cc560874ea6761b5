"""Export: one SavedModel from raw strings to label names.

Tokenization, the head's answers, label names and thresholds are all in the
graph, so TF Serving needs no code beside it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import keras

from kbert.errors import ExportError
from kbert.export.check_ops import check_ops as run_check_ops
from kbert.export.explain import can_explain
from kbert.export.explain import make_explain
from kbert.export.warmup import write_warmup
from kbert.folders import new_folder

if TYPE_CHECKING:
    from kbert.task import Task

# TF Serving's Classify API asks for this name, and for the names below.
CLASSIFY_METHOD = "tensorflow/serving/classify"

# Why the model answers as it does; see `kbert.export.explain`.
EXPLAIN = "explain"

Requests = Sequence[Mapping[str, Sequence[str]]]


def export(
    task: Task,
    path: Path,
    *,
    version: int | None = None,
    check_ops: str | None = None,
    warmup: Requests | None = None,
) -> Path:
    """Write a SavedModel into a numbered folder, whole or not at all.

    Signatures:
        `serving_default`: string `(B,)` for each of the task's inputs, to
            the head's answers, with label names as strings; for
            classification `label` string `(B,)`, `score` float `(B,)` and
            `probabilities` float `(B, labels)`.
        `classify`: serialized `tf.Example`s, string `(B,)`, named `inputs`,
            with a bytes feature for each of the task's inputs, to `classes`
            string and `scores` float, both `(B, labels)`. Only for heads
            that answer `probabilities`.
        `explain`: as `serving_default`, to what each word adds to the score;
            see `kbert.export.explain`. Only for heads that answer `score`.

    Beside the graph, `assets.extra` holds the warm-up requests that TF
    Serving replays, and kbert.json, the model's configuration.

    Args:
        task: a task that has a model.
        path: the model's folder, which holds its versions.
        version: the number; by default one more than the last.
        check_ops: a TF Serving release; the export is refused if that
            release lacks one of its ops.
        warmup: requests, dicts of input names to texts; by default one short
            text and a batch of long ones.

    Returns:
        The path of the version.

    Raises:
        ExportError: the version exists, `path` holds something else, an op
            is missing, or the SavedModel does not answer.
        CheckpointError: the folder cannot be written.

    Example:

    >>> clf.export("saved_models/spam", check_ops="2.18.0")
    PosixPath('saved_models/spam/1')
    """
    if version is None:
        version = 1 + max(_versions(path), default=0)
    target = path / str(version)
    if target.exists():
        raise ExportError(
            f"Expected a new version folder. Received: {target}, which "
            f"exists. Leave `version` out to get the next number."
        )
    if warmup is None:
        long = "word " * task.max_length
        warmup = [
            {name: ["warm-up"] for name in task.inputs},
            {name: [long] * 8 for name in task.inputs},
        ]
    if keras.backend.backend() != "tensorflow":
        return _export_elsewhere(task, path, version, check_ops, warmup)
    with new_folder(target) as folder:
        signatures = _write_graph(task, folder)
        if check_ops is not None:
            run_check_ops(folder, check_ops)
        # An explanation costs as much as dozens of answers.
        signatures = [name for name in signatures if name != EXPLAIN]
        write_warmup(folder, warmup, path.name, signatures)
        config = json.dumps(task.config(), indent=2, ensure_ascii=False)
        (folder / "assets.extra" / "kbert.json").write_text(
            config, encoding="utf-8"
        )
        _replay(folder, warmup)
    return target


def _versions(path: Path) -> list[int]:
    if not path.exists():
        return []
    if not path.is_dir():
        raise ExportError(f"Expected a folder. Received: {path}, a file.")
    versions = []
    for entry in path.iterdir():
        if entry.name.isdecimal():
            versions.append(int(entry.name))
        elif not entry.name.startswith("."):
            raise ExportError(
                f"Expected a new folder, or one that holds versions of a "
                f"model. Received: {path}, which holds {entry.name}."
            )
    return versions


def _write_graph(task: Task, folder: Path) -> list[str]:
    """Write the SavedModel; the names of its signatures."""
    import tensorflow as tf

    names = [str(label) for label in task.head.labels or ()]
    labels = tf.constant(names)
    # One more for -1, which stands for no label.
    padded = tf.constant([*names, ""])

    def answer(texts: dict) -> dict[str, Any]:
        columns = [texts[name] for name in task.inputs]
        tokens = task.tokens(columns)
        batch = task.tokenizer.pad(tokens)
        outputs = task.serving_model(batch, training=False)
        if task.head.overlap is not None:
            lengths = tokens["token_ids"].row_lengths()
            outputs = {
                key: tf.RaggedTensor.from_tensor(value, lengths)
                for key, value in outputs.items()
            }
        answers = task.finish(outputs, tokens, columns)
        return {
            key: tf.gather(padded, value % len(padded))
            if key in task.head.label_outputs
            else value
            for key, value in answers.items()
        }

    def serve(**texts):
        return answer(texts)

    def classify(inputs):
        features = tf.io.parse_example(
            inputs,
            {
                name: tf.io.FixedLenFeature((), tf.string)
                for name in task.inputs
            },
        )
        scores = answer(features)["probabilities"]  # (B, labels)
        classes = tf.broadcast_to(labels, tf.shape(scores))  # (B, labels)
        return {"classes": classes, "scores": scores}

    module = tf.Module()
    # A module that holds the variables themselves stores each weight once;
    # Keras's own archive stores them twice.
    module.weights = [weight.value for weight in task.model.weights]

    def trace(function, *names):
        # A tf.function kept on the module would be traced, and saved, twice.
        return tf.function(function, autograph=False).get_concrete_function(
            **{name: tf.TensorSpec((None,), tf.string, name) for name in names}
        )

    signatures = {"serving_default": trace(serve, *task.inputs)}
    if "probabilities" in task.serving_model.output:
        signatures["classify"] = trace(classify, "inputs")
    if can_explain(task):
        signatures[EXPLAIN] = trace(make_explain(task), *task.inputs)
    try:
        tf.saved_model.save(module, str(folder), signatures)
    except tf.errors.OpError as error:
        raise OSError(error.message) from error  # Such as a full disk.
    if "classify" in signatures:
        # TensorFlow 2 names every signature's method "predict".
        updater = (
            tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(
                str(folder)
            )
        )
        updater.replace_method_name("classify", CLASSIFY_METHOD, ["serve"])
        updater.save()
    return list(signatures)


def _replay(folder: Path, warmup: Requests) -> None:
    """A server would refuse a version whose warm-up fails; so do we."""
    import tensorflow as tf

    serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
    try:
        for request in warmup:
            serve(**{k: tf.constant(list(v)) for k, v in request.items()})
    except (TypeError, tf.errors.OpError) as error:
        raise ExportError(
            f"Expected the SavedModel to answer its warm-up requests. "
            f"Received: {error}"
        ) from error


def _export_elsewhere(task, path, version, check_ops, warmup) -> Path:
    """Export from a process whose Keras runs on TensorFlow."""
    code = (
        "import json, sys, kbert\n"
        "saved, path, options = json.loads(sys.argv[1])\n"
        "kbert.load(saved).export(path, **options)\n"
    )
    options = {"version": version, "check_ops": check_ops, "warmup": warmup}
    with tempfile.TemporaryDirectory() as temporary:
        saved = Path(temporary, "task")
        task.save(saved)
        arguments = json.dumps([str(saved), str(path), options])
        done = subprocess.run(
            [sys.executable, "-c", code, arguments],
            env=os.environ | {"KERAS_BACKEND": "tensorflow"},
            capture_output=True,
            text=True,
        )
    if done.returncode:
        # The last line of a traceback is the error itself.
        reason = done.stderr.strip().splitlines()[-1:]
        raise ExportError(
            f"Expected the TensorFlow process to export the model. Received: "
            f"{''.join(reason)}"
        )
    return path / str(version)
