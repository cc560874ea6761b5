"""What `kbert.testing.check_head` asks of a head that has a model."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kbert.classifier import Classifier
from kbert.data.answers import OUTPUTS
from kbert.data.answers import decode
from kbert.errors import InputError
from kbert.exported.check_ops import check_ops
from kbert.exported.names import DEFAULT_SIGNATURE
from kbert.heads.base import Head
from kbert.loading import load
from kbert.training.examples import Examples
from kbert.training.examples import Rows

ROWS_PER_LABEL = 16
MAX_LENGTH = 32

# TF Serving releases that have to load a head's export: the oldest that has
# the tokenizer's ops, and one whose TensorFlow is newer than its text ops.
SERVING_RELEASES = ("2.12.1", "2.18.0")


def expect(true: Any, expected: str, received: Any, advice: str) -> None:
    if not true:
        raise AssertionError(
            f"Expected {expected}. Received: {received}. {advice}"
        )


@contextlib.contextmanager
def stage(what: str, advice: str) -> Iterator[None]:
    """An error in here is the head's, in the part that `what` names."""
    try:
        yield
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(
            f"Expected {what} to work. Received: {type(error).__name__}: "
            f"{error}. {advice}"
        ) from error


def check_round_trip(head: Head, when: str) -> None:
    """`type(head)(**head.get_config())` is the same head, through JSON."""
    config = head.get_config()
    with stage(
        f"get_config{when}, written as JSON,",
        "Turn NumPy values into Python's own: float(x), x.tolist().",
    ):
        read = json.loads(json.dumps(config, allow_nan=False))
    with stage(
        f"the constructor with what get_config{when} gave",
        "Its keys are the constructor's arguments.",
    ):
        copy = type(head)(**read)
    for name, value in vars(head).items():
        if name.startswith("_"):
            continue
        received = getattr(copy, name, None)
        expect(
            _as_json(received) == _as_json(value),
            f"`{name}`{when} to be {value!r} in a head made from get_config",
            repr(received),
            "Keep what the head learns in constructor arguments that "
            "get_config returns, or it is lost when a model is saved.",
        )


def _as_json(value: Any) -> str:
    return json.dumps(value, default=repr)


def toy_data(labels: list, inputs: int = 1) -> tuple[list, list]:
    """Texts whose letters tell the label, and their labels.

    Args:
        labels: what to tell apart, at most 26.
        inputs: texts a row, one or two.
    """
    x, y = [], []
    for row in range(ROWS_PER_LABEL):
        for i, label in enumerate(labels):
            # Of one length: each new shape costs a compilation.
            text = f"{chr(97 + i)} {row:02} {chr(97 + i)}"
            x.append(text if inputs == 1 else (text, text))
            y.append(label)
    return x, y


def check_model(head_class, data: tuple | None, labels, options: dict) -> None:
    clf = Classifier(
        "random:1x64",
        head_class.name,
        max_length=MAX_LENGTH,
        seed=0,
        **options,
    )
    head = clf.head
    x, y = data or toy_data(labels, len(clf.inputs))
    known = head.read(y, clf.columns(x))
    head.adapt(known)
    targets = head.encode(known)
    with stage(
        "build and serve", "They take and give Keras tensors: use keras.ops."
    ):
        clf.build()
    _check_answers(clf, x)
    before = _loss(clf, x, targets)
    answers = clf.answers(x)
    _check_report(head, answers, targets)

    with stage("fit", "The head fails while it trains."):
        history = clf.fit(
            x,
            y,
            validation_data=(x, y),
            epochs=4,
            batch_size=8,
            learning_rate=1e-3,
            verbose=0,
        )
    monitor = head.monitor[0]
    expect(
        monitor in history.history,
        "`monitor` to name a metric of the training",
        f"monitor={monitor!r}; there are {', '.join(history.history)}",
        "Name one of metrics(), with 'val_' before it, or 'val_loss'.",
    )
    after = _loss(clf, x, targets)
    expect(
        after < before,
        "the loss to fall on toy data",
        f"{before:.4g} before and {after:.4g} after {len(y)} rows, 4 epochs",
        "Do the outputs depend on the features and the loss on the outputs?",
    )
    _check_answers(clf, x)
    _check_saved(clf, x)


def _loss(clf: Classifier, x: list, targets: Any) -> float:
    with stage("align", "It gives a target for each window or token."):
        examples = Examples.of(clf, Rows(clf.columns(x), targets))
    batch, targets = examples.batch(np.arange(len(examples.table)))
    with stage(
        "the loss", "loss() takes encode's targets and build's outputs."
    ):
        # One batch: a graph would take longer to make than to run.
        clf.model.compile(
            loss=clf.head.loss(),
            metrics=clf.head.metrics(),
            run_eagerly=keras.backend.backend() == "tensorflow",
        )
        loss = clf.model.test_on_batch(batch, targets, return_dict=True)["loss"]
    expect(
        np.isfinite(loss),
        "a finite loss",
        loss,
        "Compute it from logits (from_logits=True) or add an epsilon.",
    )
    return float(loss)


def _serve(clf: Classifier, x: list) -> dict[str, np.ndarray]:
    """Answers of one batch as it comes, outside a compiled function."""
    if clf.head.by_token:
        with stage(
            "serve and finish", "finish takes what serve gives, ragged."
        ):
            return clf.answers(x)
    table = clf.tokenize(clf.columns(x))
    batch = table.take(np.arange(len(table)))
    with stage("serve", "It takes build's outputs: use keras.ops."):
        answers = clf.serving_model(batch, training=False)
        return {
            key: keras.ops.convert_to_numpy(value)
            for key, value in answers.items()
        }


def _check_answers(clf: Classifier, x: list) -> None:
    head, pair = clf.head, len(clf.inputs) == 2
    for hard in ("", "word " * MAX_LENGTH):
        row = (hard, hard) if pair else hard
        # Some heads refuse an empty text.
        with contextlib.suppress(InputError):
            clf.columns([row])
            x = [*x, row]
    answers = _serve(clf, x)
    for key, value in answers.items():
        expect(
            re.fullmatch(r"[a-z][a-z0-9_]*", key),
            "outputs of serve to have lower-case names",
            repr(key),
            "Clients of the exported model type them.",
        )
        expect(
            value.ndim > 0 and len(value) == len(x),
            f"{key!r} of serve to have the batch, {len(x)}, as its first "
            f"dimension",
            f"shape {value.shape}",
            "Reduce over axis=-1, not over the batch.",
        )
        finite = value.dtype.kind in "SO" or np.isfinite(value)
        expect(
            np.all(finite),
            f"{key!r} of serve to be finite",
            value[~finite][:3] if np.ndim(finite) else value,
            "Compute it so that extreme outputs stay in range.",
        )
    indices = {*head.label_outputs, head.answer_output} & {
        *head.label_outputs,
        "label",
    }
    expect(
        indices <= set(answers),
        f"serve to give 'label' and {head.label_outputs}, its `label_outputs`",
        f"{', '.join(answers)}",
        "Classifier.predict gives 'label'; set `label_outputs`, or "
        "`answer_output`.",
    )
    for key in indices:
        value = answers[key]
        least = 0 if key == "label" else -1
        expect(
            value.dtype.kind in "iu"
            and value.min(initial=0) >= least
            and value.max(initial=0) < len(head.labels or ()),
            f"{key!r} of serve to be indices into {len(head.labels or ())} "
            f"labels",
            f"{value.dtype} from {value.min()} to {value.max()}",
            "keras.ops.argmax(..., axis=-1) gives such.",
        )
    with stage("rows", "It takes the answers of serve, or of finish."):
        rows = head.rows(answers)
    expect(
        len(rows) == len(x) and head.answer_output in rows[0],
        f"rows to give a dict for each of {len(x)} texts, with "
        f"{head.answer_output!r}, its `answer_output`",
        f"{len(rows)}, the first with {', '.join(rows[0])}",
        "Name in `answer_output` what Classifier.predict gives.",
    )
    first = [name for name in OUTPUTS if name in rows[0]][:1]
    expect(
        first in ([], [head.answer_output]),
        f"`answer_output` to be the first of {', '.join(OUTPUTS[:-1])} that "
        f"serve gives, as clients tell it by its name",
        f"{head.answer_output!r} beside {''.join(first)!r}",
        "Name the output so, or leave the other out.",
    )
    if "probabilities" in answers:
        _check_probabilities(
            answers["probabilities"], len(head.labels or ()), head.exclusive
        )
    _check_same(
        answers,
        _serve(clf, x),
        1e-6,
        "the same answers when asked twice",
        "Leave chance out of serve.",
    )
    # A row alone, and the same row between longer ones.
    alone = _serve(clf, x[:1])
    first = {key: value[:1] for key, value in answers.items()}
    # The longer row of another text may have filled this one up.
    for key, value in alone.items():
        if value.ndim == 2 and key in first and first[key].ndim == 2:
            first[key] = first[key][:, : value.shape[1]]
    _check_same(
        first,
        alone,
        1e-4,
        "the same answers for a row alone and in a batch with longer ones",
        "Leave padding out by features['padding_mask'] (see "
        "kbert.heads.base.mean_pool), and do not mix rows.",
    )


def _check_probabilities(
    value: np.ndarray, labels: int, exclusive: bool
) -> None:
    expect(
        value.shape[1:] == (labels,),
        f"'probabilities' of serve to have shape (batch, {labels}), a column "
        f"a label",
        value.shape,
        "Give them in the order of `labels`.",
    )
    if not exclusive:
        expect(
            value.min() >= 0 and value.max() <= 1,
            "'probabilities' of serve to be 0 to 1",
            f"{value.min():.4g} to {value.max():.4g}",
            "keras.ops.sigmoid gives such.",
        )
        return
    expect(
        value.min() >= 0 and np.abs(value.sum(axis=-1) - 1).max() < 1e-5,
        "'probabilities' of serve to be 0 or more and to sum to 1",
        f"a least one of {value.min():.4g} and sums of "
        f"{value.sum(axis=-1).min():.4g} to {value.sum(axis=-1).max():.4g}",
        "keras.ops.softmax(..., axis=-1) gives such. Where a text may have "
        "several labels, set `exclusive = False`.",
    )


def _check_report(head: Head, answers: dict, targets: Any) -> None:
    with stage("calibrate", "It takes serve's answers and encode's targets."):
        head.calibrate(answers, targets)
    check_round_trip(head, " after calibrate")
    with stage(
        "report, written as JSON,",
        "It is a dict of Python's own values: float(x), x.tolist(), and None "
        "where a figure is undefined.",
    ):
        json.dumps(head.report(answers, targets), allow_nan=False)


def _check_saved(clf: Classifier, x: list) -> None:
    # With all that the head holds, whether get_config tells of it or not.
    clf.build_serving()
    answers = clf.answers(x)
    with tempfile.TemporaryDirectory() as folder:
        saved, exported = Path(folder, "saved"), Path(folder, "exported")
        with stage("saving and loading", "Is all of it in get_config?"):
            clf.save(saved)
            loaded = load(saved)
        _check_same(
            answers,
            loaded.answers(x),
            1e-6,
            "the same answers from a model that was saved and loaded",
            "Make weights in Keras layers, and keep the rest in get_config.",
        )
        if keras.backend.backend() == "tensorflow":
            with stage(
                "the exported model",
                "serve runs in a TensorFlow graph: use keras.ops.",
            ):
                clf.export(exported)
                received = _call_exported(exported, clf, x)
                for release in SERVING_RELEASES:
                    check_ops(exported / "1", release)
            named = {
                key: decode(value).astype(str)
                if value.dtype.kind in "SO"
                else value
                for key, value in clf.head.name_labels(answers).items()
            }
            _check_same(
                named,
                received,
                1e-5,
                "the same answers from the exported model",
                "Let serve depend on build's outputs and get_config only.",
            )


def _call_exported(path: Path, clf: Classifier, x: list) -> dict:
    import tensorflow as tf

    model = tf.saved_model.load(str(path / "1"))
    texts = {
        name: tf.constant(column)
        for name, column in zip(clf.inputs, clf.columns(x), strict=True)
    }
    answers = model.signatures[DEFAULT_SIGNATURE](**texts)
    return {
        key: np.char.decode(value.numpy().astype(bytes), "utf-8")
        if value.dtype == tf.string
        else value.numpy()
        for key, value in answers.items()
    }


def _check_same(
    a: dict, b: dict, tolerance: float, expected: str, advice: str
) -> None:
    expect(
        set(a) == set(b),
        expected,
        f"{', '.join(sorted(a))} and {', '.join(sorted(b))}",
        advice,
    )
    for key, value in a.items():
        other = b[key]
        if value.dtype.kind == "f" and value.shape == other.shape:
            same = np.allclose(value, other, rtol=0, atol=tolerance)
        else:
            same = np.array_equal(value, other)
        expect(
            same,
            f"{expected}; {key!r} differs",
            f"{value[:3].tolist()} ... and {other[:3].tolist()} ...",
            advice,
        )
