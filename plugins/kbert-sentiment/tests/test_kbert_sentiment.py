import keras
import numpy as np
import pytest
from kbert_sentiment import OrderedLevels
from kbert_sentiment import SentimentHead
from kbert_sentiment import order

from kbert.errors import InputError
from kbert.plugins import get_plugins
from kbert.testing import check_head

FIVE = ["very negative", "negative", "neutral", "positive", "very positive"]


def test_is_registered():
    entry = dict(get_plugins().heads.items())["sentiment"]
    assert entry.value is SentimentHead and entry.plugin == "kbert-sentiment"


@pytest.mark.large
def test_check_head():
    check_head(SentimentHead, labels=("negative", "neutral", "positive"))


# === Order of the levels ===


@pytest.mark.parametrize(
    "levels",
    [
        ["negative", "positive"],
        ["neg", "neu", "pos"],
        ["bad", "good"],
        ["Bad", "OK", "Good"],
        FIVE,
        ["very_negative", "negative", "neutral", "positive", "very_positive"],
        ["negative", "slightly-negative", "neutral", "positive", "great"],
        [-1, 0, 1],
        [1, 2, 10],
        ["1", "2", "3", "4", "10"],
        ["-1", "0", "+1"],
        ["0.5", "3", "4.5"],
    ],
)
def test_adapt_orders_known_levels(levels):
    head = SentimentHead()
    head.adapt(sorted(levels * 2, key=str, reverse=True))
    assert head.labels == levels


@pytest.mark.parametrize(
    "labels",
    [
        ["boo", "yay"],
        ["bad", "poor"],
        ["1", "good"],
        ["1", "1.0"],
        ["very", "good"],
    ],
)
def test_unknown_order_is_an_error(labels):
    with pytest.raises(InputError, match="Pass labels=, in order from most"):
        order(labels)


def test_given_labels_stay_in_their_order():
    head = SentimentHead(labels=["yay", "boo"])
    head.adapt(["boo", "yay"])
    assert head.labels == ["yay", "boo"]


@pytest.mark.parametrize("count", [4, 6])
def test_other_numbers_of_levels_are_an_error(count):
    levels = list(range(count))
    with pytest.raises(InputError, match=f"Expected 2, 3 or 5 .*: {count}"):
        SentimentHead(labels=levels)
    with pytest.raises(InputError, match="Expected 2, 3 or 5"):
        SentimentHead().adapt(levels)


# === Ordered levels ===


def layer_outputs(levels, inputs, bias=None):
    layer = OrderedLevels(levels)
    layer.build((None, inputs.shape[-1]))
    layer.kernel.assign(np.full(layer.kernel.shape, 1 / levels))
    if bias is not None:
        layer.bias.assign(np.asarray(bias) / layer.SCALE)
    return keras.ops.convert_to_numpy(layer(inputs))


@pytest.mark.parametrize("levels", [2, 3, 5])
def test_probabilities_are_those_of_proportional_odds(levels):
    draw = np.random.default_rng(0)
    score = draw.normal(0, 5, (20, 1))
    bias = draw.normal(0, 2, levels - 1)
    gaps = np.log1p(np.exp(bias[1:] + OrderedLevels.GAP))
    cuts = np.cumsum([bias[0] - (levels - 2), *gaps])
    above = 1 / (1 + np.exp(cuts - score))
    ones = np.ones((20, 1))
    expected = -np.diff(np.hstack([ones, above, 0 * ones]))
    outputs = layer_outputs(levels, score.astype("float32"), bias)
    np.testing.assert_allclose(np.exp(outputs), expected, atol=1e-6)


@pytest.mark.parametrize("levels", [2, 3, 5])
def test_extreme_scores_and_cut_points_stay_finite(levels):
    score = np.array([[-1e4], [-50.0], [0.0], [50.0], [1e4]], "float32")
    for bias in (-90.0, 0.0, 90.0):
        outputs = layer_outputs(levels, score, [0.0] + [bias] * (levels - 2))
        assert np.isfinite(outputs).all()
        head = SentimentHead(labels=list(range(levels)))
        served = head.serve(keras.ops.convert_to_tensor(outputs))
        p = keras.ops.convert_to_numpy(served["probabilities"])
        assert (p >= 0).all()
        np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)


def test_levels_start_symmetric_and_each_can_win():
    score = np.linspace(-6, 6, 13, dtype="float32")[:, None]
    p = np.exp(layer_outputs(5, score))
    np.testing.assert_allclose(p, p[::-1, ::-1], atol=1e-5)
    assert set(p.argmax(axis=1)) == set(range(5))


def test_score_runs_from_minus_one_to_one():
    head = SentimentHead(labels=FIVE)
    outputs = np.full((6, 5), -30.0, "float32")
    outputs[np.arange(5), np.arange(5)] = 0.0
    outputs[5] = 0.0
    served = head.serve(keras.ops.convert_to_tensor(outputs))
    score = keras.ops.convert_to_numpy(served["score"])
    np.testing.assert_allclose(score, [-1, -0.5, 0, 0.5, 1, 0], atol=1e-5)


def test_layer_comes_back_from_its_config():
    layer = OrderedLevels(3, dtype="float32")
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(layer)
    )
    assert copy.levels == 3


# === The report ===


def test_report():
    from sklearn.metrics import cohen_kappa_score

    head = SentimentHead(labels=["bad", "ok", "good"])
    targets = np.array([0, 0, 1, 1, 2, 2])
    label = np.array([0, 2, 1, 0, 2, 2])
    report = head.report({"label": label}, targets)
    assert report["mean_absolute_error"] == pytest.approx(3 / 6)
    assert report["quadratic_weighted_kappa"] == pytest.approx(
        cohen_kappa_score(targets, label, weights="quadratic")
    )


def test_kappa_of_one_level_is_undefined():
    head = SentimentHead(labels=["bad", "good"])
    report = head.report({"label": np.array([1, 1])}, np.array([1, 1]))
    assert report["quadratic_weighted_kappa"] is None
    assert report["accuracy"] == 1.0
