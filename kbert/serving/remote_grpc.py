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
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import get_model_metadata_pb2
from tensorflow_serving.apis import get_model_status_pb2
from tensorflow_serving.apis import model_pb2
from tensorflow_serving.apis import model_service_pb2_grpc
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

from kbert.data.texts import encode_texts
from kbert.errors import ConfigError
from kbert.exported.names import DEFAULT_SIGNATURE
from kbert.serving.remote_rest import MAX_ANSWER
from kbert.serving.status import TooLargeError
from kbert.serving.status import error
from kbert.serving.tensors import from_proto

# As in REST, what may stand after the model's name.
_PATH = re.compile(
    r"/(?P<name>[^/]+)"
    r"(?:/versions/(?P<version>\d{1,18})|/labels/(?P<label>[^/]+))?/?",
    re.ASCII,
)


# What gRPC's server says when it answers as many calls as it may. All else that
# is exhausted is too large: full queues are UNAVAILABLE.
MANY_CALLS = "Concurrent RPC limit exceeded"


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
        options = [
            # As gRPC's own default, 4 MiB, is soon too few.
            ("grpc.max_receive_message_length", MAX_ANSWER),
            # Addresses are as they are given, as for REST: no proxy.
            ("grpc.enable_http_proxy", 0),
            # Else it does not look for minutes whether a server is back.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        if parts.scheme == "grpcs":
            try:
                roots = None if ca_file is None else Path(ca_file).read_bytes()
            except OSError as failure:
                raise ConfigError(
                    f"Expected a PEM file of certificates as `ca_file`. "
                    f"Received: {ca_file} ({failure})."
                ) from failure
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
            tensor = request.inputs[name]
            tensor.dtype = types_pb2.DT_STRING
            tensor.tensor_shape.dim.add(size=len(texts))
            tensor.string_val.extend(encode_texts(texts))
        response = self._ask(self._prediction.Predict, request, timeout)
        try:
            return {
                name: _strings(from_proto(proto))
                for name, proto in response.outputs.items()
            }
        except (TypeError, ValueError, OverflowError) as failure:
            raise error(
                "UNKNOWN", f"Expected tensors as outputs. Received: {failure}"
            ) from failure

    def _only_input(self, signature: str, timeout: float) -> str:
        if signature not in self._inputs:
            self._inputs[signature] = self.inputs(signature, timeout)
        names = self._inputs[signature]
        if len(names) != 1:
            raise error(
                "INVALID_ARGUMENT",
                f"Expected a dict of texts by input, of {names}. Received: "
                f"one list of texts.",
            )
        return names[0]

    def inputs(self, signature: str, timeout: float) -> list[str]:
        """The names of a signature's inputs."""
        request = get_model_metadata_pb2.GetModelMetadataRequest()
        request.model_spec.CopyFrom(self._spec)
        request.metadata_field.append("signature_def")
        response = self._ask(
            self._prediction.GetModelMetadata, request, timeout
        )
        found = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(found)
        name = signature or DEFAULT_SIGNATURE
        if name not in found.signature_def:
            raise error(
                "FAILED_PRECONDITION",
                f'Serving signature key "{name}" not found.',
            )
        return sorted(found.signature_def[name].inputs)

    def states(self, timeout: float) -> list[str]:
        """The states of the model's versions."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.CopyFrom(self._spec)
        response = self._ask(self._status.GetModelStatus, request, timeout)
        names = get_model_status_pb2.ModelVersionStatus.State
        return [names.Name(row.state) for row in response.model_version_status]

    def _ask(self, method: Any, request: Any, timeout: float) -> Any:
        try:
            return method(request, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as failure:
            code, details = failure.code().name, failure.details() or ""
            if code == "RESOURCE_EXHAUSTED" and MANY_CALLS not in details:
                raise TooLargeError(f"{details} Lower batch_size.") from failure
            # No repetition makes a certificate good.
            if "CERTIFICATE_VERIFY_FAILED" in details:
                code = "UNAUTHENTICATED"
            raise error(code, details or code) from failure

    def close(self) -> None:
        """Close the connections."""
        self._channel.close()


def _strings(array: np.ndarray) -> np.ndarray:
    """Bytes as `str`, other arrays as they are."""
    if array.dtype != object:
        return array
    decode = np.frompyfunc(lambda value: value.decode("utf-8", "replace"), 1, 1)
    return decode(array).astype(str)
