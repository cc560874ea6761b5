"""Values that the contract's rows do not reach, and hostile ones."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from kbert.errors import ServingError
from kbert.serving import json_codec


def predict(body, **dtypes):
    inputs, _ = json_codec.predict_inputs(body, dtypes)
    return inputs


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("int8", [-128, 127]),
        ("uint8", [0, 255]),
        ("int64", [-(2**63), 2**63 - 1]),
        ("uint64", [0, 2**64 - 1]),
        ("bool", [True, False]),
        ("float32", [1, -2.5, 16777215]),
        ("float64", [2**53 - 1, 1e300]),
    ],
)
def test_numbers_in_range(dtype, values):
    array = predict({"inputs": values}, x=dtype)["x"]
    assert array.dtype == dtype
    assert array.tolist() == values


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("int8", 128),
        ("uint32", -1),
        ("int32", 1.0),
        ("int64", 2**63),
        ("float32", 2**24),
        ("float64", 2**53),
        ("float32", 1e39),
        ("float64", 10**400),
        ("bool", 1),
        ("float32", True),
        ("object", 1),
        ("object", {"b64": 1}),
        ("object", {"b64": "YQ==", "x": 1}),
        ("complex64", 1.0),
    ],
)
def test_values_that_do_not_fit(dtype, value):
    with pytest.raises(ServingError) as caught:
        predict({"inputs": {"x": [value]}}, x=dtype)
    assert caught.value.code == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe",
        b'{"a": "\xff"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": 1e',
        b"{} {}",
        b"nul",
        b'"x"',
    ],
)
def test_bodies_that_are_no_object(body):
    with pytest.raises(ServingError, match="JSON"):
        json_codec.parse(body)


def test_deep_lists_within_the_body():
    value = []
    for _ in range(300):
        value = [value]
    with pytest.raises(ServingError, match="254"):
        predict({"inputs": value}, x="object")


def test_half_of_a_surrogate_pair():
    body = json_codec.parse(b'{"instances": ["\\ud800"]}')
    with pytest.raises(ServingError, match="surrogate"):
        predict(body, x="object")
    with pytest.raises(ServingError, match="surrogate"):
        json_codec.signature_name({"signature_name": "\ud800"})


def test_messages_do_not_repeat_the_body():
    with pytest.raises(ServingError) as caught:
        predict({"instances": [{"x": "long " * 10_000}]}, y="object")
    assert len(str(caught.value)) < 400


def test_not_a_number_and_infinity_pass():
    # json_tensor.cc: kParseNanAndInfFlag
    body = json_codec.parse(b'{"inputs": [NaN, Infinity, -Infinity]}')
    array = predict(body, x="float32")["x"]
    assert np.isnan(array[0]) and array[1:].tolist() == [np.inf, -np.inf]
    answer = json_codec.predict_response({"y": array}, row=True)
    assert json.dumps(answer) == '{"predictions": [NaN, Infinity, -Infinity]}'


def test_floats_have_the_digits_that_tell_them():
    array = np.array([0.2, 1 / 3, 9e6, 3e-5], "float32")
    values = json_codec.numbers(array)
    assert values == [0.2, 0.33333334, 9e6, 3e-5]
    assert np.array_equal(np.array(values, "float32"), array)


def test_rows_of_different_number():
    outputs = {"a": np.zeros(2), "b": np.zeros(3)}
    with pytest.raises(ServingError, match="inconsistent batch size"):
        json_codec.predict_response(outputs, row=True)
    assert len(json_codec.predict_response(outputs, row=False)["outputs"]) == 2


def test_invalid_utf8_in_answers_does_not_break_them():
    answer = json_codec.predict_response(
        {"y": np.array([b"a\xff"], object)}, row=True
    )
    assert json.loads(json.dumps(answer)) == {"predictions": ["a�"]}


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.fixed_dictionaries({"b64": st.text()}),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["x", "y", "b64"]), inner)
    ),
    max_leaves=20,
)


@settings(max_examples=300)
@given(
    values=anything,
    key=st.sampled_from(["instances", "inputs"]),
    dtypes=st.dictionaries(
        st.sampled_from(["x", "y"]),
        st.sampled_from(["object", "float32", "int32", "bool"]),
        min_size=1,
    ),
)
def test_any_json_is_a_tensor_or_refused(values, key, dtypes):
    try:
        inputs, _ = json_codec.predict_inputs({key: values}, dtypes)
    except ServingError as error:
        assert error.code == "INVALID_ARGUMENT"
        return
    assert {name: x.dtype.name for name, x in inputs.items()} == dtypes


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_refused(body):
    try:
        assert isinstance(json_codec.parse(body), dict)
    except ServingError as error:
        assert error.code == "INVALID_ARGUMENT"
