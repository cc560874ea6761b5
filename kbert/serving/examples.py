"""Requests made of `tf.train.Example`s: classify and regress.

Reference: tensorflow_serving/util/json_tensor.cc
(FillClassifyRegressRequestFromJson) and
tensorflow_serving/servables/tensorflow/util.cc
(InputToSerializedExampleTensor).
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from kbert.serving import json_codec
from kbert.serving.json_parse import Repeated
from kbert.serving.json_parse import shown
from kbert.serving.json_parse import type_name
from kbert.serving.limits import Limits
from kbert.serving.status import invalid

if TYPE_CHECKING:
    from tensorflow_serving.apis.input_pb2 import Input


def examples_of(request: Input, limits: Limits) -> np.ndarray:
    """A gRPC request's examples, serialized, object `(rows,)`.

    Raises:
        ServingError: INVALID_ARGUMENT, there are none.
        TooLargeError: there are too many, or the context, which each gets,
            makes them too large.
    """
    context = b""
    examples = request.example_list.examples
    if request.WhichOneof("kind") == "example_list_with_context":
        examples = request.example_list_with_context.examples
        context = request.example_list_with_context.context.SerializeToString()
    return _joined(context, examples, lambda e: e.SerializeToString(), limits)


def examples_from_json(body: dict, limits: Limits) -> np.ndarray:
    """A REST request's examples, serialized, object `(rows,)`.

    Raises:
        ServingError: INVALID_ARGUMENT, a feature has the wrong form.
        TooLargeError: as for `examples_of`.
    """
    context = b""
    if "context" in body:
        context = _example(body["context"])
    rows = body.get("examples")
    if "examples" not in body:
        raise invalid(
            f"JSON Value: {shown(body)} When method is classify, key "
            f"'examples' is expected and was not found"
        )
    if not isinstance(rows, list):
        raise invalid(
            f"JSON Value: {shown(body)} Expecting 'examples' value to be an "
            f"list/array"
        )
    if not rows:
        raise invalid(
            f"JSON Value: {shown(body)} 'examples' value is an empty array"
        )
    return _joined(context, rows, _example, limits)


def _joined(
    context: bytes,
    rows: Sequence,
    serialize: Callable[[Any], bytes],
    limits: Limits,
) -> np.ndarray:
    """Each row after the context, which may be large: a product."""
    if not rows:
        raise invalid("Input is empty.")
    limits.check_rows(len(rows))
    size = len(context) * len(rows)
    limits.check_bytes(
        size, "examples, with the context in each,", f"{len(rows)} rows"
    )
    array = np.empty(len(rows), object)
    for i, row in enumerate(rows):
        array[i] = context + serialize(row)
    return array


def _example(features: Any) -> bytes:
    """MakeExampleFromJsonObject."""
    from tensorflow.core.example.example_pb2 import Example

    if not isinstance(features, dict):
        raise invalid(
            f"Example must be JSON object but got JSON {type_name(features)}"
        )
    example = Example()
    if isinstance(features, Repeated):
        features = dict(features.pairs)  # Here the last one counts.
    for name, values in features.items():
        feature = example.features.feature[json_codec.utf8(name).decode()]
        for value in values if isinstance(values, list) else [values]:
            _add(feature, name, value)
    return example.SerializeToString()


def _add(feature: Any, name: str, value: Any) -> None:
    """AddValueToFeature."""
    if isinstance(value, str):
        kind, value = "bytes_list", json_codec.utf8(value)
    elif json_codec.is_base64(value):
        kind, value = "bytes_list", json_codec.from_base64(value)
    elif isinstance(value, int):  # Booleans too.
        kind, value = "int64_list", int(value)
        if not -(2**63) <= value < 2**63:
            raise invalid(
                f"Feature: {name} has uint64_t element. Only int64_t is "
                f"supported."
            )
    elif isinstance(value, float):
        kind = "float_list"
        with np.errstate(over="ignore"):  # Beyond its range is infinity.
            value = np.float32(value).item()
    else:
        raise invalid(
            f"Feature: {name} has element with unexpected JSON type: "
            f"{type_name(value)}"
        )
    if feature.WhichOneof("kind") not in (None, kind):
        raise invalid(
            f"Unexpected element type in feature: {name} expecting type: "
            f"{feature.WhichOneof('kind').removesuffix('_list')}"
        )
    getattr(feature, kind).value.append(value)
