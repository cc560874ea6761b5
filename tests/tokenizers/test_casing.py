"""Models that are told how words are written."""

import json

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import kbert
from kbert.checkpoints.loading import open_checkpoint
from kbert.errors import CheckpointError
from kbert.errors import ConfigError
from kbert.errors import ExportError
from kbert.tokenizers.casing import CAPITAL
from kbert.tokenizers.casing import CAPITALS
from kbert.tokenizers.casing import LOWER
from kbert.tokenizers.casing import casing_of
from kbert.tokenizers.windows import make_windows

WORDS = {
    "free": LOWER,
    "Free": CAPITAL,
    "FREE": CAPITALS,
    "A": CAPITAL,
    "iPhone": CAPITAL,
    "McDonald": CAPITAL,
    "4U": CAPITAL,
    "B2B": CAPITALS,
    "123": LOWER,
    "": LOWER,
    "École": CAPITAL,
    "ÉCOLE": CAPITALS,
    "Ǆ": CAPITAL,
    "ǅ": CAPITAL,
    "中文": LOWER,
    "ΑΒ": CAPITALS,
}


def small(head="classification", **options):
    options = {"casing": True, "max_length": 16, "seed": 0} | options
    return kbert.Classifier("random:1x64", head=head, **options)


def tokenizer(**options):
    return open_checkpoint("random:tiny", casing=True, **options).tokenizer


def test_words():
    found = casing_of(tf.constant(list(WORDS))).numpy()
    assert dict(zip(WORDS, found.tolist(), strict=True)) == WORDS


# Of other alphabets Python and RE2 know different versions of Unicode.
@given(st.text(st.characters(max_codepoint=127), max_size=12))
def test_words_as_python_says(word):
    capitals = sum(c.isupper() for c in word)
    lower = any(c.islower() for c in word)
    expected = LOWER
    if capitals:
        expected = CAPITALS if capitals > 1 and not lower else CAPITAL
    assert casing_of(tf.constant([word])).numpy()[0] == expected


def test_segment_ids_of_a_pair():
    tokens = tokenizer()(["Hi YO a"], ["b Cd"], max_length=16)
    assert tokens["segment_ids"].to_list() == [
        # [CLS] h ##i y ##o a [SEP] b c ##d [SEP]
        [0, 2, 2, 4, 4, 0, 0, 1, 3, 3, 1]
    ]


def test_without_it_nothing_differs():
    plain = open_checkpoint("random:tiny").tokenizer
    texts = ["Hi YO a", "", "ÉA b"]
    ours = tokenizer()(texts, max_length=8, offsets=True)
    theirs = plain(texts, max_length=8, offsets=True)
    assert sum(theirs["segment_ids"].values.numpy()) == 0
    for key in ("token_ids", "starts", "ends"):
        assert ours[key].to_list() == theirs[key].to_list()


def test_truncation_keeps_each_token_its_casing():
    text = "a B cc DD e"
    whole = tokenizer()([text], max_length=32)
    for truncation in ("head", "head_tail"):
        cut = tokenizer()([text], max_length=6, truncation=truncation)
        pairs = {
            tuple(pair)
            for pair in zip(
                whole["token_ids"].to_list()[0],
                whole["segment_ids"].to_list()[0],
                strict=True,
            )
        }
        assert pairs >= set(
            zip(
                cut["token_ids"].to_list()[0],
                cut["segment_ids"].to_list()[0],
                strict=True,
            )
        )


def test_windows_have_it_for_both_texts():
    windows = make_windows(
        tokenizer(), ["Who"], ["Ann saw BOB"], max_length=12, overlap=2
    )
    # [CLS] w ##h ##o [SEP], then pieces of the context, [SEP].
    first = windows["segment_ids"].to_list()[0]
    assert first[:6] == [0, 2, 2, 2, 0, 3]
    last = windows["segment_ids"].to_list()[-1]
    assert last[-4:] == [5, 5, 5, 1]


@pytest.mark.parametrize("written", ["what a day", "WHAT a Day"])
def test_nothing_differs_before_training(written, tmp_path):
    small(casing=False, labels=["a", "b"]).save(tmp_path / "plain")
    plain = kbert.Classifier(tmp_path / "plain", labels=["a", "b"], seed=1)
    told = kbert.Classifier(
        tmp_path / "plain", labels=["a", "b"], seed=1, casing=True
    )
    assert told.backbone.config["num_segments"] == 6
    table = np.asarray(told.backbone.embeddings.segment_embedding.embeddings)
    np.testing.assert_array_equal(table[:2], table[4:])
    encode = {
        clf: clf.backbone(clf.tokenizer.pad(clf.tokens([[written]])))
        for clf in (plain, told)
    }
    np.testing.assert_array_equal(
        encode[plain]["sequence_output"], encode[told]["sequence_output"]
    )


def test_learns_what_lower_case_hides():
    x = ["go", "GO", "no", "NO", "on", "ON", "an", "AN"] * 8
    y = ["quiet", "loud"] * 32
    clf = small(dropout=0.0)
    clf.fit(x, y, epochs=12, learning_rate=3e-3, verbose=0)
    assert clf.predict(["na", "NA"]) == ["quiet", "loud"]


def test_saved_and_exported(tmp_path):
    clf = small(labels=["a", "b"], max_length=12)
    # Segments that differ, as after training.
    table = clf.backbone.embeddings.segment_embedding.embeddings
    table.assign(np.random.default_rng(0).normal(size=table.shape))
    texts = ["What A DAY", "what a day", ""]
    expected = clf.predict_proba(texts)
    assert np.abs(expected[0] - expected[1]).max() > 1e-4
    clf.save(tmp_path / "saved")
    loaded = kbert.load(tmp_path / "saved")
    assert loaded.tokenizer.casing
    np.testing.assert_allclose(loaded.predict_proba(texts), expected, atol=1e-6)
    # Also as a preset, which has all the segments then.
    again = kbert.Classifier(tmp_path / "saved", labels=["a", "b"], casing=True)
    np.testing.assert_array_equal(
        again.backbone.embeddings.segment_embedding.embeddings, table
    )
    clf.export(tmp_path / "exported", version=1)
    served = tf.saved_model.load(str(tmp_path / "exported" / "1"))
    answers = served.signatures["serving_default"](text=tf.constant(texts))
    np.testing.assert_allclose(answers["probabilities"], expected, atol=1e-5)
    why = served.signatures["explain"](text=tf.constant(texts))
    assert set(why["input"].numpy().ravel()) == {0}


def test_entities(tmp_path, unexplained):
    clf = small(head="ner", labels=["PER"])
    clf.export(tmp_path / "exported", version=1)
    texts = ["Ann saw BOB", "x"]
    served = tf.saved_model.load(str(tmp_path / "exported" / "1"))
    answers = served.signatures["serving_default"](text=tf.constant(texts))
    counts = [len(entities) for entities in clf.predict(texts)]
    assert answers["count"].numpy().tolist() == counts


def test_several_tasks():
    multi = kbert.MultiTask(
        "random:tiny",
        heads={"a": "classification"},
        casing=True,
    )
    assert multi.tokenizer.casing


# === What is refused ===


def test_cased_vocabulary():
    with pytest.raises(ConfigError, match="`casing` is for a lower-cased"):
        small(lowercase=False)
    with pytest.raises(ConfigError, match="lowercase=False"):
        kbert.Tokenizer(tokenizer().vocabulary, lowercase=False, casing=True)


def test_backbone_without_the_segments():
    backbone = open_checkpoint("random:tiny").build()
    head = small(labels=["a", "b"]).head
    with pytest.raises(ConfigError, match="backbone of 6 segment ids"):
        kbert.Classifier.on(backbone, tokenizer(), head)


@pytest.mark.parametrize("format", ["onnx", "litert", "int8"])
def test_formats_of_token_ids(format, tmp_path):
    clf = small(labels=["a", "b"])
    with pytest.raises(ExportError, match="casing=True"):
        clf.export(tmp_path / "out", format=format)
    assert not (tmp_path / "out").exists()


def test_frameworks_with_another_tokenizer(tmp_path):
    from kbert.export import kerashub

    clf = small(labels=["a", "b"], pooling="cls")
    with pytest.raises(ExportError, match="casing=True"):
        clf.save_pretrained(tmp_path / "out")
    clf.backbone.config["activation"] = "gelu_new"
    with pytest.raises(ExportError, match="casing=True"):
        kerashub.save_task(clf, tmp_path / "out")


def test_saved_model_whose_backbone_has_no_segments(tmp_path):
    small(labels=["a", "b"], casing=False).save(tmp_path / "saved")
    path = tmp_path / "saved" / "kbert.json"
    config = json.loads(path.read_text())
    config["tokenizer"]["casing"] = True
    path.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="6 segment ids"):
        kbert.load(tmp_path / "saved")
