"""A model of another server, over gRPC."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult
from urllib.parse import unquote

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2
from tensorflow_serving.apis import get_model_status_pb2
from tensorflow_serving.apis import model_pb2
from tensorflow_serving.apis import model_service_pb2_grpc
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

from kbert.errors import ConfigError
from kbert.serving.status import error

# As in REST, what may stand after the model's name.
_PATH = re.compile(
    r"/(?P<name>[^/]+)"
    r"(?:/versions/(?P<version>\d{1,18})|/labels/(?P<label>[^/]+))?/?",
    re.ASCII,
)


class GrpcModel:
    """A model behind PredictionService.

    Args:
        parts: the URL, split.
        token: bearer token, or None.
        ca_file: PEM file, or None.
    """

    def __init__(
        self,
        parts: SplitResult,
        token: str | None,
        ca_file: str | os.PathLike | None,
    ):
        found = _PATH.fullmatch(parts.path)
        if found is None:
            raise ConfigError(
                "Expected the model's name after the address, as in "
                "grpc://localhost:8500/spam or .../spam/versions/1. "
                f"Received: {parts.path!r}"
            )
        self._spec = model_pb2.ModelSpec(name=unquote(found["name"]))
        if found["version"]:
            self._spec.version.value = int(found["version"])
        elif found["label"]:
            self._spec.version_label = unquote(found["label"])
        self._metadata = [("authorization", f"Bearer {token}")] if token else []
        # As gRPC's own default for what is received, 4 MiB, is soon too few.
        options = [("grpc.max_receive_message_length", 64 * 1024 * 1024)]
        if parts.scheme == "grpcs":
            roots = None if ca_file is None else Path(ca_file).read_bytes()
            self._channel = grpc.secure_channel(
                parts.netloc, grpc.ssl_channel_credentials(roots), options
            )
        else:
            self._channel = grpc.insecure_channel(parts.netloc, options)
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(
            self._channel
        )
        self._status = model_service_pb2_grpc.ModelServiceStub(self._channel)
        self._inputs: dict[str, list[str]] = {}

    def predict(self, columns: dict, signature: str, timeout: float) -> dict:
        """Outputs by name, of texts by input name ("" for the only one)."""
        request = predict_pb2.PredictRequest()
        request.model_spec.CopyFrom(self._spec)
        request.model_spec.signature_name = signature
        for name, texts in columns.items():
            # gRPC wants inputs named; the model says how.
            name = name or self._only_input(signature, timeout)
            request.inputs[name].CopyFrom(
                tf.make_tensor_proto(texts, tf.string)
            )
        response = self._ask(self._prediction.Predict, request, timeout)
        return {
            name: _strings(tf.make_ndarray(proto))
            for name, proto in response.outputs.items()
        }

    def _only_input(self, signature: str, timeout: float) -> str:
        if signature not in self._inputs:
            request = get_model_metadata_pb2.GetModelMetadataRequest()
            request.model_spec.CopyFrom(self._spec)
            request.metadata_field.append("signature_def")
            response = self._ask(
                self._prediction.GetModelMetadata, request, timeout
            )
            found = get_model_metadata_pb2.SignatureDefMap()
            response.metadata["signature_def"].Unpack(found)
            name = signature or "serving_default"
            if name not in found.signature_def:
                raise error(
                    "FAILED_PRECONDITION",
                    f'Serving signature key "{name}" not found.',
                )
            self._inputs[signature] = sorted(found.signature_def[name].inputs)
        names = self._inputs[signature]
        if len(names) != 1:
            raise error(
                "INVALID_ARGUMENT",
                f"Expected a dict of texts by input, of {names}. Received: "
                f"one list of texts.",
            )
        return names[0]

    def states(self, timeout: float) -> list[str]:
        """The states of the model's versions."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.CopyFrom(self._spec)
        response = self._ask(self._status.GetModelStatus, request, timeout)
        names = get_model_status_pb2.ModelVersionStatus.State
        return [names.Name(row.state) for row in response.model_version_status]

    def _ask(self, method: Any, request: Any, timeout: float) -> Any:
        try:
            return method(
                request, timeout=max(timeout, 0.001), metadata=self._metadata
            )
        except grpc.RpcError as failure:
            code = failure.code().name
            raise error(code, failure.details() or code) from failure

    def close(self) -> None:
        """Close the connections."""
        self._channel.close()


def _strings(array: np.ndarray) -> np.ndarray:
    """Bytes as `str`, other arrays as they are."""
    if array.dtype != object:
        return array
    decode = np.frompyfunc(lambda value: value.decode("utf-8", "replace"), 1, 1)
    return decode(array).astype(str)
