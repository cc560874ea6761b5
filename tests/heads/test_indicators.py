"""Several labels a row as 0 and 1: by name, in their order, or refused."""

import keras
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import kbert
from kbert.errors import InputError
from kbert.heads.multi_label import MultiLabelHead

FLAGS = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0]])
LABELS = ["toxic", "obscene", "threat"]
NAMED = [["toxic"], ["obscene"], ["toxic", "obscene"]]
COLUMNS = [["x", "y", "z"]]

# Forms without names.
ARRAYS = {
    "ints": FLAGS,
    "bools": FLAGS == 1,
    "floats": FLAGS.astype("float32"),
    "objects": FLAGS.astype(object),
    "matrix": np.matrix(FLAGS),
    "csr": scipy.sparse.csr_matrix(FLAGS),
    "coo": scipy.sparse.coo_array(FLAGS),
    "tensor": tf.constant(FLAGS),
    "bool tensor": tf.constant(FLAGS) == 1,
    "keras": keras.ops.convert_to_tensor(FLAGS),
    "lists": FLAGS.tolist(),
    "lists of bools": (FLAGS == 1).tolist(),
    "tuples": [tuple(row) for row in FLAGS.tolist()],
    "rows": list(FLAGS),
    "tensors": list(tf.constant(FLAGS)),
    "JSON": ["[1, 0, 0]", "[0, 1, 0]", "[1, 1, 0]"],
    "cells": ["1,0,0", "0,1,0", "1,1,0"],
}


def read(y, labels=None, columns=COLUMNS):
    head = MultiLabelHead(labels)
    rows = head.read(y, columns)
    head.adapt(rows)
    return head.labels, [*map(list, rows)], head.encode(rows).astype(int)


@pytest.mark.parametrize("form", ARRAYS)
def test_arrays_take_their_names_from_labels(form):
    labels, rows, targets = read(ARRAYS[form], LABELS)
    assert rows == NAMED and (targets == FLAGS).all()
    with pytest.raises(InputError, match="which label a column is of.*labels="):
        read(ARRAYS[form])


def test_torch():
    torch = pytest.importorskip("torch")
    for y in (torch.tensor(FLAGS), torch.tensor(FLAGS).to_sparse()):
        assert read(y, LABELS)[1] == NAMED


@pytest.fixture
def frame():
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(FLAGS, columns=LABELS)


def test_columns_are_known_by_their_names(frame):
    other = frame[["threat", "obscene", "toxic"]]
    for y in (other, other.astype(bool), other.astype("Int64"), dict(other)):
        labels, rows, targets = read(y, LABELS)
        assert labels == LABELS and (targets == FLAGS).all()
        labels, rows, targets = read(y)
        # A label that no row has is one that the data know of.
        assert labels == ["threat", "obscene", "toxic"]
        assert (targets == FLAGS[:, ::-1]).all()
    # Numbers that a frame made of an array has are no names.
    numbered = frame.set_axis(range(3), axis=1)
    assert read(numbered, LABELS)[1] == NAMED
    with pytest.raises(InputError, match="the columns 0, 1, 2"):
        read(numbered)
    assert read(numbered, [2, 1, 0])[2].tolist() == FLAGS[:, ::-1].tolist()
    ids = frame.set_axis([7, 3, 9], axis=1)
    assert read(ids, ["3", "7", "9"])[1] == [["7"], ["3"], ["3", "7"]]


def test_a_column_of_lists(frame):
    frame = frame.assign(labels=NAMED)[["labels"]]
    labels, rows, _ = read(frame)
    assert labels == ["obscene", "toxic"] and rows == NAMED
    assert read(frame["labels"])[1] == NAMED
    assert read(tf.ragged.constant(NAMED))[1] == NAMED


@pytest.mark.parametrize(
    ("change", "labels", "message"),
    [
        (lambda f: f.assign(id=[5, 6, 7]), None, "5 in row 0, column 'id'"),
        (lambda f: f.assign(id=[5, 6, 7]), LABELS, "with id"),
        (lambda f: f.drop(columns="threat"), LABELS, "without threat"),
        (lambda f: f.where(f == 1), LABELS, "nan in row 1, column 'toxic'"),
        (lambda f: f.astype("Int64").where(f == 1), None, "<NA> in row 1"),
        (lambda f: f * 2, None, "2 in row 0"),
        (lambda f: f.astype(str), None, "'1' in row 0"),
        (lambda f: f[["toxic", "toxic"]], None, "different names"),
        (lambda f: f[["toxic"]], None, "at least two different labels"),
        (lambda f: f[[]], LABELS, "without toxic, obscene, threat"),
        (lambda f: f.iloc[:2], LABELS, "each of 3 texts. Received: 2"),
        (lambda f: {"a": [0, 1, 1], "b": [0]}, None, "of one length.*3, 1"),
        (lambda f: f.set_axis([1.5, 2.5, 3.5], axis=1), None, "all strings"),
    ],
)
def test_bad_tables(frame, change, labels, message):
    with pytest.raises(InputError, match=message):
        read(change(frame), labels)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (FLAGS[:, :2], r"each of 3 labels.*shape \(3, 2\)"),
        (FLAGS - 1, "from -1 to 0"),
        (FLAGS * 0.5, "from 0.0 to 0.5"),
        (FLAGS[None], r"shape \(1, 3, 3\)"),
        (np.where(FLAGS, 1, np.nan), "from nan"),
        (np.ma.array(FLAGS, mask=FLAGS == 1), "from nan"),
        (FLAGS[:2], "each of 3 texts. Received: 2"),
        (FLAGS[:, 0], "a list of labels in each row.*1 in row 0"),
    ],
)
def test_bad_arrays(y, message):
    with pytest.raises(InputError, match=message):
        read(y, LABELS)


def test_numbers_that_are_labels():
    # As names they are in lists.
    assert read([[3, 7], [1, 2], []])[0] == [1, 2, 3, 7]
    assert read([[0, 1], [1], [0]])[1] == [[0, 1], [1], [0]]
    assert read([[0], [1], [1]])[0] == [0, 1]
    assert read([{0, 1}, {1}, {0}])[0] == [0, 1]
    with pytest.raises(InputError, match="tolist.. if the numbers are labels"):
        read(np.array([[3, 7], [1, 2], [4, 5]]))
    # Where labels are called 0 and 1, lists are of names and arrays are not.
    for labels in ([0, 1], ["0", "1"], ["false", "true"]):
        zero, one = labels
        assert read([[0, 1], [1], []], labels)[2].tolist() == [
            *([1, 1], [0, 1], [0, 0])
        ]
        assert read(FLAGS[:, :2], labels)[2].tolist() == FLAGS[:, :2].tolist()
        for y in ([[0, 1]] * 3, FLAGS[:, :2].tolist()):
            with pytest.raises(InputError, match="may be either.*np.array"):
                read(y, labels)
    with pytest.raises(InputError, match=r"Name each once.*np.array\(y\)"):
        read(FLAGS.tolist(), [0, 1, 2])


@given(
    st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1),
    st.permutations(LABELS),
)
def test_no_order_of_columns_matters(rows, order):
    flags = np.array(rows)
    y = {name: flags[:, LABELS.index(name)] for name in order}
    texts = [["x"] * len(rows)]
    assert (read(y, LABELS, texts)[2] == flags).all()
    assert (read(flags, LABELS, texts)[2] == flags).all()


def test_everywhere_that_labels_are_read(frame):
    other = frame[["threat", "toxic", "obscene"]]
    x = ["a", "b", "c"]
    multi = kbert.MultiTask(
        "random:1x64", {"one": MultiLabelHead(tune=False)}, max_length=8
    )
    multi.fit(
        {"one": (x, frame)},
        validation_data={"one": (x, other)},
        epochs=1,
        verbose=0,
    )
    one = multi["one"]
    assert one.labels == LABELS
    reports = [
        one.evaluate(x, y)
        for y in (frame, other, FLAGS, scipy.sparse.csr_array(FLAGS), NAMED)
    ]
    assert all(report == reports[0] for report in reports)
    assert multi.evaluate({"one": (x, other)})["one"] == reports[0]
    support = [row["support"] for row in reports[0]["per_class"].values()]
    assert support == [2, 2, 0]
    rows = tf.data.Dataset.from_tensor_slices((x, FLAGS))
    assert one.evaluate(rows) == one.evaluate(rows.batch(2)) == reports[0]
    with pytest.raises(InputError, match="without threat"):
        one.evaluate(x, frame[["toxic", "obscene"]])
