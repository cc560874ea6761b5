"""The head `regression`: numbers in and out, and what it refuses."""

import numpy as np
import pytest

import kbert
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.heads.regression import RegressionHead
from kbert.heads.regression import StandardizedError

TEXTS = [["x"] * 3]


def test_numbers_of_any_form():
    head = RegressionHead()
    for y in ([1, 2.5, 3], np.array([1, 2.5, 3]), ["1", "2.5", "3.000"]):
        assert head.read(y, TEXTS) == [1.0, 2.5, 3.0]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([1, 2], "3 texts and 2 numbers"),
        ([1, None, 2], "None in row 1"),
        ([1, 2, float("nan")], "nan in row 2"),
        (["1", "high", "2"], "'high' in row 1"),
        ([1, 2, float("inf")], "inf in row 2"),
        ([0, 5, 5.2], "from 0 to 5. Received: 5.2 in row 2"),
        ([0, -1, 2], "Received: -1 in row 1"),
        ("12", "list of numbers"),
        ([2, 2, 2], "numbers that differ. Received: 2 in each"),
    ],
)
def test_bad_numbers(y, message):
    head = RegressionHead(minimum=0, maximum=5)
    with pytest.raises(InputError, match=message):
        head.adapt(head.read(y, TEXTS))


def test_bad_arguments():
    with pytest.raises(ConfigError, match="no labels.*labels="):
        kbert.Classifier("random:1x64", head="regression", labels=["a", "b"])
    with pytest.raises(ConfigError, match="below `maximum`"):
        RegressionHead(minimum=5, maximum=0)
    with pytest.raises(ConfigError, match="one of mean, least.*start='max'"):
        RegressionHead(start="max")


@pytest.mark.parametrize("known", [{"mean": 2.0}, {"scale": 2.0}])
def test_half_a_scale_is_learned(known):
    clf = kbert.Classifier(
        "random:1x16", head="regression", max_length=16, **known
    )
    assert clf.model is None
    clf.fit(["a", "b"], [5.0, 9.0], epochs=1, verbose=0)
    assert (clf.head.mean, clf.head.scale) == (7.0, 2.0)


def test_loss_and_answers_know_the_scale():
    head = RegressionHead(minimum=0, maximum=5)
    head.adapt([1.0, 3.0])
    assert head.ready and (head.mean, head.scale) == (2.0, 1.0)
    loss = head.loss()
    assert isinstance(loss, StandardizedError)
    assert float(loss(np.array([3.0]), np.array([1.0]))) == 0
    answers = head.serve(np.array([-9.0, 0.5, 9.0], "float32"))
    assert np.asarray(answers["score"]).tolist() == [0.0, 2.5, 5.0]


@pytest.mark.parametrize(("start", "number"), [("mean", 5), ("least", 2)])
def test_answers_before_training(start, number):
    clf = kbert.Classifier(
        "random:1x64", head="regression", start=start, seed=0
    )
    clf.head.adapt([2.0, 3.0, 7.0, 8.0])
    clf.build()
    assert clf.predict(["aaa"])[0] == pytest.approx(number, abs=0.5)


def test_report():
    head = RegressionHead()
    score = np.array([1.0, 2.0, 3.0, 5.0], "float32")
    report = head.report({"score": score}, np.array([1.0, 2.0, 4.0, 3.0]))
    assert report["spearman"] == pytest.approx(0.8)
    assert report["pearson"] == pytest.approx(
        np.corrcoef(score, [1, 2, 4, 3])[0, 1]
    )
    assert report["mean_absolute_error"] == 0.75
    assert report["mean_squared_error"] == 1.25
    flat = head.report({"score": score * 0}, score)
    assert flat["pearson"] is None and flat["spearman"] is None


def test_pairs_to_numbers():
    clf = kbert.Classifier("random:1x64", head="regression", seed=0)
    assert clf.model is None
    pairs = [(word, word) for word in ("aaa bb", "zz yyy") * 12]
    y = [1.0, 5.0] * 12
    clf.fit(pairs, y, epochs=6, batch_size=8, learning_rate=1e-3, verbose=0)
    assert clf.inputs == ("text", "text_pair")
    low, high = clf.predict(pairs[:2])
    assert isinstance(low, float) and low < 2.5 < 3.5 < high
    with pytest.raises(
        ConfigError, match="answers probabilities.*'regression'"
    ):
        clf.predict_proba(pairs[:2])
    with pytest.raises(ConfigError, match="one label"):
        clf.fit(pairs, y, class_weight="balanced")
