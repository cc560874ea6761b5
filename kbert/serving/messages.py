"""Answers about models and versions as TF Serving's protobuf messages.

Reference: tensorflow_serving/model_servers/get_model_status_impl.cc and
servables/tensorflow/get_model_metadata_impl.cc.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from kbert.serving import json_answers
from kbert.serving.status import CODES

if TYPE_CHECKING:
    from tensorflow_serving.apis.get_model_metadata_pb2 import (
        GetModelMetadataResponse,
    )
    from tensorflow_serving.apis.get_model_status_pb2 import (
        GetModelStatusResponse,
    )

    from kbert.serving.core import Core
    from kbert.serving.core import ModelSpec

# The only field that GetModelMetadata knows.
SIGNATURE_DEF = "signature_def"


def status(core: Core, spec: ModelSpec) -> GetModelStatusResponse:
    """The states of a model's versions.

    Raises:
        ServingError: NOT_FOUND, the model or the version was never seen;
            INVALID_ARGUMENT, the label is unknown.
    """
    from tensorflow_serving.apis.get_model_status_pb2 import (
        GetModelStatusResponse,
    )
    from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus

    number = spec.number
    if spec.label:
        number = core.models.label(spec.name, spec.label)
    response = GetModelStatusResponse()
    for version in core.models.states(spec.name, number):
        row = response.model_version_status.add()
        row.version = version.number
        row.state = ModelVersionStatus.State.Value(version.state)
        failure = version.failure
        row.status.error_code = CODES[failure.code if failure else "OK"][0]
        row.status.error_message = str(failure or "")
    return response


def metadata(core: Core, spec: ModelSpec) -> GetModelMetadataResponse:
    """The signatures of a version.

    Raises:
        ServingError: see `Models.use`.
    """
    from tensorflow_serving.apis.get_model_metadata_pb2 import (
        GetModelMetadataResponse,
    )
    from tensorflow_serving.apis.get_model_metadata_pb2 import SignatureDefMap

    with core.use(spec) as version:
        signatures = SignatureDefMap()
        for name, signature in version.servable.signatures.items():
            signatures.signature_def[name].CopyFrom(signature)
        response = GetModelMetadataResponse()
        response.model_spec.name = spec.name
        response.model_spec.version.value = version.number
        response.metadata[SIGNATURE_DEF].Pack(signatures)
        return response


def as_json(message: Any) -> dict:
    """A message in JSON, with all its fields. ToJsonString."""
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(
        message,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )


def metadata_json(response: GetModelMetadataResponse) -> dict:
    """`metadata` in JSON, which has its signatures unpacked."""
    from tensorflow_serving.apis.get_model_metadata_pb2 import SignatureDefMap

    signatures = SignatureDefMap()
    response.metadata[SIGNATURE_DEF].Unpack(signatures)
    return {
        "model_spec": as_json(response.model_spec),
        "metadata": {SIGNATURE_DEF: as_json(signatures)},
    }


def class_pairs(answer: dict[str, np.ndarray]) -> list[list[list]]:
    """Labels and scores of each row, `[[label, score], ...]`.

    Reference: json_tensor.cc, MakeJsonFromClassificationResult.
    """
    labels, scores = class_columns(answer)
    rows = zip(labels, json_answers.numbers(scores), strict=True)
    return [
        [
            [label.decode("utf-8", "replace"), score]
            for label, score in zip(*row, strict=True)
        ]
        for row in rows
    ]


def class_columns(answer: dict[str, Any]) -> tuple[Any, np.ndarray]:
    """`classes` and `scores`, `(rows, n)`; one that is missing is empty."""
    labels: Any = answer.get("classes")
    scores: Any = answer.get("scores")
    if labels is None:
        labels = np.full(scores.shape, b"", object)
    if scores is None:
        scores = np.zeros(labels.shape, "float32")
    return labels, scores
