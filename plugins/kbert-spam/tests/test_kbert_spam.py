import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kbert_spam import SpamHead
from kbert_spam import choose_threshold

from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.plugins import get_plugins
from kbert.testing import check_head


def scores(seed=0, ham=440, spam=60):
    """Scores of ham and spam that overlap, and which are spam."""
    draw = np.random.default_rng(seed)
    values = np.concatenate([draw.beta(1, 4, ham), draw.beta(4, 1, spam)])
    return values.astype("float32"), np.arange(ham + spam) >= ham


def answers(values, head):
    label = np.where(values >= head.threshold, head.spam_id, 1 - head.spam_id)
    return {"score": values, "label": label}


def test_is_registered():
    entry = dict(get_plugins().heads.items())["spam"]
    assert entry.value is SpamHead and entry.plugin == "kbert-spam"


def test_check_head():
    check_head(SpamHead, labels=("ham", "spam"), max_false_positive_rate=0.1)


# === Which label is spam ===


@pytest.mark.parametrize(
    ("y", "positive"),
    [
        (["ham", "spam"], "spam"),
        (["Spam", "no spam"], "Spam"),
        ([0, 1], 1),
        (["0", "1"], "1"),
    ],
)
def test_positive_is_found(y, positive):
    head = SpamHead()
    head.adapt(y)
    assert head.positive == positive


def test_positive_is_given():
    head = SpamHead(positive="junk")
    head.adapt(["ok", "junk"])
    assert head.labels[head.spam_id] == "junk"


@pytest.mark.parametrize(
    ("y", "positive", "message"),
    [
        (["ok", "junk"], None, "Pass positive="),
        (["spam", "1"], None, "Pass positive="),
        (["ok", "junk"], "spam", "one of .*Received: positive='spam'"),
        (["ham", "spam", "ad"], None, "Expected two labels"),
    ],
)
def test_wrong_labels(y, positive, message):
    with pytest.raises(InputError, match=message):
        SpamHead(positive=positive).adapt(y)


@pytest.mark.parametrize("labels", [["ham", "spam"], ["spam", "zzz"]])
def test_serve_labels_by_the_threshold(labels):
    import keras

    head = SpamHead(labels=labels, threshold=0.8)
    logits = np.zeros((3, 2), "float32")
    logits[:, head.spam_id] = [-1.0, 1.0, 2.0]  # 0.27, 0.73, 0.88
    served = head.serve(keras.ops.convert_to_tensor(logits))
    ids = keras.ops.convert_to_numpy(served["label"])
    assert [labels[i] == "spam" for i in ids] == [False, False, True]
    score = keras.ops.convert_to_numpy(served["score"])
    np.testing.assert_allclose(score, 1 / (1 + np.exp([1, -1, -2])), 1e-5)


# === The threshold ===


def test_it_is_a_probability():
    for wrong in (50, -0.1):
        with pytest.raises(ConfigError, match="`threshold`.*at most 1"):
            SpamHead(threshold=wrong)
    # A ham that must not be flagged scores 1.
    spam = np.array([False, True])
    highest = choose_threshold(np.float32([1, 1]), spam, 0.0)
    assert SpamHead(threshold=highest).threshold > 1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rate", [0.0, 0.005, 0.05, 0.3, 1.0])
def test_threshold_flags_as_much_ham_as_is_allowed(seed, rate):
    values, spam = scores(seed)
    flagged = values >= np.float32(choose_threshold(values, spam, rate))
    assert (flagged & ~spam).sum() == max(int(rate * 441 + 1e-9) - 1, 0)


def test_threshold_lies_just_above_a_ham():
    # Of 3 ham, each quarter of `rate` is a rank.
    values = np.array([0.1, 0.2, 0.6, 0.9], "float32")
    spam = np.array([False, False, False, True])
    for rate, ham in ((0.0, 0.6), (0.25, 0.6), (0.4, 0.6), (0.5, 0.2)):
        chosen = choose_threshold(values, spam, rate)
        assert ham + 1e-5 < chosen < ham + 1e-3


@given(
    st.lists(st.integers(0, 8), min_size=1, max_size=30),
    st.floats(0, 1),
)
def test_equal_scores_pass_together_or_not_at_all(ham, rate):
    values = np.array([*ham, 8], "float32") / 8
    spam = np.arange(len(values)) == len(ham)
    flagged = values >= np.float32(choose_threshold(values, spam, rate))
    assert flagged[:-1].sum() <= rate * (len(ham) + 1) + 1e-6


@pytest.mark.parametrize("ham", [1e-30, 0.5, 0.9999999])
def test_ham_that_sets_the_threshold_is_left_out(ham):
    values, spam = np.array([ham, 1], "float32"), np.array([False, True])
    chosen = np.float32(choose_threshold(values, spam, 0.0))
    assert values[0] < chosen <= values[1]


def test_ham_at_one_means_that_nothing_is_flagged():
    values = np.array([1.0, 1.0, 0.9], "float32")
    spam = np.array([False, True, True])
    assert not (values >= np.float32(choose_threshold(values, spam, 0))).any()


@pytest.mark.parametrize("ham", [250, 440])
def test_rate_holds_on_average_for_new_ham(ham):
    rates = []
    for seed in range(400):
        values, spam = scores(seed, ham=ham)
        fresh, _ = scores(seed + 10_000, ham=2000, spam=1)
        chosen = choose_threshold(values, spam, 0.005)
        rates.append((fresh[:2000] >= chosen).mean())
    assert 0.002 <= np.mean(rates) <= 0.005


def test_calibrate_keeps_the_threshold_in_the_config():
    values, spam = scores()
    head = SpamHead(labels=["ham", "spam"])
    head.calibrate(answers(values, head), spam.astype("int32"))
    copy = SpamHead(**json.loads(json.dumps(head.get_config())))
    assert copy.threshold == head.threshold != 0.5


@pytest.mark.parametrize("target", [0, 1])
def test_one_class_only_keeps_the_threshold(target):
    head = SpamHead(labels=["ham", "spam"])
    values, _ = scores()
    head.calibrate(answers(values, head), np.full(len(values), target))
    assert head.threshold == 0.5


def test_no_rate_keeps_the_threshold():
    head = SpamHead(
        labels=["ham", "spam"], max_false_positive_rate=None, threshold=0.9
    )
    values, spam = scores()
    head.calibrate(answers(values, head), spam.astype("int32"))
    assert head.threshold == 0.9 and not head.needs_validation


@pytest.mark.parametrize("rate", [-0.1, 1.5])
def test_wrong_rate(rate):
    with pytest.raises(ConfigError, match="`max_false_positive_rate` must be"):
        SpamHead(max_false_positive_rate=rate)


# === The report ===


def test_report():
    head = SpamHead(labels=["ham", "spam"], max_false_positive_rate=0.25)
    values = np.array([0.1, 0.2, 0.3, 0.7, 0.4, 0.6, 0.8, 0.9], "float32")
    targets = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    report = head.report(answers(values, head), targets)
    assert report["confusion_matrix"] == [[3, 1], [1, 3]]
    assert report["false_positive_rate"] == 0.25
    assert report["precision"] == report["recall"] == 0.75
    assert report["recall_at_fpr"] == 1.0  # One ham in four is allowed.
    assert report["threshold"] == 0.5
    assert report["pr_auc"] == pytest.approx((1 + 1 + 3 / 4 + 4 / 5) / 4)


def test_report_of_one_class_leaves_figures_open():
    head = SpamHead(labels=["ham", "spam"])
    values = np.array([0.1, 0.2], "float32")
    report = head.report(answers(values, head), np.array([0, 0]))
    assert report["recall"] is report["precision"] is report["pr_auc"] is None
    assert report["false_positive_rate"] == 0.0
