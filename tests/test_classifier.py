"""`Classifier` as a user meets it: fit, predict, evaluate, bad input."""

import contextlib
import json
import resource

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import kbert
from kbert.data.texts import encode_texts
from kbert.errors import CheckpointError
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.errors import PluginError
from kbert.errors import UnknownNameError
from kbert.training.reading import read_examples

FAST = {"epochs": 1, "batch_size": 8, "verbose": 0}


def tiny(**options):
    return kbert.Classifier("random:1x64", **({"seed": 0} | options))


@pytest.fixture(scope="module")
def trained():
    texts = [f"{word} {i}" for i in range(12) for word in ("aaa bb", "zz yyy")]
    labels = ["a", "z"] * 12
    clf = tiny()
    clf.fit(
        texts, labels, epochs=6, batch_size=8, learning_rate=1e-3, verbose=0
    )
    return clf, texts, labels


# === The way through ===


def test_learns(trained):
    clf, texts, labels = trained
    assert clf.predict(texts) == labels
    assert clf.labels == ["a", "z"]


def test_predict_proba_has_the_labels_columns(trained):
    clf, texts, _ = trained
    probabilities = clf.predict_proba(texts)
    assert probabilities.shape == (24, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    best = [clf.labels[i] for i in probabilities.argmax(axis=1)]
    assert best == clf.predict(texts)


def test_answers_come_in_the_order_of_the_texts(trained):
    clf, _, _ = trained
    texts = ["zz " * n for n in (30, 1, 12, 5, 25, 2, 9)] + ["aaa"]
    together = clf.predict_proba(texts, batch_size=3)
    alone = np.concatenate([clf.predict_proba([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_stream_equals_predict(trained):
    clf, texts, _ = trained
    rows = list(clf.stream(iter(texts), window=5))
    assert [row["label"] for row in rows] == clf.predict(texts)


def test_evaluate(trained):
    clf, texts, labels = trained
    report = clf.evaluate(texts, ["a"] * 24)
    assert report["accuracy"] == 0.5
    assert report["confusion_matrix"] == [[12, 12], [0, 0]]
    assert report["per_class"]["a"]["recall"] == 0.5
    assert clf.evaluate(texts, labels)["macro_f1"] == 1.0
    json.dumps(report)


def test_returns_history_and_the_model_is_keras(toy):
    clf = tiny(labels=["a", "z"])
    assert isinstance(clf.model, keras.Model)
    history = clf.fit(*toy, validation_split=0.25, **FAST)
    assert isinstance(history, keras.callbacks.History)
    assert {"loss", "accuracy", "val_accuracy"} <= set(history.history)
    clf.model.compile("sgd", clf.head.loss())
    batch = clf.tokenize([toy[0]]).take(np.arange(4))
    clf.model.fit(batch, np.array([0, 1, 0, 1]), verbose=0)


def test_same_seed_same_model(toy):
    def run(seed):
        clf = tiny(seed=seed)
        clf.fit(*toy, **FAST)
        return clf.predict_proba(toy[0])

    first = run(1)
    np.testing.assert_array_equal(first, run(1))
    assert np.abs(first - run(2)).max() > 1e-4


FORMS = {
    "list": lambda x, y: (x, y),
    "tuple": lambda x, y: (tuple(x), tuple(y)),
    "array": lambda x, y: (np.array(x), np.array(y)),
    "bytes": lambda x, y: ([text.encode() for text in x], y),
    "pandas": lambda x, y: (pd.Series(x), pd.Series(y)),
    "pandas categories": lambda x, y: (x, pd.Series(y, dtype="category")),
    "data frame": lambda x, y: (pd.DataFrame({"text": x}), y),
    "dict": lambda x, y: ({"text": x}, y),
    "dataset": lambda x, y: (tf.data.Dataset.from_tensor_slices((x, y)), None),
    "batched dataset": lambda x, y: (
        tf.data.Dataset.from_tensor_slices((x, y)).batch(5),
        None,
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_data_is_read_the_same(toy, name):
    clf = tiny(labels=["a", "z"])
    columns, labels, _ = read_examples(clf, *FORMS[name](*toy))
    assert [encode_texts(column) for column in columns] == [
        encode_texts(toy[0])
    ]
    assert labels == toy[1]
    assert {type(label) for label in labels} == {str}


def test_fit_takes_a_dataset_and_validates_on_one(toy):
    def dataset():
        return tf.data.Dataset.from_tensor_slices(toy).batch(5)

    clf = tiny()
    history = clf.fit(dataset(), validation_data=dataset(), **FAST)
    assert "val_accuracy" in history.history


def test_integer_labels_stay_integers(toy):
    texts, labels = toy
    clf = tiny()
    clf.fit(texts, [7 if label == "a" else -3 for label in labels], **FAST)
    assert clf.labels == [-3, 7]
    assert set(map(type, clf.predict(texts))) == {int}


def test_labels_in_a_given_order(toy):
    clf = tiny(labels=["z", "a"])
    clf.fit(*toy, **FAST)
    assert clf.labels == ["z", "a"]


def test_pairs(toy):
    texts, labels = toy
    clf = tiny()
    clf.fit([(text, "b c") for text in texts], labels, **FAST)
    assert clf.inputs == ("text", "text_pair")
    array = np.array([[text, "b c"] for text in texts])
    frame = {"text": texts, "text_pair": ["b c"] * 24}
    np.testing.assert_allclose(
        clf.predict_proba(array), clf.predict_proba(frame)
    )
    with pytest.raises(ConfigError, match="2 text"):
        clf.predict(texts)


def test_class_weight_and_sample_weight(toy):
    texts, labels = toy
    heavy = tiny()
    options = FAST | {"learning_rate": 1e-3}
    heavy.fit(texts, labels, class_weight={"a": 50.0, "z": 0.0}, **options)
    same = tiny()
    weights = [50.0 if label == "a" else 0.0 for label in labels]
    same.fit(texts, labels, sample_weight=weights, **options)
    np.testing.assert_allclose(
        heavy.predict_proba(texts), same.predict_proba(texts), atol=1e-6
    )
    assert set(heavy.predict(texts)) == {"a"}


def test_early_stopping_keeps_the_best_weights(toy):
    clf = tiny()
    scores = []

    class Worsen(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs):
            # From the second epoch on the weights are useless.
            logs["val_accuracy"] = 1.0 if epoch == 0 else 0.0
            scores.append(clf.predict_proba(toy[0]))

    history = clf.fit(
        *toy,
        validation_split=0.25,
        early_stopping=2,
        callbacks=[Worsen()],
        **(FAST | {"epochs": 9}),
    )
    assert len(history.epoch) == 3
    np.testing.assert_allclose(clf.predict_proba(toy[0]), scores[0], atol=1e-6)


def test_second_fit_goes_on(toy):
    clf = tiny()
    clf.fit(*toy, **FAST)
    before = clf.predict_proba(toy[0])
    clf.fit(*toy, **FAST)
    assert np.abs(clf.predict_proba(toy[0]) - before).max() > 0


def test_mixed_precision(toy):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        clf = tiny()
        clf.fit(*toy, **FAST)
        assert clf.backbone.encoder[0].compute_dtype == "bfloat16"
        assert clf.model.output.dtype == "float32"
        assert np.isfinite(clf.predict_proba(toy[0])).all()
    finally:
        keras.config.set_dtype_policy(policy)


@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler"])
def test_pooling(toy, pooling):
    clf = tiny(pooling=pooling)
    clf.fit(*toy, **FAST)
    unused = any("pooler" in w.path for w in clf.model.weights)
    assert unused == (pooling == "pooler")


def test_learns_on_jax(on_jax):
    code = (
        "import keras, kbert\n"
        "assert keras.backend.backend() == 'jax'\n"
        "x = [f'{w} {i}' for i in range(12) for w in ('aaa bb', 'zz yyy')]\n"
        "y = ['a', 'z'] * 12\n"
        "clf = kbert.Classifier('random:1x64', seed=0)\n"
        # No batch is smaller than others, which would be compiled, too.
        "clf.fit(x, y, epochs=6, batch_size=6, learning_rate=1e-3,\n"
        "        validation_split=0.25, layer_decay=0.9, r_drop=1.0,\n"
        "        verbose=0)\n"
        "assert clf.predict(x) == y\n"
    )
    on_jax(code)


# === Save and load ===


def test_save_and_load(trained, tmp_path):
    clf, texts, _ = trained
    clf.save(tmp_path / "m")
    again = kbert.load(tmp_path / "m")
    np.testing.assert_array_equal(
        again.predict_proba(texts), clf.predict_proba(texts)
    )
    assert again.labels == clf.labels
    assert again.training["rows"] == 24


def test_fit_goes_on_after_load(trained, tmp_path):
    clf, texts, labels = trained
    clf.save(tmp_path / "m")
    again = kbert.load(tmp_path / "m")
    again.fit(texts, labels, **FAST)
    assert again.labels == clf.labels
    assert np.abs(again.predict_proba(texts) - clf.predict_proba(texts)).max()


def test_a_saved_folder_is_a_preset(trained, tmp_path):
    clf, texts, _ = trained
    clf.save(tmp_path / "m")
    again = kbert.Classifier(tmp_path / "m", labels=["x", "y"])
    batch = clf.tokenize([texts]).take(np.arange(4))
    np.testing.assert_allclose(
        np.array(again.backbone(batch)["sequence_output"]),
        np.array(clf.backbone(batch)["sequence_output"]),
        atol=1e-6,
    )


def test_save_does_not_touch_other_folders(trained, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CheckpointError, match="holds something else"):
        trained[0].save(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@contextlib.contextmanager
def small_files():
    """Files cannot grow beyond 100 KB, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk_keeps_the_earlier_save(trained, tmp_path):
    clf, texts, _ = trained
    clf.save(tmp_path / "m")
    with small_files():
        with pytest.raises(CheckpointError, match="File too large.*make room"):
            clf.save(tmp_path / "m")
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
    assert kbert.load(tmp_path / "m").predict(texts[:2]) == ["a", "z"]


def test_full_disk_leaves_no_half_export(trained, tmp_path, unexplained):
    with small_files():
        with pytest.raises(CheckpointError, match="make room") as raised:
            trained[0].export(tmp_path / "m")
    assert "Received: File too large. Nothing" in str(raised.value)
    assert list((tmp_path / "m").iterdir()) == []


@pytest.mark.parametrize("size", [0, 7, 1000])
def test_truncated_weights(trained, tmp_path, size):
    trained[0].save(tmp_path / "m")
    weights = tmp_path / "m" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:size])
    with pytest.raises(CheckpointError, match="truncated or corrupt"):
        kbert.load(tmp_path / "m")


def test_weights_of_another_model(trained, tmp_path):
    trained[0].save(tmp_path / "m")
    path = tmp_path / "m" / "kbert.json"
    config = json.loads(path.read_text())
    config["backbone"]["intermediate_dim"] = 100
    path.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="intermediate.dense.weight has"):
        kbert.load(tmp_path / "m")


def test_plugin_that_is_not_installed(trained, tmp_path):
    trained[0].save(tmp_path / "m")
    path = tmp_path / "m" / "kbert.json"
    config = json.loads(path.read_text())
    config["head"] |= {
        "name": "sarcasm",
        "plugin": "kbert-sarcasm",
        "version": "1.2",
    }
    path.write_text(json.dumps(config))
    with pytest.raises(PluginError, match="pip install 'kbert-sarcasm>=1.2'"):
        kbert.load(tmp_path / "m")


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"format": 99}', '{"format": 1}']
)
def test_broken_configuration(tmp_path, content):
    (tmp_path / "kbert.json").write_text(content)
    with pytest.raises(CheckpointError, match="Expected"):
        kbert.load(tmp_path)


def test_no_folder(tmp_path):
    with pytest.raises(CheckpointError, match="Expected a folder that kbert"):
        kbert.load(tmp_path / "nothing")


# === Bad input ===

BAD_DATA = {
    "no texts": ([], [], "at least one text"),
    "fewer labels": (["a", "b"], ["x"], "2 texts and 1 labels"),
    "one string": ("abc", ["x"], "Received: one string"),
    "NaN label": (["a", "b"], ["x", float("nan")], "nan in row 1"),
    "None label": (["a", "b"], ["x", None], "None in row 1"),
    "float label": (["a", "b"], [0.5, 1.5], "0.5 .float. in row 0"),
    "NaN text": (["a", float("nan")], ["x", "y"], "nan .float. in row 1"),
    "one class": (["a", "b"], ["x", "x"], "at least two different labels"),
    "mixed labels": (["a", "b"], ["x", 1], "all strings or all integers"),
    "ragged pairs": ([("a", "b"), ("c",)], ["x", "y"], "pair of texts"),
    "no labels": (["a", "b"], None, "Expected labels"),
    "wrong columns": ({"txt": ["a"]}, ["x"], "columns text"),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data(name):
    x, y, message = BAD_DATA[name]
    clf = tiny()
    with pytest.raises((InputError, ConfigError), match=message):
        clf.fit(x, y, **FAST)


def test_unseen_label(trained):
    clf, _, _ = trained
    with pytest.raises(InputError, match=r"'q' in row 1\. Remove"):
        clf.evaluate(["b", "c"], ["a", "q"])
    with pytest.raises(InputError, match=r"row 0, and 1 more such row\(s\)"):
        clf.evaluate(["b", "c"], ["q", "q"])
    with pytest.raises(InputError, match="'q' in row 0"):
        clf.fit(["b"], ["q"], **FAST)


BAD_OPTIONS = {
    "max_length": ({"max_length": 513}, ConfigError, "3 to 512"),
    "no integer": ({"max_length": "128"}, ConfigError, "an integer of 3"),
    "head": ({"head": "clasification"}, UnknownNameError, "'classification'"),
    "preset": ({"preset": "random:tinny"}, UnknownNameError, "'tiny'"),
    "head option": ({"pool": "cls"}, ConfigError, "pool"),
    "labels": ({"labels": ["a", "a"]}, ConfigError, "must differ"),
    "pooling": ({"pooling": "max"}, ConfigError, "mean, cls, pooler"),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_bad_options(name):
    options, error, message = BAD_OPTIONS[name]
    with pytest.raises(error, match=message):
        kbert.Classifier(**({"preset": "random:tiny"} | options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "`epochs`"),
        ({"batch_size": 0}, "`batch_size`"),
        ({"validation_split": 1.5}, "`validation_split`"),
        ({"layer_decay": 0}, "`layer_decay`"),
        ({"early_stopping": 2}, "`early_stopping`"),
        ({"sample_weight": [1.0]}, "one weight a text"),
        ({"validation_data": ["a b"]}, "Expected labels"),
        ({"validation_data": "ab"}, "of two parts.*'ab' .str."),
        ({"validation_data": ("a", "b", "c")}, "of two parts"),
        ({"class_weight": "heavy"}, "'balanced', or a dict"),
    ],
)
def test_bad_fit_options(toy, options, message):
    with pytest.raises((ConfigError, InputError), match=message):
        tiny().fit(*toy, **(FAST | options))


def test_before_fit():
    with pytest.raises(ConfigError, match="Call `fit` first"):
        tiny().predict(["a"])


def test_text_of_a_megabyte_is_truncated(trained):
    clf, _, _ = trained
    long = "zz yyy " * 150_000
    table = clf.tokenize([[long]])
    assert table.lengths.tolist() == [clf.max_length]
    assert clf.predict([long]) == ["z"]


def test_invalid_utf8_and_lone_surrogates_are_accepted(trained):
    clf, _, _ = trained
    expected = clf.predict_proba(["zz"])
    for text in (b"z\xffz", b"\xc3zz", "z\ud800z"):
        np.testing.assert_allclose(
            clf.predict_proba([text]), expected, atol=1e-6
        )


def test_empty_text(trained):
    assert trained[0].predict([""])[0] in ("a", "z")
