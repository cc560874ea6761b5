"""Copies: by `copy`, `pickle` and joblib, of all that kbert gives people."""

import copy
import json
import pickle
import random

import joblib
import numpy as np
import pytest

import kbert
from kbert.errors import ConfigError

FAST = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3, "verbose": 0}


def by_pickle(model):
    return pickle.loads(pickle.dumps(model))


WAYS = {"pickle": by_pickle, "deepcopy": copy.deepcopy, "copy": copy.copy}


def weights(front):
    return [np.array(weight) for weight in front.model.weights]


def assert_equal(one, other):
    for a, b in zip(weights(one), weights(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def data():
    texts = [f"{word} {i}" for i in range(12) for word in ("aaa bb", "zz yyy")]
    return texts, ["a", "z"] * 12


@pytest.fixture(scope="module")
def trained(data):
    clf = kbert.Classifier("random:1x64", seed=3, ngrams=2)
    clf.fit(*data, **FAST)
    clf.backbone.embeddings.trainable = False
    return clf


# All go by one `__reduce__`; `copy` copies the least of what that gives.
EACH_WAY = pytest.mark.parametrize(
    "way",
    [
        "pickle",
        pytest.param("copy", marks=pytest.mark.large),
        pytest.param("deepcopy", marks=pytest.mark.large),
    ],
)


@EACH_WAY
def test_a_copy_answers_and_trains_the_same(way, trained, data):
    model = by_pickle(trained)  # One that this test may change.
    other = WAYS[way](model)
    np.testing.assert_array_equal(
        model.predict_proba(data[0]), other.predict_proba(data[0])
    )
    assert (other.seed, other.labels, other.training) == (
        model.seed,
        model.labels,
        model.training,
    )
    frozen = other.backbone.embeddings.token_embedding.embeddings
    assert not frozen.trainable
    before = weights(model)
    other.fit(*data, **FAST)
    # Nothing is shared.
    for a, b in zip(before, weights(model), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(
        frozen, model.backbone.embeddings.token_embedding.embeddings
    )
    model.fit(*data, **FAST)
    assert_equal(model, other)


@EACH_WAY
def test_before_the_labels_are_known(way, data):
    model = kbert.Classifier("random:1x64", seed=3)
    state = random.getstate()
    other = WAYS[way](model)
    assert random.getstate() == state  # It draws nothing for others.
    for front in (other, model):
        front.fit(*data, **FAST)
    assert_equal(model, other)


HEADS = {
    "spam": {"labels": ["ham", "spam"], "threshold": 0.3},
    "sentiment": {"labels": ["bad", "good"]},
    "news": {"labels": ["a", "b", "c"]},
    "ner": {"labels": ["X"]},
    "qa": {"no_answer": True},
    "multi_label": {"labels": ["a", "b"], "thresholds": [0.1, 0.9]},
    "classification": {
        "labels": [str(i) for i in range(30)],
        "adaptive_softmax": True,
        "label_counts": list(range(30)),
    },
}


@pytest.mark.parametrize("head", HEADS)
def test_every_head(head):
    pairs = head in ("news", "qa")
    asked = [("aa bb", "zz")] if pairs else ["aa bb", "zz", "北京"]
    model = kbert.Classifier("random:1x64", head=head, **HEADS[head])
    other = by_pickle(model)
    assert other.head is not model.head
    one, two = model.answers(asked), other.answers(asked)
    assert one.keys() == two.keys()
    for key, value in one.items():
        np.testing.assert_array_equal(value, two[key])


def test_several_tasks_share_their_backbones_copy(data):
    heads = {"x": "classification", "y": "spam"}
    model = kbert.MultiTask("random:1x64", heads, seed=0)
    # So few that no graph is made.
    texts, labels = (column[:8] for column in data)
    rows = {"x": (texts, labels), "y": (texts, ["ham", "spam"] * 4)}
    other = copy.copy(model)
    assert other["x"].backbone is other["y"].backbone is other.backbone
    assert other.backbone is not model.backbone
    other.fit(rows, **FAST)
    model.fit(rows, **FAST)
    assert_equal(model, other)
    alone = by_pickle(model["x"])
    assert alone.predict(data[0]) == model["x"].predict(data[0])


def test_an_embedder_and_its_index(tmp_path):
    texts = ["a cat", "a car", "zz"]
    embedder = kbert.Embedder("random:1x64", seed=0, normalize=True)
    index = kbert.SearchIndex(embedder, texts)
    joblib.dump(index, tmp_path / "index.joblib")
    other = joblib.load(tmp_path / "index.joblib")
    assert other.search("a cat", k=3) == index.search("a cat", k=3)
    np.testing.assert_array_equal(
        other.embedder.encode(texts), embedder.encode(texts)
    )
    pairs = list(zip(texts, texts[::-1], strict=True))
    for front in (other.embedder, embedder):
        front.fit(pairs, **FAST)
    assert_equal(embedder, other.embedder)


def test_a_tokenizer_and_a_head():
    clf = kbert.Classifier("random:1x64", labels=["a", "z"], casing=True)
    for way in WAYS.values():
        tokenizer, head = way(clf.tokenizer), way(clf.head)
        assert tokenizer.get_config() == clf.tokenizer.get_config()
        for key, value in clf.tokenizer(["Aa bb"], max_length=9).items():
            other = tokenizer(["Aa bb"], max_length=9)[key]
            assert other.to_list() == value.to_list()
        assert type(head) is type(clf.head)
        assert head.get_config() == clf.head.get_config()


def test_layers_that_were_changed_by_hand():
    clf = kbert.Classifier("random:1x64", labels=["a", "z"])
    clf.model.get_layer("logits").enable_lora(2)
    with pytest.raises(kbert.KbertError, match="changed by hand.*kbert.load"):
        copy.deepcopy(clf)


def test_what_holds_files_says_what_to_do(corpus, tmp_path):
    pytest.importorskip("onnxruntime")
    clf = kbert.Classifier("random:1x64", labels=["a", "z"])
    clf.export(tmp_path / "onnx", format="onnx")
    things = {
        "kbert.OnnxModel": kbert.OnnxModel(tmp_path / "onnx"),
        "run_dir": kbert.Pretrainer(corpus, "random:1x32", sequence_length=16),
    }
    for words, thing in things.items():
        for way in WAYS.values():
            with pytest.raises(ConfigError, match=words):
                way(thing)


def test_a_copy_in_another_process_and_on_another_backend(
    trained, data, tmp_path, on_jax
):
    path = tmp_path / "clf.pickle"
    path.write_bytes(pickle.dumps(trained))
    program = """
import json, pickle, sys
with open(sys.argv[1], "rb") as file:
    clf = pickle.load(file)
print(json.dumps(clf.predict_proba(["aaa bb 3", "zz yyy 1"]).tolist()))
"""
    expected = trained.predict_proba(["aaa bb 3", "zz yyy 1"])
    received = np.array(json.loads(on_jax(program, str(path))))
    np.testing.assert_allclose(received, expected, atol=1e-5)
