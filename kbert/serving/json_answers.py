"""Arrays to JSON answers, by TF Serving's rules.

Reference: tensorflow_serving/util/json_tensor.cc of July 2026,
MakeJsonFromTensors.

Departures: numbers have the fewest digits that tell them (there six or nine),
and bytes that are no UTF-8 become U+FFFD in what is not named `*_bytes`
(there they make the whole answer no JSON).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import numpy as np

from kbert.serving.json_codec import type_string
from kbert.serving.status import invalid

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))

# Bytes above which an answer is written piece by piece.
LARGE = 1024 * 1024

# Numbers that are converted at a time.
PIECE = 16 * 1024

# What AddSingleValueAndAdvance can write.
_WRITABLE = frozenset(
    ("float32", "float64", "object", "bool")
    + ("int8", "int16", "int32", "int64", "uint8", "uint32", "uint64")
)


def dump(body: Any) -> bytes:
    """The bytes of an answer.

    Half of a surrogate pair, which a key of a request may have, becomes `?`.
    """
    return _ENCODER.encode(body).encode(errors="replace")


def dump_large(body: Any) -> bytes:
    """The same, letting other threads run meanwhile."""
    data = bytearray()
    for piece in _ENCODER.iterencode(body):
        data += piece.encode(errors="replace")
    return bytes(data)


def write(answer: Callable[[], Any], size: int) -> bytes:
    """The bytes of an answer that takes `size` bytes to say."""
    return (dump if size <= LARGE else dump_large)(answer())


def predict_response(outputs: Mapping[str, np.ndarray], row: bool) -> dict:
    """The body of an answer. MakeJsonFromTensors.

    Args:
        outputs: arrays by output name; bytes as dtype object.
        row: whether the request came in the row form.

    Raises:
        ServingError: INVALID_ARGUMENT, the outputs are no rows, or are of a
            type that JSON does not have.
    """
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    if not row:
        values = {name: _values(name, x) for name, x in outputs.items()}
        alone = len(values) == 1
        return {"outputs": next(iter(values.values())) if alone else values}
    size = None
    for name, array in outputs.items():
        if array.ndim == 0:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if size not in (None, len(array)):
            raise invalid(
                f"Tensor name: {name} has inconsistent batch size: "
                f"{len(array)} expecting: {size}"
            )
        size = len(array)
    columns = {name: _values(name, x) for name, x in outputs.items()}
    if len(columns) == 1:
        return {"predictions": next(iter(columns.values()))}
    rows = zip(*columns.values(), strict=True)
    return {
        "predictions": [dict(zip(columns, row, strict=True)) for row in rows]
    }


def _values(name: str, array: np.ndarray) -> Any:
    """An array as JSON has it. AddTensorValues."""
    # Quantized numbers come as records of one field.
    dtype = array.dtype.names[0] if array.dtype.names else array.dtype.name
    if array.size and dtype not in _WRITABLE:
        raise invalid(
            f"Failed to write JSON value for tensor type: {type_string(dtype)}"
        )
    if array.dtype == object:
        coder = _as_b64 if name.endswith("_bytes") else _as_text
        # Of a scalar frompyfunc makes no array.
        return np.asarray(np.frompyfunc(coder, 1, 1)(array), object).tolist()
    return numbers(array)


def numbers(array: np.ndarray) -> Any:
    """Numbers as nested lists, with the digits that tell them. WriteDecimal."""
    if array.dtype == np.float32:
        # Through text: 0.2 as float32 is 0.20000000298 as a Python float. It
        # takes 128 bytes for each, so some at a time.
        exact = np.empty(array.size)
        for start in range(0, array.size, PIECE):
            piece = slice(start, start + PIECE)
            exact[piece] = array.ravel()[piece].astype("U").astype(np.float64)
        return exact.reshape(array.shape).tolist()
    return array.tolist()


def _as_text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _as_b64(value: bytes) -> dict:
    return {"b64": base64.b64encode(value).decode()}
