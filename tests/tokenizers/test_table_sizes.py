"""Ids that a backbone's tables lack are refused when a model is made."""

import json

import numpy as np
import pytest

import kbert
from kbert.errors import CheckpointError
from kbert.errors import ConfigError
from kbert.heads.classification import ClassificationHead

PAIRS = [("a b", "c"), ("d", "e f")] * 4
ONE = {"max_length": 16, "seed": 0}


@pytest.fixture(scope="module")
def one_segment(tmp_path_factory):
    """A preset with type_vocab_size 1."""
    folder = tmp_path_factory.mktemp("one") / "preset"
    clf = kbert.Classifier("random:1x32", max_length=16)
    config = clf.backbone.config | {"num_segments": 1}
    kbert.save_backbone(kbert.Backbone(**config), folder, clf.tokenizer)
    found = json.loads((folder / "config.json").read_text())
    assert found["type_vocab_size"] == 1
    return folder


def test_single_texts_need_one_segment(one_segment):
    clf = kbert.Classifier(one_segment, labels=["x", "y"], **ONE)
    assert np.isfinite(clf.predict_proba(["a"])).all()
    # Of pairs an embedder reads each text by itself.
    assert kbert.Embedder(one_segment).similarity(["a"], ["b"]).shape == (1, 1)


def test_pairs_need_two(one_segment):
    clf = kbert.Classifier(one_segment, **ONE)
    with pytest.raises(ConfigError, match="num_segments=1"):
        clf.fit(PAIRS, ["x", "y"] * 4, epochs=1, verbose=0)
    for options in ({"inputs": ("one", "two")}, {"head": "qa"}):
        with pytest.raises(ConfigError, match="num_segments=1"):
            kbert.Classifier(one_segment, **options, **ONE)
    with pytest.raises(ConfigError, match="num_segments=1"):
        kbert.MultiTask(one_segment, {"one": "qa"}, max_length=16)
    with pytest.raises(ConfigError, match="casing"):
        kbert.Classifier(one_segment, casing=True, **ONE)


def test_pretraining_of_pairs_needs_two(one_segment, corpus, tmp_path):
    folder = tmp_path / "preset"
    made = kbert.Pretrainer(corpus, "random:1x32", sequence_length=32)
    config = made.backbone.config | {"num_segments": 1}
    tokenizer = kbert.Tokenizer(corpus.vocabulary, lowercase=corpus.lowercase)
    kbert.save_backbone(kbert.Backbone(**config), folder, tokenizer)
    for objectives in ({"mlm": 1.0, "nsp": 1.0}, {"sop": 1.0}):
        with pytest.raises(ConfigError, match="num_segments=1"):
            kbert.Pretrainer(
                corpus, folder, sequence_length=32, objectives=objectives
            )
    kbert.Pretrainer(
        corpus, folder, sequence_length=32, objectives={"mlm": 1.0}
    )


def test_tokens_that_have_no_embedding(tmp_path):
    clf = kbert.Classifier("random:1x32", labels=["x", "y"], **ONE)
    more = kbert.Tokenizer([*clf.tokenizer.vocabulary, "added"])
    head = ClassificationHead(["x", "y"])
    with pytest.raises(ConfigError, match="tokens were added"):
        kbert.Classifier.on(clf.backbone, more, head, max_length=16)
    clf.save(tmp_path / "saved")
    with open(tmp_path / "saved" / "vocab.txt", "a") as file:
        file.write("added\n")
    with pytest.raises(CheckpointError, match="tokens were added"):
        kbert.load(tmp_path / "saved")


@pytest.mark.parametrize("length", [2, 513, "16", 16.0, True, None])
def test_positions(length):
    with pytest.raises(ConfigError, match="`max_length` must be an integer"):
        kbert.Classifier("random:1x32", max_length=length)
