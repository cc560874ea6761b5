"""check_head passes the built-in head and finds what is wrong with others."""

import functools
import shutil

import keras
import numpy as np
import pytest
from keras import ops

from kbert.classifier import Classifier
from kbert.export import saved_model
from kbert.exported import check_ops
from kbert.heads.base import Head
from kbert.heads.classification import ClassificationHead
from kbert.plugins import get_plugins
from kbert.testing import check_head
from kbert.testing import checks as head_checks
from kbert.testing.checks import toy_data


def broken(**changes):
    """ClassificationHead with some attributes replaced."""
    return type("Broken", (ClassificationHead,), {"name": "broken"} | changes)


def serving(change):
    """A head whose answers `change` spoils, given them and the outputs."""

    def serve(self, outputs):
        answers = ClassificationHead.serve(self, outputs)
        return answers | change(answers, outputs)

    return broken(serve=serve)


def test_a_head_passes_and_need_not_be_registered():
    before = get_plugins().heads.items()
    head = broken(name="unregistered")  # The built-in one, not broken at all.
    check_head(head, labels=("a", "b", "c"), pooling="cls")
    assert get_plugins().heads.items() == before


def test_message_names_the_head_and_keeps_the_cause():
    def build(self, features):
        raise ZeroDivisionError("oh")

    with pytest.raises(AssertionError, match=r"^Broken: Expected") as raised:
        check_head(broken(build=build))
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


def test_a_head_without_labels_needs_data():
    with pytest.raises(AssertionError, match="labels or data.*neither"):
        check_head(broken(), labels=None)


def test_toy_data_has_a_text_or_two_a_row():
    x, y = toy_data(["a", "b"])
    assert len(x) == len(y) == 32 and len(set(x)) == 32
    pairs, _ = toy_data(["a", "b"], inputs=2)
    assert all(len(pair) == 2 for pair in pairs)


# === Broken: name, configuration, labels ===


class Forgetful(ClassificationHead):
    name = "forgetful"

    def __init__(self, labels=None, limit=0.5, **options):
        super().__init__(labels, **options)
        self.limit = limit


class Misremembering(Forgetful):
    def get_config(self):
        return super().get_config() | {"limit": 0.1}


class Unwritable(Forgetful):
    def get_config(self):
        return super().get_config() | {"limit": np.float32(self.limit)}


class Reordering(ClassificationHead):
    name = "reordering"

    def __init__(self, labels=None, **options):
        super().__init__(sorted(labels) if labels else None, **options)


class InOrderOfRows(ClassificationHead):
    name = "rows"

    def adapt(self, y):
        self.labels = list(dict.fromkeys(y))


class Partial(ClassificationHead):
    name = "partial"

    def adapt(self, y):
        self.labels = [*sorted(set(y)), "other"]


class Lenient(ClassificationHead):
    name = "lenient"

    def encode(self, y):
        return np.array(
            [self.labels.index(x) if x in self.labels else 0 for x in y]
        )


class Careless(ClassificationHead):
    name = "careless"

    def encode(self, y):
        return np.array([self.labels.index(x) for x in y])


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (object, "a class that derives from kbert.Head"),
        (ClassificationHead(), "a class that derives from kbert.Head"),
        (type("Unnamed", (Head,), {}), "a `name` of lower-case letters"),
        (broken(name="Two Words"), "a `name` of lower-case letters"),
        (
            type("Copy", (ClassificationHead,), {}),
            "name='classification', which is ClassificationHead of kbert",
        ),
        (broken(inputs="text"), "`inputs` to be a tuple"),
        (broken(inputs=("a", "b", "c")), "`inputs` to be a tuple"),
        (broken(truncation="tail"), "`truncation` to be"),
        (broken(monitor="val_loss"), "`monitor` to be"),
        (Forgetful, "every argument of the constructor. Received: no limit"),
        (Misremembering, "`limit` to be 0.5 in a head made from get_config"),
        (Unwritable, "written as JSON, to work. Received: TypeError"),
        (Reordering, "to be kept in that order"),
        (InOrderOfRows, "the same labels from the same rows in any order"),
        (Partial, "adapt to set `labels`"),
        (broken(encode=lambda self, y: [0] * len(y)), "an array of 6 finite"),
        (Lenient, "InputError for a label.*Received: no error"),
        (Careless, "InputError for a label.*Received: ValueError"),
    ],
)
def test_broken_before_the_model(head, message):
    with pytest.raises(AssertionError, match=message):
        check_head(
            head, labels=("yes", "no") if head is Reordering else ("no", "yes")
        )


def test_constructor_that_rejects_options():
    with pytest.raises(AssertionError, match="the constructor to work"):
        check_head(ClassificationHead, pooling="median")


# === Broken: model and answers ===


def blind_to_padding(self, features):
    mean = ops.mean(features["sequence_output"], axis=1)
    return keras.layers.Dense(len(self.labels))(mean)


def sum_over_batch(answers, outputs):
    return {"score": ops.sum(answers["score"])}


def random_score(answers, outputs):
    # A layer, or the number would be drawn once, when the model is built.
    noise = keras.layers.Lambda(
        lambda x: x + keras.random.normal(ops.shape(x)), output_shape=()
    )
    return {"score": noise(answers["score"])}


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (type("Bare", (Head,), {"name": "bare"}), "build and serve to work"),
        (broken(build=blind_to_padding), "a row alone and in a batch"),
        (serving(sum_over_batch), "'score' of serve to have the batch"),
        (serving(random_score), "when asked twice"),
        (
            serving(lambda a, o: {"score": ops.log(a["score"] * 0)}),
            "'score' of serve to be finite",
        ),
        (
            serving(lambda a, o: {"Best Score": a["score"]}),
            "lower-case names. Received: 'Best Score'",
        ),
        (
            serving(lambda a, o: {"label": a["label"] + 1}),
            "'label' of serve to be indices into 2 labels",
        ),
        (
            serving(lambda a, o: {"label": a["score"]}),
            "'label' of serve to be indices",
        ),
        (broken(label_outputs=("label", "topics")), "serve to give 'label'"),
        (
            serving(lambda a, o: {"probabilities": ops.sigmoid(o)}),
            "to be 0 or more and to sum to 1",
        ),
        (
            serving(lambda a, o: {"probabilities": a["probabilities"][:, :1]}),
            r"shape \(batch, 2\)",
        ),
        (
            serving(lambda a, o: {"probabilities": ops.softmax(o, axis=0)}),
            "to be 0 or more and to sum to 1",
        ),
    ],
)
def test_broken_model(head, message):
    with pytest.raises(AssertionError, match=message):
        check_head(head)


# === Broken: loss, report, calibrate ===


def infinite(targets, outputs):
    return ops.log(ops.mean(outputs, axis=-1) * 0)


def constant(targets, outputs):
    return ops.mean(outputs * 0, axis=-1) + 1.0


def calibrate(self, answers, targets):
    self.threshold = 0.7


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (broken(loss=lambda self: infinite), "a finite loss"),
        (broken(loss=lambda self: "no_such_loss"), "the loss to work"),
        (
            broken(calibrate=calibrate),
            "`threshold` after calibrate to be 0.7.*Keep what the head learns",
        ),
        (
            broken(report=lambda self, a, t: {"mean": a["score"].mean()}),
            "report, written as JSON, to work. Received: TypeError",
        ),
        (
            broken(report=lambda self, a, t: {"f1": float("nan")}),
            "report, written as JSON, to work. Received: ValueError",
        ),
        (broken(loss=lambda self: constant), "the loss to fall on toy data"),
    ],
)
def test_broken_learning(head, message):
    with pytest.raises(AssertionError, match=message):
        check_head(head)


def test_monitor_must_be_a_metric_of_the_training():
    head = broken(metrics=lambda self: [])
    # Keras only warns.
    with pytest.warns(UserWarning, match="val_accuracy"):
        with pytest.raises(AssertionError, match="there are loss, val_loss"):
            check_head(head)


# === Broken: saving and exporting ===


class Hidden(ClassificationHead):
    """Keeps what it learned where get_config does not see it."""

    name = "hidden"

    def __init__(self, labels=None, **options):
        super().__init__(labels, **options)
        self._shift = 0.0

    def calibrate(self, answers, targets):
        self._shift = 1.0

    def serve(self, outputs):
        answers = super().serve(outputs)
        return answers | {"score": answers["score"] + self._shift}


def test_state_outside_the_config_is_lost():
    with pytest.raises(AssertionError, match="that was saved and loaded"):
        check_head(Hidden)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A classifier whose export is made once, and copied from then on."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("exports on TensorFlow")
    folder = tmp_path_factory.mktemp("exported") / "model"
    clf = Classifier("random:1x64", labels=["a", "b"], max_length=32)
    with pytest.MonkeyPatch.context() as patch:
        # Nothing here asks for explanations, which take half the time.
        patch.setattr(saved_model, "can_explain", lambda task: False)
        clf.export(folder)
    clf.export = functools.partial(shutil.copytree, folder)
    return clf


def test_answers_must_survive_export(exported, monkeypatch):
    call = head_checks._call_exported

    def wrong(*args):
        answers = call(*args)
        return answers | {"score": answers["score"] + 1e-4}

    monkeypatch.setattr(head_checks, "_call_exported", wrong)
    with pytest.raises(
        AssertionError, match="the same answers from the export"
    ):
        head_checks._check_saved(exported, ["a", "b b"])


def test_ops_must_be_in_tf_serving(exported, monkeypatch):
    known = check_ops.release_ops
    # An op that the newer of the two releases has dropped.
    monkeypatch.setattr(
        check_ops,
        "release_ops",
        lambda r: known(r) - {"Softmax"} if r == "2.18.0" else known(r),
    )
    with pytest.raises(
        AssertionError, match=r"(?s)exported model to work.*2\.18\.0.*'Softmax'"
    ):
        head_checks._check_saved(exported, ["a", "b b"])
