"""Export: one SavedModel from raw strings to label names.

Tokenization, the head's answers, label names and thresholds are all in the
graph, so TF Serving needs no code beside it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import keras

from kbert.errors import ExportError
from kbert.export.ask import ask_texts
from kbert.export.checks import check_finite_weights
from kbert.export.explain import can_explain
from kbert.export.explain import make_explain
from kbert.exported.check_ops import check_ops as run_check_ops
from kbert.exported.check_ops import check_release
from kbert.exported.names import CARD
from kbert.exported.names import DEFAULT_SIGNATURE
from kbert.exported.versions import MAX_VERSION
from kbert.exported.versions import version_folders
from kbert.exported.versions import version_number
from kbert.exported.warmup import CLASSIFY
from kbert.exported.warmup import EXPLAIN
from kbert.exported.warmup import LONG_WORD
from kbert.exported.warmup import SHORT
from kbert.exported.warmup import Requests
from kbert.exported.warmup import check_requests
from kbert.exported.warmup import write_warmup
from kbert.models.ngrams import NGRAM_LOGITS
from kbert.models.norm import constant_norms
from kbert.utils.atomic import new_folder
from kbert.utils.checks import check_integer
from kbert.utils.json_text import dumps
from kbert.utils.paths import real_path
from kbert.utils.scratch import check_room
from kbert.utils.scratch import scratch_folder

if TYPE_CHECKING:
    from kbert.pipeline.text_model import TextModel

# TF Serving's Classify API asks for this name, and for the names below.
CLASSIFY_METHOD = "tensorflow/serving/classify"


def export(
    task: TextModel,
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
            see `kbert.export.explain`. Only for heads that answer
            `probabilities` or a `score` of the whole text, or that have
            `evidence`, as `ner` and `qa` do.

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
            is missing, weights are not finite, or the SavedModel does not
            answer.
        CheckpointError: the folder cannot be written.

    Example:

    >>> clf.export("saved_models/spam-serving", check_ops="2.18.0").name
    '1'
    """
    if check_ops is not None:
        check_release(check_ops)  # Before all that takes long.
    check_finite_weights(task.weights())
    target = new_version(path, version)
    if warmup is None:
        warmup = usual_requests(task)
    check_requests("warmup", warmup, task.inputs)
    if keras.backend.backend() != "tensorflow":
        options = {"check_ops": check_ops, "warmup": warmup}
        return export_elsewhere(task, target, options)
    signatures = make_signatures(task)
    # An explanation costs as much as dozens of answers: a version is ready
    # before it.
    requests = {name: warmup for name in signatures if name != EXPLAIN}
    write_version(
        target,
        task.weights(),
        signatures,
        requests,
        task.config(),
        check_ops,
        {DEFAULT_SIGNATURE: task},
    )
    return target


def usual_requests(task: TextModel) -> Requests:
    """Warm-up requests for a task: a short text, and a batch of long ones."""
    long = LONG_WORD * task.max_length
    return [
        {name: [SHORT] for name in task.inputs},
        {name: [long] * 8 for name in task.inputs},
    ]


def new_version(path: Path, version: int | None) -> Path:
    """The folder of a version that is not there yet, and can be written.

    Args:
        path: the model's folder, which holds its versions.
        version: the number; None for one more than the last.

    Raises:
        ConfigError: it is no version's number.
        ExportError: the version exists, or `path` holds something else.
        CheckpointError: the folder cannot be written.
    """
    if version is not None:
        version = check_integer("version", version, 0, MAX_VERSION)
    path = real_path(path)
    taken = _versions(path)
    if version is None:
        version = 1 + max(taken, default=0)
        if version > MAX_VERSION:
            raise ExportError(
                f"Expected a folder with a number left. Received: {path}, "
                f"which holds version {MAX_VERSION}, the last that there can "
                f"be. Give a `version`, or take another folder."
            )
    target = path / str(version)
    if version in taken or os.path.lexists(target):
        raise ExportError(
            f"Expected a new version folder. Received: {target}, which "
            f"exists. Leave `version` out to get the next number."
        )
    check_room(path)
    return target


def _versions(path: Path) -> dict[int, Path]:
    if not path.exists():
        return {}
    if not path.is_dir():
        raise ExportError(f"Expected a folder. Received: {path}, a file.")
    for entry in path.iterdir():
        known = entry.name[0] == "." or version_number(entry.name) is not None
        if not known:
            raise ExportError(
                f"Expected a new folder, or one that holds versions of a "
                f"model. Received: {path}, which holds {entry.name}."
            )
    return version_folders(path)


def write_version(
    target: Path,
    weights: Iterable[keras.Variable],
    signatures: Mapping[str, Any],
    requests: Mapping[str, Requests],
    config: Mapping[str, Any],
    check_ops: str | None,
    tasks: Mapping[str, TextModel],
) -> None:
    """Write the folder of a version, checked and warmed up.

    Args:
        target: what `new_version` gave.
        weights: all that the signatures use.
        signatures: what `make_signatures` gave.
        requests: warm-up requests by signature.
        config: what kbert.json beside the graph holds.
        check_ops: see `export`.
        tasks: what signatures answer as.

    Raises:
        ExportError: an op is missing, or the SavedModel does not answer, or
            not as its tasks do.
        CheckpointError: the folder cannot be written.
    """
    with new_folder(target) as folder:
        _write_graph(folder, weights, signatures)
        if check_ops is not None:
            run_check_ops(folder, check_ops)
        write_warmup(folder, requests, target.parent.name)
        card = dumps(config, indent=2, ensure_ascii=False)
        (folder / CARD).write_text(card, encoding="utf-8")
        # What stands under two names is asked by one of them.
        once = {id(signatures[name]): name for name in requests}
        _replay(folder, {name: requests[name] for name in once.values()}, tasks)


def make_signatures(task: TextModel) -> dict[str, Any]:
    """Concrete functions for the signatures of a task, by name."""
    answer = make_answer(task)
    signatures = {DEFAULT_SIGNATURE: trace(answer, *task.inputs)}
    if "probabilities" in task.serving_model.output:
        signatures[CLASSIFY] = trace(_make_classify(task, answer), "inputs")
    if can_explain(task):
        signatures[EXPLAIN] = trace(make_explain(task), *task.inputs)
    return signatures


def make_answer(task: TextModel) -> Callable[..., dict[str, Any]]:
    """A function of string tensors `(B,)`, the task's inputs, to answers."""
    import tensorflow as tf

    # One more for -1, which stands for no label.
    labels = tf.constant([*map(str, task.head.labels or ()), ""])

    def serve(**texts) -> dict[str, Any]:
        columns = [texts[name] for name in task.inputs]
        tokens = task.tokens(columns)
        batch = task.tokenizer.pad(tokens)
        if task.ngrams is not None:
            batch[NGRAM_LOGITS] = task.ngrams(columns)
        outputs = task.serving_model(batch, training=False)
        if task.head.by_token:
            lengths = tokens["token_ids"].row_lengths()
            outputs = {
                key: tf.RaggedTensor.from_tensor(value, lengths)
                for key, value in outputs.items()
            }
        answers = task.finish(outputs, tokens, columns)
        return {
            key: tf.gather(labels, value % len(labels))
            if key in task.head.label_outputs
            else value
            for key, value in answers.items()
        }

    return serve


def _make_classify(task: TextModel, answer: Callable) -> Callable[..., dict]:
    import tensorflow as tf

    labels = tf.constant([str(label) for label in task.head.labels])

    def classify(inputs):
        features = tf.io.parse_example(
            inputs,
            {
                name: tf.io.FixedLenFeature((), tf.string)
                for name in task.inputs
            },
        )
        scores = answer(**features)["probabilities"]  # (B, labels)
        classes = tf.broadcast_to(labels, tf.shape(scores))  # (B, labels)
        return {"classes": classes, "scores": scores}

    return classify


def trace(function: Callable[..., dict], *names: str) -> Any:
    """A concrete function of string tensors `(B,)` by these names."""
    import tensorflow as tf

    # A tf.function kept on the module would be traced, and saved, twice.
    with constant_norms():
        return tf.function(function, autograph=False).get_concrete_function(
            **{name: tf.TensorSpec((None,), tf.string, name) for name in names}
        )


def _write_graph(folder: Path, weights, signatures) -> None:
    import tensorflow as tf

    module = tf.Module()
    # A module that holds the variables themselves stores each weight once;
    # Keras's own archive stores them twice.
    module.weights = [weight.value for weight in weights]
    try:
        tf.saved_model.save(module, str(folder), dict(signatures))
    except tf.errors.OpError as error:
        # Such as a full disk; what is before it are names inside TensorFlow.
        reason = error.message.rpartition("; ")[2].partition(" [Op:")[0]
        raise OSError(reason) from error
    if CLASSIFY in signatures:
        # TensorFlow 2 names every signature's method "predict".
        updater = (
            tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(
                str(folder)
            )
        )
        updater.replace_method_name(CLASSIFY, CLASSIFY_METHOD, ["serve"])
        updater.save()


def _replay(
    folder: Path,
    requests: Mapping[str, Requests],
    tasks: Mapping[str, TextModel],
) -> None:
    """A server would refuse a version whose warm-up fails; so do we.

    Then each task's signature is asked what the task is.
    """
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))
    try:
        for name, asked in requests.items():
            if name == CLASSIFY:
                continue  # It reads the same texts from tf.Examples.
            serve = loaded.signatures[name]
            for request in asked:
                serve(**{k: tf.constant(list(v)) for k, v in request.items()})
    except (TypeError, tf.errors.OpError) as error:
        raise ExportError(
            f"Expected the SavedModel to answer its warm-up requests. "
            f"Received: {error}"
        ) from error

    def asking(name, columns):
        texts = zip(tasks[name].inputs, columns, strict=True)
        answers = loaded.signatures[name](
            **{key: tf.constant(column) for key, column in texts}
        )
        return {key: value.numpy() for key, value in answers.items()}

    for name, task in tasks.items():
        ask_texts(task, "SavedModel", partial(asking, name))


def export_elsewhere(model: Any, target: Path, options: dict) -> Path:
    """Export from a process whose Keras runs on TensorFlow.

    Args:
        model: what has `save` and `export`.
        target: what `new_version` gave.
        options: of `export`, as JSON can hold them.
    """
    code = (
        "import json, sys, keras, kbert\n"
        "saved, path, policy, options = json.loads(sys.argv[1])\n"
        "keras.config.set_dtype_policy(policy)\n"
        "kbert.load(saved).export(path, **options)\n"
    )
    options = options | {"version": int(target.name)}
    with scratch_folder(target.parent) as temporary:
        saved = temporary / "model"
        model.save(saved)
        policy = model.backbone.embeddings.dtype_policy.name
        arguments = json.dumps(
            [str(saved), str(target.parent), policy, options]
        )
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
    return target
