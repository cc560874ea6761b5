"""JSON bodies to arrays and back, by TF Serving's rules.

Reference: tensorflow_serving/util/json_tensor.cc; its function names stand
beside the ones here. Messages are its own, cut to a length that can be read.

Departures: a body must be UTF-8 (TF Serving passes other bytes on), of a key
that stands twice the last counts (there the first), and integers that do not
fit an int8, int16 or uint8 are refused (there they wrap around).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from kbert.serving.status import invalid

# Longer values are cut in messages: an error must not repeat the body.
SHOWN = 120

# What a TensorFlow tensor can have.
MAX_DIMENSIONS = 254

_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint32", "uint64")
# Whole numbers up to these fit a float of that size exactly.
_WHOLE = {"float32": 2**24 - 1, "float64": 2**53 - 1}


def parse(body: bytes) -> dict:
    """The body's object. ParseJson.

    Raises:
        ServingError: INVALID_ARGUMENT, for whatever is no JSON object.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        value = json.loads(body)
    except RecursionError as error:
        raise invalid("JSON Parse error: Nested too deeply") from error
    except UnicodeDecodeError as error:
        raise invalid(
            f"JSON Parse error: Not UTF-8 at offset: {error.start}"
        ) from error
    except json.JSONDecodeError as error:
        raise invalid(
            f"JSON Parse error: {error.msg} at offset: {error.pos}"
        ) from error
    except ValueError as error:  # A number of thousands of digits.
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(value, dict):
        raise invalid(f"JSON Value: {_shown(value)} Is not object")
    return value


def signature_name(body: dict) -> str:
    """The signature that a body asks for, "" for the default. FillSignature.

    Raises:
        ServingError: INVALID_ARGUMENT, it is no string.
    """
    name = body.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {_shown(body)} not formatted correctly. "
            f"'signature_name' key must be a string value."
        )
    return utf8(name).decode()


def predict_inputs(
    body: dict, dtypes: Mapping[str, str]
) -> tuple[dict[str, np.ndarray], bool]:
    """The arrays of a predict request. FillPredictRequestFromJson.

    Args:
        body: what `parse` gave.
        dtypes: NumPy dtype names of the signature's inputs, `"object"` for
            strings.

    Returns:
        Arrays by input name, and whether the row form was used.

    Raises:
        ServingError: INVALID_ARGUMENT, the values do not suit the inputs.
    """
    if "instances" in body and "inputs" in body:
        raise invalid(
            f"JSON Value: {_shown(body)} Not formatted correctly expecting "
            f"only one of 'inputs' or 'instances' keys to exist "
        )
    if "instances" in body:
        return _from_instances(body["instances"], body, dtypes), True
    if "inputs" in body:
        return _from_inputs(body["inputs"], dtypes), False
    raise invalid("Missing 'inputs' or 'instances' key")


def _from_instances(rows: Any, body: dict, dtypes: Mapping) -> dict:
    """FillTensorMapFromInstancesList."""
    if not isinstance(rows, list):
        raise invalid(
            f"JSON Value: {_shown(body)} Excepting 'instances' to be an "
            f"list/array"
        )
    if not rows:
        raise invalid(
            f"JSON Value: {_shown(body)} No values in 'instances' array"
        )
    if not isinstance(rows[0], dict) and len(dtypes) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as "
            "multiple input tensors required as per tensorinfo_map"
        )
    named = _is_object(rows[0])
    columns: dict[str, list] = {name: [] for name in dtypes}
    for i, row in enumerate(rows):
        if named != _is_object(row):
            wanted = (
                "object but got list" if named else "value/list but got object"
            )
            raise invalid(f"Expecting {wanted} at item {i} of input list")
        if not named:
            columns[next(iter(dtypes))].append(row)
            continue
        if row.keys() != dtypes.keys():
            raise invalid(
                f"Failed to process element: {i} of 'instances' list. JSON "
                f"object: {_shown(row)} keys must be equal to: "
                f"{','.join(sorted(dtypes))}"
            )
        for name, value in row.items():
            columns[name].append(value)
    return {
        name: _tensor(values, dtypes[name]) for name, values in columns.items()
    }


def _from_inputs(value: Any, dtypes: Mapping) -> dict:
    """FillTensorMapFromInputsMap."""
    if not _is_object(value):
        if len(dtypes) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as "
                "multiple input tensors required as per tensorinfo_map"
            )
        value = {next(iter(dtypes)): value}
    for name in dtypes:
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: _tensor(value[name], dtypes[name]) for name in dtypes}


def _tensor(value: Any, dtype: str) -> np.ndarray:
    """A dense tensor of nested lists. GetDenseTensorShape, FillTensorProto."""
    shape: list[int] = []
    level = value
    while isinstance(level, list):
        shape.append(len(level))
        level = level[0] if level else None
    if len(shape) > MAX_DIMENSIONS:
        raise invalid(
            f"Encountered list nested {len(shape)} deep, expected at most "
            f"{MAX_DIMENSIONS} dimensions"
        )
    flat: list = []
    _flatten(value, shape, 0, dtype, flat)
    array = np.empty(len(flat), object if dtype == "object" else dtype)
    array[:] = flat
    return array.reshape(shape)


def _flatten(value, shape: list[int], level: int, dtype: str, flat: list):
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid(
                f"JSON Value: {_shown(value)} found at incorrect level: "
                f"{level + 1} in the JSON DOM. Expected at level: {len(shape)}"
            )
        flat.append(_leaf(value, dtype))
        return
    if level >= len(shape):
        raise invalid(
            f"Encountered list at unexpected level: {level} expected < "
            f"{len(shape)}"
        )
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: "
            f"{level} expected size: {shape[level]}"
        )
    for item in value:
        _flatten(item, shape, level + 1, dtype, flat)


def _leaf(value: Any, dtype: str) -> Any:
    """One value as the dtype has it. AddValueToTensor."""
    if dtype == "object":
        if isinstance(value, str):
            return utf8(value)
        if isinstance(value, dict):
            return from_base64(value)
    elif dtype == "bool":
        if isinstance(value, bool):
            return value
    elif isinstance(value, bool):
        pass  # Python's bool is an int, JSON's is not.
    elif dtype in _INTEGERS:
        if isinstance(value, int):
            limits = np.iinfo(dtype)
            if limits.min <= value <= limits.max:
                return value
    elif dtype in _WHOLE:
        if isinstance(value, int | float):
            return decimal(value, dtype)
    else:
        raise invalid(
            f"Conversion of JSON Value: {_shown(value)} to type: {dtype}"
        )
    raise invalid(
        f"JSON Value: {_shown(value)} Type: {type_name(value)} is not of "
        f"expected type: {_tensorflow(dtype)}"
    )


def decimal(value: int | float, dtype: str) -> float:
    """A number as a float, if nothing is lost. IsLosslessDecimal."""
    try:
        number = float(value)
    except OverflowError as error:
        raise invalid(
            "JSON Parse error: Number too big to be stored in double."
        ) from error
    # JSON's larger integers are read as decimal numbers.
    whole = isinstance(value, int) and -(2**63) <= value < 2**64
    limit = _WHOLE[dtype] if whole else float(np.finfo(dtype).max)
    if np.isfinite(number) and abs(value) > limit:
        raise invalid(
            f"Cannot convert JSON value: {_shown(value)} to "
            f"{_tensorflow(dtype)} without loss of precision."
        )
    return number


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)


def is_base64(value: Any) -> bool:
    """IsValBase64Object."""
    return (
        isinstance(value, dict)
        and len(value) == 1
        and isinstance(value.get("b64"), str)
    )


def from_base64(value: dict) -> bytes:
    """JsonDecodeBase64Object."""
    if not is_base64(value):
        raise invalid(
            f"JSON Value: {_shown(value)} not formatted correctly for base64 "
            f"data"
        )
    text = value["b64"].rstrip("=")
    try:
        # Padding is optional, as in absl::Base64Unescape.
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("Unable to base64 decode") from error


def utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:  # Half of a surrogate pair.
        raise invalid(
            "JSON Parse error: The surrogate pair in string is invalid"
        ) from error


def predict_response(outputs: Mapping[str, np.ndarray], row: bool) -> dict:
    """The body of an answer. MakeJsonFromTensors.

    Args:
        outputs: arrays by output name; bytes as dtype object.
        row: whether the request came in the row form.

    Raises:
        ServingError: INVALID_ARGUMENT, the outputs are no rows.
    """
    if not row:
        values = {name: _values(name, x) for name, x in outputs.items()}
        alone = len(values) == 1
        return {"outputs": next(iter(values.values())) if alone else values}
    sizes = {}
    for name, array in outputs.items():
        if array.ndim == 0:
            raise invalid(f"Tensor name: {name} has no shape information ")
        sizes[name] = len(array)
        if len(array) != next(iter(sizes.values())):
            raise invalid(
                f"Tensor name: {name} has inconsistent batch size: "
                f"{len(array)} expecting: {next(iter(sizes.values()))}"
            )
    columns = {name: _values(name, x) for name, x in outputs.items()}
    if len(columns) == 1:
        return {"predictions": next(iter(columns.values()))}
    rows = zip(*columns.values(), strict=True)
    return {
        "predictions": [dict(zip(columns, row, strict=True)) for row in rows]
    }


def _values(name: str, array: np.ndarray) -> Any:
    """An array as JSON has it. AddTensorValues."""
    if array.dtype == object:
        coder = _as_b64 if name.endswith("_bytes") else _as_text
        return np.frompyfunc(coder, 1, 1)(array).tolist()
    return numbers(array)


def numbers(array: np.ndarray) -> Any:
    """Numbers as nested lists, with the digits that tell them. WriteDecimal."""
    if array.dtype in (np.float32, np.float16):
        # Through text: 0.2 as float32 is 0.20000000298 as a Python float.
        return array.astype("U").astype(np.float64).tolist()
    return array.tolist()


def _as_text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _as_b64(value: bytes) -> dict:
    return {"b64": base64.b64encode(value).decode()}


def type_name(value: Any) -> str:
    kinds = {
        bool: str(value),
        type(None): "Null",
        dict: "Object",
        list: "Array",
        str: "String",
    }
    return kinds.get(type(value), "Number")


def _tensorflow(dtype: str) -> str:
    names = {"float32": "float", "float64": "double", "object": "string"}
    return names.get(dtype, dtype)


def _shown(value: Any) -> str:
    text = ""
    try:
        # Piece by piece: a large value is not written out to be cut.
        for piece in json.JSONEncoder().iterencode(value):
            text += piece
            if len(text) > SHOWN:
                return f"{text[:SHOWN]}..."
    except (RecursionError, ValueError):
        return f"({type_name(value)})"
    return text
