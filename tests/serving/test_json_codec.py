"""Values that the contract's rows do not reach, and hostile ones."""

import base64
import json
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from kbert.errors import ServingError
from kbert.serving import json_answers
from kbert.serving import json_codec
from kbert.serving import json_parse


def predict(body, **dtypes):
    inputs, _ = json_codec.predict_inputs(body, dtypes)
    return inputs


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"1e400", "too big"),
        (b"-1e400", "too big"),
        (b"1" + b"0" * 400, "too big"),
        (b"1" + b"0" * 5000, "too big"),
        (b"1e-400", 0.0),
        (b"18446744073709551615", 2**64 - 1),
        (b"18446744073709551616", 2.0**64),
        (b"-9223372036854775808", -(2**63)),
        (b"-9223372036854775809", -(2.0**63)),
        (b"0.1", 0.1),
    ],
)
def test_numbers_of_json(body, expected):
    body = b'{"x": ' + body + b"}"
    if isinstance(expected, str):
        with pytest.raises(ServingError, match=expected):
            json_parse.parse(body)
        return
    value = json_parse.parse(body)["x"]
    assert value == expected and type(value) is type(expected)


def test_a_key_that_stands_twice():
    body = json_parse.parse(b'{"a": 1, "b": 2, "a": 3}')
    assert body == {"a": 1, "b": 2}
    assert body.pairs == [("a", 1), ("b", 2), ("a", 3)]
    assert json_parse.type_name(body) == "Object"
    assert type(json_parse.parse(b'{"a": 1}')) is dict


@pytest.mark.parametrize("size", [1, 2**16, 2**64 - 1])
def test_floats_are_rounded_as_c_does(size):
    array = predict({"inputs": [size, -1, 1e39]}, x="float32")["x"]
    assert array.tolist() == [np.float32(float(size)), -1.0, np.inf]


def test_base64_with_much_white_space_holds_nobody_up():
    # A regular expression took 30 times as long, and kept all other threads
    # waiting.
    def seconds(text):
        started = time.thread_time()
        json_codec.from_base64({"b64": text})
        return time.thread_time() - started

    plain, spaced = (
        min(seconds(text * 1_000_000) for _ in range(3))
        for text in ("AA", "A ")
    )
    assert spaced < 8 * plain


def test_base64_is_that_of_the_standard_library():
    for data in (b"", b"a", b"ab", b"abc", bytes(range(256))):
        text = base64.b64encode(data).decode()
        assert json_codec.from_base64({"b64": text}) == data
        lines = base64.encodebytes(data).decode()
        assert json_codec.from_base64({"b64": lines}) == data
        bare = text.rstrip("=")
        assert json_codec.from_base64({"b64": bare}) == data
        if text != bare:
            with pytest.raises(ServingError):
                json_codec.from_base64({"b64": f"{text}="})


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe",
        b'{"a": "\xff"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": "\x00"}',
        b"{}".decode().encode("utf-16"),
        b'{"a": 1e',
        b"nul",
        b'"x"',
    ],
)
def test_bodies_that_are_no_object(body):
    with pytest.raises(ServingError, match="JSON"):
        json_parse.parse(body)


def test_deep_lists_within_the_body():
    value = []
    for _ in range(300):
        value = [value]
    with pytest.raises(ServingError, match="64"):
        predict({"inputs": value}, x="object")


def test_half_of_a_surrogate_pair():
    body = json_parse.parse(b'{"instances": ["\\ud800"]}')
    with pytest.raises(ServingError, match="surrogate"):
        predict(body, x="object")
    with pytest.raises(ServingError, match="surrogate"):
        json_codec.signature_name({"signature_name": "\ud800"})


@pytest.mark.parametrize(
    "body",
    [
        {"instances": [{"x": "long " * 10_000}]},
        {"instances": [{"long" * 10_000: 1}]},
        {"instances": ["long " * 10_000], "inputs": 1},
    ],
)
def test_messages_do_not_repeat_the_body(body):
    with pytest.raises(ServingError) as caught:
        predict(body, y="object")
    assert len(str(caught.value)) <= 2003


def test_not_a_number_and_infinity_pass():
    # json_tensor.cc: kParseNanAndInfFlag
    body = json_parse.parse(b'{"inputs": [NaN, Infinity, -Infinity]}')
    array = predict(body, x="float32")["x"]
    assert np.isnan(array[0]) and array[1:].tolist() == [np.inf, -np.inf]
    answer = json_answers.predict_response({"y": array}, row=True)
    assert json.dumps(answer) == '{"predictions": [NaN, Infinity, -Infinity]}'


def test_floats_have_the_digits_that_tell_them():
    array = np.array([0.2, 1 / 3, 9e6, 3e-5], "float32")
    values = json_answers.numbers(array)
    assert values == [0.2, 0.33333334, 9e6, 3e-5]
    assert np.array_equal(np.array(values, "float32"), array)


def test_rows_of_different_number():
    outputs = {"a": np.zeros(2), "b": np.zeros(3)}
    with pytest.raises(ServingError, match="inconsistent batch size"):
        json_answers.predict_response(outputs, row=True)
    assert (
        len(json_answers.predict_response(outputs, row=False)["outputs"]) == 2
    )


def test_invalid_utf8_in_answers_does_not_break_them():
    answer = json_answers.predict_response(
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
    found = {name: x.dtype.name for name, x in inputs.items()}
    # A lone {"b64": ...} as the first row stands for the first input.
    assert found.items() <= dtypes.items() and found


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_refused(body):
    try:
        assert isinstance(json_parse.parse(body), dict)
    except ServingError as error:
        assert error.code == "INVALID_ARGUMENT"
