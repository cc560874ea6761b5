"""Rows in the forms that people have, into every door."""

from collections import OrderedDict
from collections import deque

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import kbert
from kbert.data.containers import as_list
from kbert.data.containers import as_table
from kbert.data.containers import iterate
from kbert.data.texts import as_labels
from kbert.data.texts import as_numbers
from kbert.data.texts import as_texts
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.errors import ServingError
from kbert.training.pairs import read_scores
from kbert.training.rows import labelled_rows
from kbert.training.sample_weight import read_sample_weight

TEXTS = ["aaa bb", "zz yyy", "aaa cc", "zz xxx"]
LABELS = ["a", "z", "a", "z"]
FAST = {"epochs": 1, "batch_size": 2, "verbose": 0}


def arrow(values):
    return pytest.importorskip("pyarrow").array(values)


def arrow_table(columns):
    return pytest.importorskip("pyarrow").table(columns)


def hugging(columns):
    datasets = pytest.importorskip("datasets")
    return datasets.Dataset.from_dict(columns)


def lazy(columns):
    return pytest.importorskip("polars").DataFrame(columns).lazy()


def tensors(*parts):
    return tf.data.Dataset.from_tensor_slices(parts if parts[1:] else parts[0])


# Made anew for each use: some can be read once only.
COLUMNS = {
    "generator": lambda v: (x for x in v),
    "map": lambda v: map(str, v),
    "deque": deque,
    "dict view": lambda v: OrderedDict(enumerate(v)).values(),
    "array": np.array,
    "(n, 1)": lambda v: np.array(v)[:, None],
    "rows of one": lambda v: [[x] for x in v],
    "StringDType": lambda v: np.array(v, np.dtypes.StringDType()),
    "tensor": tf.constant,
    "index": pd.Index,
    "categories": lambda v: pd.Series(v, dtype="category"),
    "string": lambda v: pd.Series(v, dtype="string"),
    "object": lambda v: pd.Series(v, dtype=object),
    "frame": lambda v: pd.DataFrame({"text": v}),
    "arrow": arrow,
    "arrow's scalars": lambda v: list(arrow(v)),
    "chunked": lambda v: arrow_table({"text": v})["text"],
    "arrow's dictionary": lambda v: arrow(v).dictionary_encode(),
    "arrow's table": lambda v: arrow_table({"text": v}),
    "column": lambda v: hugging({"text": v})["text"],
    "hugging": lambda v: hugging({"text": v}),
    "structured": lambda v: np.array([(x,) for x in v], [("text", "U9")]),
    "lazy": lambda v: lazy({"text": v}),
}


def rows(table):
    return list(zip(*table.values(), strict=True))


def records(table):
    return [dict(zip(table, row, strict=True)) for row in rows(table)]


def strings(values):
    return [v.decode() if isinstance(v, bytes) else v for v in values]


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_of_any_form(name):
    [column] = as_texts(COLUMNS[name](TEXTS), ("text",))
    assert strings(column) == TEXTS
    assert as_labels(COLUMNS[name](LABELS), 4) == LABELS


TABLES = {
    "generators": lambda v: {k: (x for x in c) for k, c in v.items()},
    "frame": pd.DataFrame,
    "arrow": arrow_table,
    "batch": lambda v: arrow_table(v).to_batches()[0],
    "hugging": hugging,
    "lazy": lazy,
    "records": records,
    "record generator": lambda v: iter(records(v)),
    "zip": lambda v: zip(v["a"], v["b"], strict=True),
    "array": lambda v: np.array([row[:2] for row in rows(v)]),
    "dataset": lambda v: tensors(v["a"], v["b"]).batch(3),
    "dataset with labels": lambda v: tensors((v["a"], v["b"]), LABELS),
    "dataset of dicts": lambda v: tensors(v).batch(2),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_any_form(name):
    table = TABLES[name]({"a": TEXTS, "b": TEXTS[::-1], "c": LABELS})
    columns = as_texts(table, ("a", "b"))
    assert [strings(c) for c in columns] == [TEXTS, TEXTS[::-1]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("abc", "'abc' .str.*Put one into a list"),
        (b"abc", "b'abc' .bytes"),
        ({"a", "b"}, "set., which has no order"),
        (frozenset("a"), "which has no order"),
        ({"text": ["a"]}, r"Choose a column, such as \['text'\]"),
        (pd.DataFrame({"a": [1], "b": [2]}), r"\(1, 2\).*Choose a column"),
        (None, "None"),
        (5, "5 .int"),
        (np.array("a"), "ndarray"),
        (list, "type"),
    ],
)
def test_what_is_no_column(values, message):
    with pytest.raises(InputError, match=message):
        as_list(values, "labels")


def test_no_table():
    for x in ([1], "a", np.zeros(2), pd.Series([1]), pd.DataFrame, (1, 2)):
        assert as_table(x) is None


def test_columns_of_one_name_are_refused():
    frame = pd.DataFrame([["a", "b"]] * 2, columns=["text", "text"])
    for read in (
        lambda: as_texts(frame, ("text",)),
        lambda: as_texts(frame, ("text", "text_pair")),
        lambda: as_labels(frame, 2),
        lambda: list(iterate(frame)),
        lambda: read_sample_weight(frame, 2),
    ):
        with pytest.raises(InputError, match="different names.*text, text"):
            read()
    others = pd.DataFrame([["a", 1, 2]] * 2, columns=["text", "x", "x"])
    assert as_texts(others, ("text",)) == [["a", "a"]]
    with pytest.raises(InputError, match="different names.*x, x"):
        as_texts(others, ("x",))


@pytest.mark.parametrize("name", COLUMNS)
def test_weights_of_any_form(name):
    # Those are of strings.
    if name not in ("map", "structured", "string", "StringDType"):
        read = read_sample_weight(COLUMNS[name]([0.5, 2.0]), 2)
        assert read.tolist() == [0.5, 2.0] and read.dtype == "float32"


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ma.array([1.0, 5.0], mask=[0, 1]), "None in row 1"),
        ([[1.0], [1.0, 2.0]], r"\[1.0, 2.0\] in row 1"),
        ({1.0, 2.0}, "no order"),
        ([1.0], "2 texts and 1 weights"),
        (2.0, "list of weights"),
    ],
)
def test_weights_that_are_not_one_a_row(weights, message):
    with pytest.raises(InputError, match=message):
        read_sample_weight(weights, 2)


def test_weights_that_float32_has_as_0():
    with pytest.raises(InputError, match="weight above 0"):
        read_sample_weight([1e-50, 1e-60], 2)


def test_numbers_that_no_float_holds():
    with pytest.raises(InputError, match="in row 1"):
        as_numbers([1, 10**400], 2)
    with pytest.raises(InputError, match="'1_0' in row 0"):
        as_numbers(["1_0", "2"], 2)
    with pytest.raises(InputError, match="in row 1"):
        read_scores([1, 10**400], 2, (-1, 1))
    assert read_scores(np.array([1, 0.5], "longdouble"), 2, (-1, 1))[1] == 0.5


def test_one_hot_labels_are_refused_with_what_to_do():
    for y in (np.eye(2)[[0, 1]], [[1, 0], [0, 1]]):
        with pytest.raises(InputError, match=r"argmax.*labels="):
            as_labels(y, 2)
    assert as_numbers(np.array([[1.5], [2]]), 2) == [1.5, 2.0]
    assert as_numbers(arrow([1, 2]), 2) == [1.0, 2.0]


def test_gaps_are_named():
    gaps = [
        pd.Series(["a", None], dtype="string"),
        pd.Series(["a", np.nan], dtype=object),
        pd.Series(["a", None], dtype="category"),
        arrow(["a", None]),
        np.ma.array(["a", "b"], mask=[0, 1]),
    ]
    for column in gaps:
        with pytest.raises(InputError, match="in row 1. Remove"):
            as_texts(column, ("text",))
        with pytest.raises(InputError, match="in row 1. Remove"):
            as_labels(column, 2)


# === Doors ===


def tiny(**options):
    return kbert.Classifier("random:1x64", max_length=16, **options)


@pytest.fixture(scope="module")
def clf():
    return tiny(labels=["a", "z"])


@pytest.fixture(scope="module")
def embedder():
    return kbert.Embedder("random:1x64", max_length=16)


def test_iterators_into_the_first_fit():
    clf = tiny()
    clf.fit((x for x in TEXTS), map(str, LABELS), **FAST)
    assert clf.labels == ["a", "z"] and clf.inputs == ("text",)
    clf = tiny()
    clf.fit(zip(TEXTS, TEXTS, strict=True), iter(LABELS), **FAST)
    assert clf.inputs == ("text", "text_pair")


def test_datasets_have_weights():
    weights = [0.0, 3.0, 0.5, 1.0]
    clf = tiny(labels=["a", "z"])
    dataset = tensors(TEXTS, LABELS, weights)
    for data in (dataset, dataset.batch(3)):
        read, _ = labelled_rows(clf, (data, None), None, 0, None, None, 0)
        assert read.sample_weight.tolist() == weights
    for given in (iter(weights), np.array(weights)[:, None], arrow(weights)):
        data = (TEXTS, LABELS)
        read, _ = labelled_rows(clf, data, None, 0, None, given, 0)
        assert read.sample_weight.tolist() == weights
    with pytest.raises(InputError, match="Received: both"):
        tiny().fit(dataset, sample_weight=[1] * 4)
    for data in ((TEXTS, LABELS, weights), dataset):
        with pytest.raises(InputError, match="Leave them out"):
            tiny().fit(TEXTS, LABELS, validation_data=data)
    with pytest.raises(InputError, match="Leave them out"):
        clf.evaluate(dataset)


@pytest.mark.parametrize(
    "x",
    [tensors(TEXTS), tensors(TEXTS).batch(3), tensors(TEXTS, LABELS).batch(3)],
)
def test_predict_takes_datasets(clf, x):
    np.testing.assert_array_equal(
        clf.predict_proba(x), clf.predict_proba(TEXTS)
    )
    assert len(list(clf.stream(x))) == 4


@pytest.mark.parametrize(
    "x",
    [pd.DataFrame({"id": range(4), "text": TEXTS}), {"text": TEXTS}],
)
def test_stream_takes_tables(clf, x):
    assert len(list(clf.stream(x, window=3))) == 4


@pytest.mark.parametrize("x", ["abc", b"abc", {"a", "b"}, None, 5])
def test_stream_takes_no_single_text(clf, x):
    with pytest.raises(InputError, match="Expected a list of texts"):
        list(clf.stream(x))


def test_rows_are_counted_over_all_windows(clf):
    with pytest.raises(InputError, match="in row 5"):
        list(clf.stream([*"abcde", None], window=2))
    qa = kbert.Classifier(
        "random:1x64", head="qa", max_length=16, no_answer=True
    )
    with pytest.raises(InputError, match="an empty one in row 3"):
        list(qa.stream([("q", "c")] * 3 + [("q", " ")], window=2))


def test_rows_of_validation_data_are_called_so():
    for x, y in ((["a", None], ["a", "z"]), (["a", "b"], ["a", "q"])):
        with pytest.raises(InputError, match="in row 1 of validation_data"):
            tiny().fit(TEXTS, LABELS, validation_data=(x, y), **FAST)
    multi = kbert.MultiTask("random:1x64", {"one": "classification"})
    with pytest.raises(InputError, match="Task 'one'.*1 of validation_data"):
        multi.fit(
            {"one": (TEXTS, LABELS)},
            validation_data={"one": (["a", "b"], ["a", "q"])},
        )


def test_the_embedder_takes_any_form(embedder):
    expected = embedder.encode(TEXTS)
    for x in (iter(TEXTS), arrow(TEXTS), tensors(TEXTS).batch(3)):
        np.testing.assert_array_equal(embedder.encode(x), expected)
    pairs = {"text": TEXTS, "text_pair": TEXTS[::-1]}
    scores = arrow([0.1, 0.2, 0.3, 0.4])
    same = embedder.evaluate(zip(*pairs.values(), strict=True), scores)
    for x in (pd.DataFrame(pairs), arrow_table(pairs), hugging(pairs)):
        assert embedder.evaluate(x, scores) == same
    vectors = tf.constant(expected)
    assert embedder.similarity(vectors, iter(TEXTS)).shape == (4, 4)
    with pytest.raises(InputError, match="None.*in row 1 of validation_data"):
        held_out = ([("a", "b"), ("a", None)],)
        embedder.fit(pairs, validation_data=held_out, **FAST)


def test_the_client_takes_any_form(monkeypatch):
    client = kbert.Client("http://localhost:8501/v1/models/m")

    def silent(ask):
        raise ServingError("NOT_FOUND", "It does not say what it takes.")

    def client_columns(x):
        return client._columns(x, "serving_default")

    monkeypatch.setattr(client, "_patiently", silent)
    for x in (iter(TEXTS), arrow(TEXTS), pd.Series(TEXTS)):
        assert client_columns(x) == {"": TEXTS}
    pairs = {"a": TEXTS, "b": TEXTS}
    for x in (pairs, pd.DataFrame(pairs), arrow_table(pairs), records(pairs)):
        assert client_columns(x) == pairs
    for x in ([("a", "b")], {}, {1: TEXTS}, "abc", {"a": "abc"}):
        with pytest.raises(InputError, match="Expected"):
            client_columns(x)


def test_the_tokenizer_takes_any_form_and_no_file(clf):
    tokenizer = clf.tokenizer
    expected = tokenizer.tokenize(TEXTS).to_list()
    for x in (iter(TEXTS), arrow(TEXTS), pd.Series(TEXTS), tf.constant(TEXTS)):
        assert tokenizer.tokenize(x).to_list() == expected
    for x in ("abc", ["a", None], [["a", "b"]], 5):
        with pytest.raises(InputError, match="Expected"):
            tokenizer.tokenize(x)
    for x in ("vocab.txt", b"vocab.txt"):
        with pytest.raises(InputError, match="from_file"):
            kbert.Tokenizer(x)


# === Arguments ===


def test_one_callback_is_taken():
    calls = []
    one = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: calls.append(1)
    )
    tiny().fit(TEXTS, LABELS, callbacks=one, **FAST)
    assert calls == [1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epoch": 1}, "mean 'epochs'"),
        ({"methd": "few_shot"}, "mean 'method'"),
        ({"method": "fewshot"}, "mean 'few_shot'"),
        ({"method": "few_shot", "epoch": 1}, "mean 'epochs'"),
        ({"method": "few_shot", "r_drop": 1.0}, "few_shot.*r_drop=1.0"),
        ({"layout": "flatt"}, "mean 'flat'"),
        ({"epochs": "3"}, "epochs='3'"),
        ({"epochs": 0}, "epochs=0"),
        ({"batch_size": True}, "batch_size=True"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"learning_rate": "1e-3"}, "learning_rate='1e-3'"),
        ({"validation_split": "0.1"}, "validation_split='0.1'"),
        ({"early_stopping": -1}, "early_stopping=-1"),
        ({"callbacks": keras.callbacks.TerminateOnNaN}, "without ()"),
        ({"callbacks": [None]}, "None"),
        ({"verbose": "loud"}, "verbose='loud'"),
        ({"seed": -1}, "seed=-1"),
        ({"run_dir": 5}, "run_dir=5"),
    ],
)
def test_bad_options_of_fit(options, message):
    with pytest.raises(ConfigError, match=message.replace("()", r"\(\)")):
        tiny().fit(TEXTS, LABELS, **(FAST | options))


def test_options_of_every_fit_have_the_nearest(embedder):
    multi = kbert.MultiTask("random:1x64", {"one": "classification"})
    for fit in (embedder.fit, multi.fit):
        with pytest.raises(ConfigError, match="mean 'epochs'"):
            fit({}, epoch=1)
    with pytest.raises(ConfigError, match="mean 'version'"):
        tiny(labels=["a", "z"]).export("nowhere", versoin=1)


def test_numpy_numbers_are_taken(tmp_path):
    clf = tiny(seed=np.int64(3), dropout=np.float32(0.1))
    clf.fit(
        TEXTS * 2,
        LABELS * 2,
        run_dir=tmp_path / "run",
        epochs=np.int64(1),
        batch_size=np.int32(4),
        learning_rate=np.float32(1e-3),
        validation_split=np.float64(0.5),
        verbose=False,
    )
    assert clf.seed == 3 and clf.predict(TEXTS, batch_size=np.int64(2))
    clf.save(tmp_path / "saved")


def test_few_shot_sets_aside():
    clf = tiny()
    options = FAST | {"batch_size": 4, "method": "few_shot"}
    clf.fit(TEXTS * 4, LABELS * 4, validation_split=0.25, **options)
    assert clf.training["rows"] == 12
    assert clf.training["validation_rows"] == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"poolling": "cls"}, "mean 'pooling'"),
        ({"max_len": 16}, "mean 'max_length'"),
        ({"pooling": "clss"}, "mean 'cls'"),
        ({"dropout": "0.1"}, "dropout='0.1'"),
        ({"normalize": 1}, "`normalize` must be True"),
        ({"labels": "abc"}, "'abc'"),
        ({"inputs": "text"}, "inputs='text'"),
        ({"head": None}, "Unknown head"),
        ({"head": ["ner"]}, "mean 'ner'"),
        ({"seed": 2**40}, "seed=1099511627776"),
        ({"lowercase": "no"}, "lowercase='no'"),
        ({"max_length": "16"}, "max_length='16'"),
    ],
)
def test_bad_arguments_of_a_classifier(options, message):
    with pytest.raises((ConfigError, kbert.KbertError), match=message):
        kbert.Classifier("random:1x64", **options)


def test_a_preset_is_a_name_or_a_path():
    for preset in (None, 5, b"random:1x64", ["random:1x64"]):
        with pytest.raises(ConfigError, match="`preset` must be"):
            kbert.Classifier(preset)
