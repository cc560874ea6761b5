"""Parsed JSON bodies to arrays, by TF Serving's rules.

Reference: tensorflow_serving/util/json_tensor.cc of July 2026; its function
names stand beside the ones here. Messages are its own, with values cut to a
length that can be read.

Departures: integers that do not fit an int8, int16 or uint8 are refused (there
they wrap around), and so is a row object in which a key stands twice (there
its values shift those of the rows that follow); arrays have at most
`MAX_DIMENSIONS`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from kbert.errors import ServingError
from kbert.serving.json_parse import Repeated
from kbert.serving.json_parse import shown
from kbert.serving.json_parse import type_name
from kbert.serving.limits import Limits
from kbert.serving.status import error
from kbert.serving.status import invalid

# What a NumPy array can have; a TensorFlow tensor has up to 254.
MAX_DIMENSIONS = 64

_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint32", "uint64")
_FLOATS = ("float32", "float64")

# White space of C's isspace, and what Base64 is made of.
_SPACE = b"\t\n\v\f\r "
_BASE64 = re.compile(b"[A-Za-z0-9+/]*")


def signature_name(body: dict) -> str:
    """The signature that a body asks for, "" for the default. FillSignature.

    Raises:
        ServingError: INVALID_ARGUMENT, it is no string.
    """
    name = body.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {shown(body)} not formatted correctly. "
            f"'signature_name' key must be a string value."
        )
    return utf8(name).decode()


def predict_inputs(
    body: dict, dtypes: Mapping[str, str], limits: Limits | None = None
) -> tuple[dict[str, np.ndarray], bool]:
    """The arrays of a predict request. FillPredictRequestFromJson.

    Args:
        body: what `json_parse.parse` gave.
        dtypes: NumPy dtype names of the signature's inputs, `"object"` for
            strings.
        limits: of the rows.

    Returns:
        Arrays by input name, and whether the row form was used.

    Raises:
        ServingError: INVALID_ARGUMENT, the values do not suit the inputs;
            UNIMPLEMENTED, no JSON value suits an input's type.
        TooLargeError: there are too many rows.
    """
    limits = limits or Limits()
    if "instances" in body and "inputs" in body:
        raise invalid(
            f"JSON Value: {shown(body)} Not formatted correctly expecting "
            f"only one of 'inputs' or 'instances' keys to exist "
        )
    if "instances" in body:
        return _from_instances(body["instances"], body, dtypes, limits), True
    if "inputs" in body:
        return _from_inputs(body["inputs"], dtypes, limits), False
    raise invalid("Missing 'inputs' or 'instances' key")


def _from_instances(
    rows: Any, body: dict, dtypes: Mapping, limits: Limits
) -> dict:
    """FillTensorMapFromInstancesList."""
    if not isinstance(rows, list):
        raise invalid(
            f"JSON Value: {shown(body)} Expecting 'instances' to be an "
            f"list/array"
        )
    if not rows:
        raise invalid(
            f"JSON Value: {shown(body)} No values in 'instances' array"
        )
    limits.check_rows(len(rows))
    if not isinstance(rows[0], dict) and len(dtypes) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as "
            "multiple input tensors required as per tensorinfo_map"
        )
    named = _is_object(rows[0])
    columns: dict[str, _Column] = {}
    for i, row in enumerate(rows):
        if named != _is_object(row):
            wanted = (
                "object but got list" if named else "value/list but got object"
            )
            raise invalid(f"Expecting {wanted} at item {i} of input list")
        if named:
            _add_named(columns, row, dtypes, i)
            continue
        name = next(iter(dtypes))
        try:
            _add(columns, row, name, dtypes)
        except ServingError as failure:
            raise _at(f"{i}", failure) from failure
    return {name: column.array() for name, column in columns.items()}


def _add_named(columns: dict, row: dict, dtypes: Mapping, i: int) -> None:
    for name, value in row.items():
        try:
            _add(columns, value, name, dtypes)
        except ServingError as failure:
            raise _at(f"{i} key: {name}", failure) from failure
    if row.keys() != dtypes.keys():
        raise invalid(
            f"Failed to process element: {i} of 'instances' list. JSON "
            f"object: {shown(row)} keys must be equal to: "
            f"{','.join(sorted(dtypes))}"
        )
    if isinstance(row, Repeated):
        raise invalid(
            f"Failed to process element: {i} of 'instances' list. JSON "
            f"object: {shown(dict(row))} has a key that stands twice"
        )


def _at(place: str, failure: ServingError) -> ServingError:
    return invalid(
        f"Failed to process element: {place} of 'instances' list. Error: "
        f"{failure.code}: {failure}"
    )


def _add(columns: dict, value: Any, name: str, dtypes: Mapping) -> None:
    """AddInstanceItem."""
    if name not in dtypes:
        raise invalid(f"JSON object: does not have named input: {name}")
    shape, values = _dense(value, dtypes[name], MAX_DIMENSIONS - 1)
    column = columns.get(name)
    if column is None:
        column = columns[name] = _Column(dtypes[name], shape, len(values))
    elif column.size != len(values):
        raise invalid(
            f"Expecting tensor size: {column.size} but got: {len(values)}"
        )
    elif column.shape != shape:
        raise invalid(
            f"Expecting shape {_listed(column.shape)} but got: {_listed(shape)}"
        )
    column.values += values
    column.rows += 1


class _Column:
    """The rows of one input, all of the first one's shape."""

    def __init__(self, dtype: str, shape: list[int], size: int):
        self.dtype, self.shape, self.size = dtype, shape, size
        self.values: list = []
        self.rows = 0

    def array(self) -> np.ndarray:
        return _array(self.values, [self.rows, *self.shape], self.dtype)


def _from_inputs(value: Any, dtypes: Mapping, limits: Limits) -> dict:
    """FillTensorMapFromInputsMap."""
    if not _is_object(value):
        if len(dtypes) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as "
                "multiple input tensors required as per tensorinfo_map"
            )
        value = {next(iter(dtypes)): value}
    arrays = {}
    for name, dtype in dtypes.items():
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        if isinstance(value[name], list):
            limits.check_rows(len(value[name]))
        shape, values = _dense(value[name], dtype, MAX_DIMENSIONS)
        arrays[name] = _array(values, shape, dtype)
    return arrays


def _dense(value: Any, dtype: str, limit: int) -> tuple[list[int], list]:
    """The shape and the values of nested lists. GetDenseTensorShape."""
    shape: list[int] = []
    level = value
    while isinstance(level, list):
        shape.append(len(level))
        level = level[0] if level else None
    if len(shape) > limit:
        raise invalid(
            f"Encountered list nested {len(shape)} deep, expected at most "
            f"{limit}"
        )
    values: list = []
    _fill(value, shape, 0, dtype, values)
    return shape, values


def _fill(value, shape: list[int], level: int, dtype: str, values: list):
    """FillTensorProto."""
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid(
                f"JSON Value: {shown(value)} found at incorrect level: "
                f"{level + 1} in the JSON DOM. Expected at level: {len(shape)}"
            )
        values.append(_leaf(value, dtype))
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
        _fill(item, shape, level + 1, dtype, values)


def _array(values: list, shape: list[int], dtype: str) -> np.ndarray:
    array = np.empty(len(values), dtype)
    with np.errstate(over="ignore"):  # Beyond a float's range is infinity.
        array[:] = values
    return array.reshape(shape)


def _leaf(value: Any, dtype: str) -> Any:
    """One value as the dtype has it. AddValueToTensor."""
    if dtype == "object":
        if isinstance(value, str):
            return utf8(value)
        if isinstance(value, dict):
            return from_base64(value)
    elif isinstance(value, dict):
        pass  # Said before the type is looked at.
    elif dtype == "bool":
        if isinstance(value, bool):
            return value
    elif dtype in _FLOATS:
        if type(value) in (int, float):  # Not bool, which is an int, too.
            return float(value)
    elif dtype in _INTEGERS:
        if type(value) is int:
            limits = np.iinfo(dtype)
            if limits.min <= value <= limits.max:
                return value
    else:
        raise error(
            "UNIMPLEMENTED",
            f"Conversion of JSON Value: {shown(value)} to type: "
            f"{type_string(dtype)}",
        )
    raise invalid(
        f"JSON Value: {shown(value)} Type: {type_name(value)} is not of "
        f"expected type: {type_string(dtype)}"
    )


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)


def is_base64(value: Any) -> bool:
    """IsValBase64Object."""
    return (
        isinstance(value, dict)
        and not isinstance(value, Repeated)
        and len(value) == 1
        and isinstance(value.get("b64"), str)
    )


def from_base64(value: dict) -> bytes:
    """JsonDecodeBase64Object, absl::Base64Unescape.

    White space inside is skipped; padding, `=` or `.`, is right or left out.
    """
    if not is_base64(value):
        raise invalid(
            f"JSON Value: {shown(value)} not formatted correctly for base64 "
            f"data"
        )
    # At once, as `re` would take a step for each and keep all others waiting.
    text = utf8(value["b64"]).translate(None, _SPACE)
    data = text.rstrip(b"=.")
    padding = -len(data) % 4
    if (
        padding == 3
        or len(text) - len(data) not in (0, padding)
        or not _BASE64.fullmatch(data)
    ):
        raise invalid("Unable to base64 decode")
    return base64.b64decode(data + b"=" * padding)


def utf8(text: str) -> bytes:
    """The bytes of a string, if it is one.

    Raises:
        ServingError: INVALID_ARGUMENT, it has half of a surrogate pair.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as failure:
        raise invalid(
            "JSON Parse error: The surrogate pair in string is invalid."
        ) from failure


def type_string(dtype: str) -> str:
    """TensorFlow's name of a NumPy dtype's name. DataTypeString."""
    names = {
        "float16": "half",
        "float32": "float",
        "float64": "double",
        "object": "string",
    }
    return names.get(dtype, dtype)


def _listed(shape: list[int]) -> str:
    return f"[{','.join(map(str, shape))}]"
