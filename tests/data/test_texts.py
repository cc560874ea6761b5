"""Texts and labels of any form: what is taken, what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbert.data.dataset_rows import read_dataset
from kbert.data.texts import as_labels
from kbert.data.texts import as_texts
from kbert.data.texts import chunks
from kbert.data.texts import encode_texts
from kbert.errors import InputError

ONE = ("text",)
TWO = ("a", "b")


class Frame(dict):
    """Stands in for a pandas data frame."""

    columns = ("text",)


class Tensor:
    """Stands in for a tensor: iterable, and an array by `numpy()`."""

    def __init__(self, array):
        self.array = array

    def __iter__(self):
        return (Tensor(part) for part in self.array)

    def numpy(self):
        return self.array


@pytest.mark.parametrize(
    "x",
    [
        ["x", "y"],
        ("x", "y"),
        np.array(["x", "y"]),
        np.array(["x", "y"], object),
        Tensor(np.array(["x", "y"], object)),
        {"text": ["x", "y"], "other": [1, 2]},
        Frame(text=np.array(["x", "y"])),
        (text for text in "xy"),
    ],
)
def test_texts_of_any_form(x):
    assert as_texts(x, ONE) == [["x", "y"]]


@pytest.mark.parametrize(
    "x",
    [
        [("x", "1"), ["y", "2"]],
        np.array([["x", "1"], ["y", "2"]]),
        {"a": ["x", "y"], "b": ["1", "2"]},
    ],
)
def test_pairs_of_any_form(x):
    assert as_texts(x, TWO) == [["x", "y"], ["1", "2"]]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ("one", "one string"),
        (None, "list of texts.*None"),
        (3, "list of texts.*3"),
        ([], "at least one text"),
        (["a", None], "None.*row 1"),
        (["a", float("nan")], "nan.*row 1"),
        (["a", ("b", "c")], "row 1"),
        ([("a", "b"), "cd"], "pair.*'cd' in row 1"),
        ([("a", "b", "c")], "pair"),
        ({"text": "abc"}, "list of texts.*'abc'"),
        ({"txet": ["a"]}, "columns text.*without text"),
        ({"text": []}, "at least one"),
    ],
)
def test_what_is_no_text(x, message):
    with pytest.raises(InputError, match=message):
        as_texts(x, ONE)


def test_columns_of_different_length():
    with pytest.raises(InputError, match="2, 1 rows"):
        as_texts({"a": ["x", "y"], "b": ["z"]}, TWO)


def test_messages_stay_short():
    with pytest.raises(InputError) as error:
        as_texts([["x"] * 10_000], ONE)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        (["a", b"b"], ["a", "b"]),
        (np.array([1, 0]), [1, 0]),
        (np.array(["a", "b"]), ["a", "b"]),
        (np.array([True, False]), [1, 0]),
        (Tensor(np.array([1, 0])), [1, 0]),
        ([True, False], [1, 0]),
        # As pandas has a column of integers that had a gap.
        (np.array([1.0, 0.0]), [1, 0]),
    ],
)
def test_labels_of_any_form(y, expected):
    labels = as_labels(y, 2)
    assert labels == expected
    assert {type(label) for label in labels} <= {str, int, bool}


def test_labels_of_pandas():
    pandas = pytest.importorskip("pandas")
    assert as_labels(pandas.Series(["a", "b"], dtype="category"), 2) == [
        "a",
        "b",
    ]
    with pytest.raises(InputError, match="label in every.*<NA>.*row 1"):
        as_labels(pandas.Series([1, None], dtype="Int64"), 2)
    with pytest.raises(InputError, match="label in every.*NaT.*row 0"):
        as_labels([pandas.NaT, "b"], 2)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ("ab", "list of labels"),
        (None, "list of labels"),
        (["a"], "2 texts and 1 labels"),
        (["a", None], "None.*row 1"),
        # As pandas has a column of integers with a gap.
        ([1.0, float("nan")], "nan.*row 1"),
        ([1, 2.5], "2.5 .float. in row 1"),
        (np.eye(2), "row 0"),
    ],
)
def test_what_is_no_label(y, message):
    with pytest.raises(InputError, match=message):
        as_labels(y, 2)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(ANYTHING)
def test_anything_is_taken_or_refused_by_name(x):
    for read in (lambda: as_texts(x, ONE), lambda: as_labels(x, 1)):
        try:
            read()
        except InputError:
            pass


@given(st.text(st.characters()))
def test_encoding_never_fails(text):
    assert encode_texts([text])[0].decode() == "".join(
        "\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text
    )


@given(st.lists(st.integers()), st.integers(1, 9))
def test_windows_keep_every_row(rows, size):
    parts = list(chunks(rows, size))
    assert [row for part in parts for row in part] == rows
    assert all(len(part) == size for part in parts[:-1])


def test_datasets():
    tf = pytest.importorskip("tensorflow")

    def of(*parts):
        return tf.data.Dataset.from_tensor_slices(parts)

    labelled = of(["x", "y"], [1, 0])
    for dataset in (labelled, labelled.batch(2), labelled.ragged_batch(1)):
        assert read_dataset(dataset) == ([b"x", b"y"], [1, 0], None)
    pairs = of((["x", "y"], ["1", "2"]), [1, 0])
    for dataset in (pairs, pairs.batch(2)):
        texts = read_dataset(dataset).texts
        assert as_texts(texts, TWO) == [[b"x", b"y"], [b"1", b"2"]]
    named = of({"a": ["x"], "b": ["1"]}, ["l"])
    assert read_dataset(named).texts == [{"a": b"x", "b": b"1"}]
    weighed = of(["x", "y"], [[1, 0], [0, 1]], [0.5, 2.0])
    for dataset in (weighed, weighed.batch(2)):
        assert read_dataset(dataset)[1:] == ([[1, 0], [0, 1]], [0.5, 2.0])
    plain = tf.data.Dataset.from_tensor_slices(["x", "y"])
    assert read_dataset(plain.batch(2)) == ([b"x", b"y"], None, None)
    with pytest.raises(InputError, match="for ever"):
        read_dataset(labelled.repeat())
    with pytest.raises(InputError, match="of texts.*elements like"):
        read_dataset(of(["x"], ["y"], ["z"], [1]))
    # What texts there are, a model's inputs say.
    two = of(["x", "y"], ["1", "2"])
    assert as_texts(two.batch(2), TWO) == [[b"x", b"y"], [b"1", b"2"]]
    assert as_texts(two.batch(2), ONE) == [[b"x", b"y"]]
    assert as_texts(pairs.batch(2), TWO) == [[b"x", b"y"], [b"1", b"2"]]
