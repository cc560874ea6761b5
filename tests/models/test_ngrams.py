"""The linear model of characters, and heads that it stands beside."""

import json
from collections import Counter

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfTransformer

import kbert
from kbert.errors import ConfigError
from kbert.errors import ExportError
from kbert.heads.classification import ClassificationHead
from kbert.models.ngrams import BUCKETS
from kbert.models.ngrams import MOST_CHARACTERS
from kbert.models.ngrams import NgramModel


def set_weights(model, seed=0):
    draw = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(draw.normal(size=weight.shape).astype("float32"))


def small(head="classification", **options):
    options = {"ngrams": 4, "max_length": 16, "seed": 0} | options
    return kbert.Classifier("random:1x64", head=head, **options)


@pytest.fixture(scope="module")
def written():
    """Two classes that only capitals tell apart: texts and labels."""
    names = ["ann", "bob", "cat", "dan", "eve", "fay", "gus", "hal"]
    texts = [f"call {name}" for name in names * 6]
    loud = np.arange(len(texts)) % 3 == 0
    texts = [t.upper() if up else t for t, up in zip(texts, loud, strict=True)]
    return texts, ["loud" if up else "calm" for up in loud]


# === Features ===


def grams(text: str, longest: int) -> Counter:
    return Counter(
        text[i : i + width]
        for width in range(1, longest + 1)
        for i in range(len(text) - width + 1)
    )


# One for all examples: each that is made traces a graph.
@pytest.fixture(scope="module")
def of_three():
    return NgramModel(2, 3)


@pytest.fixture(scope="module")
def of_four():
    model = NgramModel(3, 4)
    set_weights(model)
    return model


@given(texts=st.lists(st.text(max_size=20), min_size=1, max_size=4))
@settings(max_examples=30)
def test_counts_the_ngrams_of_a_text(of_three, texts):
    counts = of_three.counts([texts])
    assert counts.shape == (len(texts), BUCKETS)
    for row, text in zip(counts, texts, strict=True):
        expected, counted = Counter(), grams(text, 3)
        names = tf.constant([*counted], tf.string)
        buckets = tf.strings.to_hash_bucket_fast(names, BUCKETS).numpy()
        for bucket, count in zip(buckets, counted.values(), strict=True):
            expected[bucket] += count
        assert dict(zip(row.indices, row.data, strict=True)) == expected


@given(texts=st.lists(st.binary(max_size=20), min_size=1, max_size=4))
@settings(max_examples=30)
def test_logits_are_linear_in_tf_idf(of_four, texts):
    model = of_four
    kernel, bias, idf = (np.array(weight) for weight in model.weights)
    tf_idf = TfidfTransformer(sublinear_tf=True)
    tf_idf.idf_ = idf
    expected = tf_idf.transform(model.counts([texts])) @ kernel + bias
    received = model([tf.constant(texts)])
    np.testing.assert_allclose(received, expected, atol=1e-4)
    # Invalid UTF-8 is as if it were not there.
    ignored = [text.decode("utf-8", "ignore") for text in texts]
    np.testing.assert_array_equal(received, model([ignored]))


def test_columns_stand_apart():
    model = NgramModel(2, 4)
    set_weights(model)
    both = model([["ab"], ["cd"]])
    np.testing.assert_array_equal(both, model([["ab\ncd"]]))


def test_of_long_texts_the_beginning_is_read():
    model = NgramModel(2, 4)
    set_weights(model)
    whole = "é" * (MOST_CHARACTERS - 1) + "z"
    np.testing.assert_array_equal(
        model([[whole + "tail" * 10_000]]), model([[whole]])
    )
    assert not np.array_equal(model([[whole]]), model([[whole[:-1]]]))


# === Learning ===


@pytest.mark.parametrize("classes", [2, 3])
def test_learns_the_classes_in_order(classes):
    texts = [f"{'xyz'[i % classes]}{i % 7}" for i in range(60)]
    targets = np.arange(60) % classes
    model = NgramModel(classes, 4)
    unseen = model.fit([texts], targets)
    assert unseen.shape == (60, classes) and unseen.dtype == np.float32
    for logits in (unseen, model([texts])):
        np.testing.assert_array_equal(np.argmax(logits, axis=1), targets)


@pytest.mark.parametrize("classes", [2, 3])
def test_what_it_returns_was_not_learned_from(classes):
    draw = np.random.default_rng(0)
    texts = ["".join(draw.choice(list("abcdefgh"), 12)) for _ in range(120)]
    targets = draw.integers(classes, size=120)
    model = NgramModel(classes, 4)
    unseen = model.fit([texts], targets)
    by_heart, by_chance = (
        np.mean(np.argmax(logits, axis=1) == targets)
        for logits in (model([texts]), unseen)
    )
    assert by_chance < 1 / classes + 0.15
    assert by_heart > by_chance + 0.2


def test_weights_of_rows_count():
    texts = ["same"] * 40
    targets = np.arange(40) % 2
    model = NgramModel(2, 4)
    even = model.fit([texts], targets)
    weight = np.where(targets == 1, 9.0, 1.0).astype("float32")
    shifted = model.fit([texts], targets, weight)
    # As many of both, or nine times as much of the second.
    assert abs((even[:, 1] - even[:, 0]).mean()) < 0.3
    assert (shifted[:, 1] - shifted[:, 0]).mean() > 1.5


@pytest.mark.parametrize("classes", [3, 4])
def test_a_class_of_one_text_leaves_the_others_alone(classes):
    # The last class has one text, and the others 20 each.
    common = classes - 1
    texts = [f"{'xyz'[i % common]}{i % 7}" for i in range(20 * common)]
    targets = np.append(np.arange(20 * common) % common, common)
    model = NgramModel(classes, 4)
    unseen = model.fit([[*texts, "q9"]], targets)
    for logits in (unseen, model([[*texts, "q9"]])):
        assert (np.argmax(logits, axis=1)[:-1] == targets[:-1]).all()
    assert np.isfinite(unseen).all()


def test_one_text_of_a_class_is_too_few():
    model = NgramModel(2, 4)
    set_weights(model)
    unseen = model.fit([["a", "b", "c"]], np.array([0, 0, 1]))
    assert not unseen.any()
    assert not any(np.array(weight).any() for weight in model.weights)


def test_is_the_same_again(written):
    texts, labels = written
    targets = np.array([label == "loud" for label in labels], "int32")
    first, second = NgramModel(2, 4), NgramModel(2, 4)
    np.testing.assert_array_equal(
        first.fit([texts], targets), second.fit([texts], targets)
    )
    for a, b in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(a, b)


# === Beside a head ===


@pytest.mark.parametrize(
    "layout",
    [
        "auto",
        *(
            pytest.param(x, marks=pytest.mark.large)
            for x in ("padded", "packed")
        ),
    ],
)
def test_tells_what_tokens_do_not(written, layout):
    x, y = written
    clf = small()
    clf.fit(x, y, epochs=1, layout=layout, verbose=0)
    assert clf.predict(["Ring fay", "RING FAY"]) == ["calm", "loud"]
    assert clf.evaluate(x, y)["accuracy"] == 1.0


def test_backbone_trains_with_unseen_logits(written, monkeypatch):
    x, y = written
    clf = small(labels=["calm", "loud"])
    unseen = np.random.default_rng(0).normal(size=(len(x), 2))
    unseen = unseen.astype("float32")
    monkeypatch.setattr(clf.ngrams, "fit", lambda *_: unseen)
    seen = []

    laid_out = clf.laid_out

    def spying(layout):
        form = laid_out(layout)
        call = form.call

        def spy(inputs, training=None, mask=None):
            # Keras asks for the shapes, too.
            if training and isinstance(inputs["ngram_logits"], tf.Tensor):
                seen.append(inputs["ngram_logits"].numpy())
            return call(inputs, training, mask)

        vars(form)["call"] = spy
        return form

    monkeypatch.setattr(clf, "laid_out", spying)
    # Up to 6 steps are taken eagerly.
    clf.fit(x, y, epochs=1, batch_size=16, verbose=0)
    received = np.concatenate(seen)
    np.testing.assert_array_equal(
        received[np.lexsort(received.T)], unseen[np.lexsort(unseen.T)]
    )


def test_is_saved_loaded_and_trained_on(written, tmp_path):
    x, y = written
    clf = small()
    clf.fit(x, y, epochs=1, verbose=0)
    expected = clf.predict_proba(x)
    clf.save(tmp_path / "saved")
    loaded = kbert.load(tmp_path / "saved")
    np.testing.assert_allclose(loaded.predict_proba(x), expected, atol=1e-6)
    other = ["calm" if label == "loud" else "loud" for label in y]
    loaded.fit(x, other, epochs=1, verbose=0)
    assert loaded.evaluate(x, other)["accuracy"] == 1.0


def test_a_run_goes_on(written, tmp_path):
    x, y = written

    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    def run(folder, *callbacks):
        clf = small(labels=["calm", "loud"])
        options = {"epochs": 2, "verbose": 0, "callbacks": [*callbacks]}
        clf.fit(x, y, run_dir=tmp_path / folder, **options)
        return clf

    whole = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("halted", Kill())
    again = run("halted")
    for a, b in zip(whole.weights(), again.weights(), strict=True):
        if "seed_generator" not in a.path:
            np.testing.assert_array_equal(a, b)


def test_export(written, tmp_path):
    x, y = written
    clf = small()
    clf.fit(x, y, epochs=1, verbose=0)
    version = clf.export(tmp_path / "served", check_ops="2.12.1")
    signatures = tf.saved_model.load(str(version)).signatures
    assert set(signatures) == {"serving_default", "classify", "explain"}
    answers = signatures["serving_default"](text=tf.constant(x))
    np.testing.assert_allclose(
        answers["probabilities"], clf.predict_proba(x), atol=1e-5
    )
    why = signatures["explain"](text=tf.constant(x))
    np.testing.assert_allclose(
        why["value"], clf.predict_proba(x).max(1), atol=1e-5
    )
    card = json.loads((version / "assets.extra/kbert.json").read_text())
    assert card["head"]["config"]["ngrams"] == 4


# === Where it cannot stand ===


@pytest.mark.parametrize("format", ["onnx", "litert", "int8"])
def test_forms_that_take_tokens_are_refused(tmp_path, format):
    clf = small(labels=["a", "z"])
    with pytest.raises(ExportError, match="Received: ngrams=4"):
        clf.export(tmp_path / "out", format=format)
    with pytest.raises(ExportError, match="Received: ngrams=4"):
        clf.save_pretrained(tmp_path / "out")


@pytest.mark.parametrize("head", ["sentiment", "regression", "multi_label"])
def test_heads_of_another_end_are_refused(head):
    with pytest.raises(ConfigError, match="`ngrams` is for heads that end"):
        small(head)


@pytest.mark.parametrize("longest", [True, -1, 9, 2.0, "4"])
def test_wrong_lengths_are_refused(longest):
    with pytest.raises(ConfigError, match="integer from 0 to 8"):
        small(ngrams=longest)


def test_adaptive_softmax_is_refused():
    with pytest.raises(ConfigError, match="Leave one out"):
        small(adaptive_softmax=True)


def test_few_shot_is_refused(written):
    with pytest.raises(ConfigError, match="Received: ngrams=4"):
        small().fit(*written, method="few_shot")


def test_several_tasks_are_refused(monkeypatch):
    heads = {"a": ClassificationHead(ngrams=3), "b": "classification"}
    with pytest.raises(ConfigError, match="ngrams=3 for 'a'"):
        kbert.MultiTask("random:1x64", heads=heads)
    # A plugin's head may have them of its own accord.
    monkeypatch.setattr(
        kbert.multitask, "make_head", lambda *_: ClassificationHead(ngrams=2)
    )
    with pytest.raises(ConfigError, match="ngrams=2 for 'b'"):
        kbert.MultiTask("random:1x64", heads={"b": "classification"})
