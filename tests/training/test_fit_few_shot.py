"""`fit(method="few_shot")`: both phases, what works after it, bad input."""

import numpy as np
import pytest

import kbert
from kbert.data.batching import TokenTable
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.training.fit_few_shot import ClassBatches
from kbert.training.vector_losses import PairwiseCosineLoss

TEXTS = [f"{word} {i}" for i in range(8) for word in ("aaa", "zz", "mmmm")]
LABELS = ["a", "z", "m"] * 8


def tiny(**options):
    return kbert.Classifier("random:1x64", **({"seed": 0} | options))


def few_shot(clf, x=TEXTS, y=LABELS, **options):
    options = {"learning_rate": 1e-3, "epochs": 3, "verbose": 0} | options
    return clf.fit(x, y, method="few_shot", **options)


@pytest.fixture(scope="module")
def trained():
    clf = tiny()
    history = few_shot(clf)
    return clf, history


def test_learns_and_everything_works(trained, tmp_path):
    clf, history = trained
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert clf.predict(TEXTS) == LABELS
    assert clf.labels == ["a", "m", "z"]
    assert clf.evaluate(TEXTS, LABELS)["accuracy"] == 1
    assert clf.training["method"] == "few_shot"
    assert clf.training["rows"] == 24
    clf.save(tmp_path / "model")
    loaded = kbert.load(tmp_path / "model")
    np.testing.assert_array_equal(
        loaded.predict_proba(TEXTS), clf.predict_proba(TEXTS)
    )


def test_passes_by_the_number_of_labels():
    texts = [f"{letter} {i}" for letter in "abcd" for i in range(2)]
    for labels, passes in ((2, 8), (4, 9)):
        clf = tiny()
        rows = texts[: 2 * labels]
        clf.fit(rows, [t[0] for t in rows], method="few_shot", verbose=0)
        assert clf.training["epochs"] == passes


def test_the_saved_model_answers_as_predict(trained, tmp_path, unexplained):
    import tensorflow as tf

    clf, _ = trained
    path = clf.export(tmp_path / "model")
    serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    answer = serve(text=tf.constant(TEXTS))
    assert [v.decode() for v in answer["label"].numpy()] == LABELS
    np.testing.assert_allclose(
        answer["probabilities"], clf.predict_proba(TEXTS), atol=1e-5
    )


def test_the_head_is_the_logistic_regression():
    """Probabilities are those of scikit-learn's on the model's vectors."""
    from sklearn.linear_model import LogisticRegression

    x = [t for t, label in zip(TEXTS, LABELS, strict=True) if label != "m"]
    y = [label for label in LABELS if label != "m"]
    clf = tiny()
    few_shot(clf, x, y, epochs=1)
    embedder = kbert.Embedder("random:1x64", normalize=True)
    embedder.backbone.set_weights(clf.backbone.get_weights())
    vectors = embedder.encode(x)
    peer = LogisticRegression().fit(vectors, y)
    np.testing.assert_allclose(
        clf.predict_proba(x), peer.predict_proba(vectors), atol=1e-4
    )


def test_a_head_with_a_threshold_is_calibrated():
    pytest.importorskip("kbert_spam")
    x, y = TEXTS[:], ["spam" if v == "z" else "ham" for v in LABELS]
    clf = tiny(head="spam")
    few_shot(clf, x, y, validation_data=(x, y))
    assert clf.training["validation_rows"] == 24
    assert clf.training["validation"]["accuracy"] > 0.9


def test_same_seed_same_model():
    def run():
        clf = tiny(seed=1)
        few_shot(clf, epochs=1, batch_size=8)
        return clf.predict_proba(TEXTS)

    np.testing.assert_array_equal(run(), run())


def test_batches_hold_pairs_of_a_class_and_others():
    targets = np.repeat(np.arange(5), [8, 8, 3, 2, 8])
    table = TokenTable.from_rows([[1]] * 29, [[0]] * 29)
    batches = ClassBatches(table, targets, batch_size=10)
    rows = np.concatenate(batches._batches)
    assert sorted(rows) == list(range(29))
    for batch in batches._batches[:-1]:
        counts = np.bincount(targets[batch])
        assert counts.max() >= 2 and (counts > 0).sum() >= 2


def test_loss_by_hand():
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    y = np.array([0, 1, 0, 1, 2])
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    positive, negative = [], []
    for i in range(5):
        for j in range(i):
            cosine = unit[i] @ unit[j]
            same = y[i] == y[j]
            (positive if same else negative).append((cosine - same) ** 2)
    expected = (np.mean(positive) + np.mean(negative)) / 2
    np.testing.assert_allclose(PairwiseCosineLoss()(y, x), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([], [], "at least one text"),
        (["a", "b"], ["x", "x"], "two different labels"),
        (["a", "b", "c"], ["x", "x", "y"], "at least two texts.*1 of 'y'"),
        (["a", 3], ["x", "y"], "in row 1"),
        (["a"], ["x", "y"], "1 texts and 2 labels"),
        (["a", "b"], ["x", None], "in row 1"),
    ],
)
def test_bad_input(x, y, message):
    with pytest.raises(InputError, match=message):
        few_shot(tiny(), x, y)


def test_a_label_without_examples():
    with pytest.raises(InputError, match="Received: 0 of 'q'"):
        few_shot(tiny(labels=["a", "m", "z", "q"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"batch_size": 3}, "of 4 or more.*batch_size=3"),
        ({"pooling": "maxx"}, "pooling='maxx'"),
        ({"learning_rate": 0}, "learning_rate=0"),
        ({"weight_decay": -1}, "weight_decay=-1"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ConfigError, match=message):
        few_shot(tiny(), **options)


def test_a_bad_rate_is_refused_before_texts_are_read():
    with pytest.raises(ConfigError, match="learning_rate=-1"):
        few_shot(tiny(), None, None, learning_rate=-1)


def test_an_unknown_method():
    with pytest.raises(ConfigError, match="method='zero_shot'"):
        tiny().fit(TEXTS, LABELS, method="zero_shot")


def test_a_head_without_logits():
    pytest.importorskip("kbert_sentiment")
    clf = tiny(head="sentiment", labels=["a", "m", "z"])
    with pytest.raises(ConfigError, match="'sentiment'. Leave `method` out"):
        few_shot(clf)
