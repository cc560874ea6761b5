"""TF Serving's gRPC services, and gRPC's own health service.

Reference: tensorflow_serving/apis/prediction_service.proto and
model_service.proto; model_servers/prediction_service_impl.cc and
model_service_impl.cc.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any

import grpc
import numpy as np
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from tensorflow_serving.apis import classification_pb2
from tensorflow_serving.apis import get_model_metadata_pb2
from tensorflow_serving.apis import get_model_status_pb2
from tensorflow_serving.apis import inference_pb2
from tensorflow_serving.apis import model_management_pb2
from tensorflow_serving.apis import model_service_pb2
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2
from tensorflow_serving.apis import regression_pb2

from kbert.errors import ConfigError
from kbert.errors import ServingError
from kbert.exported.names import DEFAULT_SIGNATURE
from kbert.serving import config
from kbert.serving import messages
from kbert.serving import signatures
from kbert.serving import tensors
from kbert.serving import wire
from kbert.serving.core import Core
from kbert.serving.core import InferenceTask
from kbert.serving.core import ModelSpec
from kbert.serving.examples import examples_of
from kbert.serving.logs import Log
from kbert.serving.metrics import Metrics
from kbert.serving.metrics import Outcome
from kbert.serving.status import CODES
from kbert.serving.status import error
from kbert.serving.status import invalid

if TYPE_CHECKING:
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}


def _services(module: Any) -> Mapping[str, ServiceDescriptor]:
    return module.DESCRIPTOR.services_by_name


@dataclass
class Call:
    """One call of a method.

    Attributes:
        request: its message.
        size: bytes of it.
        deadline: `time.monotonic()` after which nobody waits.
        outcome: what the metrics say of it.
    """

    request: Any
    size: int
    deadline: float
    outcome: Outcome


def _answered(kind: type[Message]):
    """A method of a `Call` as one of a message's bytes and gRPC's context.

    The message is parsed here, since gRPC would do it on the event loop, and
    `ServingError`s and figures go where they belong.
    """

    def wrap(method):
        @functools.wraps(method)
        async def answer(self, data: bytes, context: Any) -> Any:
            started, code, message = time.perf_counter(), "OK", ""
            try:
                with self.metrics.request(method.__name__, "GRPC") as outcome:
                    try:
                        return await self.called(
                            method, kind, data, context, outcome
                        )
                    except ServingError:
                        raise
                    except Exception as failure:
                        # A fault of ours must not show its insides.
                        self.log(
                            "fault", method=method.__name__, error=repr(failure)
                        )
                        raise error("INTERNAL", "Internal error") from failure
            except ServingError as failure:
                code, message = failure.code, str(failure)
            finally:
                self.log(
                    "request",
                    method=method.__name__,
                    path="grpc",
                    model=outcome.model,
                    status=code,
                    ms=round(1e3 * (time.perf_counter() - started), 2),
                )
            await context.abort(_STATUS_CODES[CODES[code][0]], message)

        return answer

    return wrap


class _Service:
    """What both services have.

    Args:
        core: answers the requests.
        metrics: counts them.
        log: notes them.
        timeout: seconds for a request that sets no deadline.
    """

    service: ServiceDescriptor

    def __init__(self, core: Core, metrics: Metrics, log: Log, timeout: float):
        self.core = core
        self.metrics = metrics
        self.log = log
        self.timeout = timeout

    def handler(self) -> grpc.GenericRpcHandler:
        """What a gRPC server is given."""
        methods = {
            method.name: grpc.unary_unary_rpc_method_handler(
                getattr(self, method.name)
            )
            for method in self.service.methods
        }
        return grpc.method_handlers_generic_handler(
            self.service.full_name, methods
        )

    async def called(self, method, kind, data, context, outcome) -> bytes:
        """Answer a call of a method."""
        left = context.time_remaining()
        left = self.timeout if left is None else min(left, self.timeout)
        deadline = time.monotonic() + left
        with self.core.held.share() as share:
            share.resize(len(data))
            request = await self.core.workers.run(
                *(len(data), deadline, wire.parse),
                *(kind, data, self.core.limits),
            )
            call = Call(request, len(data), deadline, outcome)
            return await method(self, call)

    def spec(self, call: Call, request: Any = None) -> ModelSpec:
        """Read the model_spec of a call's request, or of a part of it."""
        request = request or call.request
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        found = request.model_spec
        if found.name in self.core.models.configs:
            call.outcome.model = found.name
        call.outcome.signature = found.signature_name
        choice = found.WhichOneof("version_choice")
        return ModelSpec(
            name=found.name,
            number=found.version.value if choice == "version" else None,
            label=found.version_label if choice == "version_label" else None,
            signature=found.signature_name,
            deadline=call.deadline,
        )


class PredictionService(_Service):
    """Predict, Classify, Regress, MultiInference, GetModelMetadata."""

    service = _services(prediction_service_pb2)["PredictionService"]

    @_answered(predict_pb2.PredictRequest)
    async def Predict(self, call: Call) -> bytes:
        request, limits = call.request, self.core.limits
        spec = self.spec(call)

        def read(signature) -> dict[str, np.ndarray]:
            if signature is None:
                name = spec.signature or DEFAULT_SIGNATURE
                raise error(
                    "FAILED_PRECONDITION",
                    f'Serving signature key "{name}" not found.',
                )
            return signatures.complete(
                signature,
                request.inputs,
                functools.partial(tensors.to_array, limits=limits),
            )

        outputs, number = await self.core.predict(
            spec, call.size, read, request.output_filter
        )

        def write(_) -> bytes:
            response = predict_pb2.PredictResponse()
            _fill(response.model_spec, spec, number)
            for name, array in outputs.items():
                response.outputs[name].CopyFrom(tensors.to_proto(array))
            return response.SerializeToString()

        return await self.core.write(spec, outputs.values(), write)

    @_answered(classification_pb2.ClassificationRequest)
    async def Classify(self, call: Call) -> bytes:
        response = classification_pb2.ClassificationResponse()
        return await self._infer(call, signatures.CLASSIFY, response)

    @_answered(regression_pb2.RegressionRequest)
    async def Regress(self, call: Call) -> bytes:
        response = regression_pb2.RegressionResponse()
        return await self._infer(call, signatures.REGRESS, response)

    async def _infer(self, call: Call, method: str, response: Any) -> bytes:
        spec = self.spec(call)
        (answer,), number = await self.core.infer(
            *(spec, call.size, [InferenceTask(method, spec.signature)]),
            lambda: examples_of(call.request.input, self.core.limits),
        )
        call.outcome.rows = len(next(iter(answer.values())))

        def write(_) -> bytes:
            _fill(response.model_spec, spec, number)
            _FILL[method](answer, response.result)
            return response.SerializeToString()

        return await self.core.write(spec, answer.values(), write)

    @_answered(inference_pb2.MultiInferenceRequest)
    async def MultiInference(self, call: Call) -> bytes:
        tasks = call.request.tasks or [inference_pb2.InferenceTask()]
        tasks[0].model_spec.SetInParent()  # One without has no name.
        spec = self.spec(call, tasks[0])
        with self.core.use(spec) as version:
            asked = _tasks(tasks, version.servable.signatures)
        answers, number = await self.core.infer(
            *(spec, call.size, asked),
            lambda: examples_of(call.request.input, self.core.limits),
        )

        def write(_) -> bytes:
            response = inference_pb2.MultiInferenceResponse()
            for task, answer in zip(asked, answers, strict=True):
                result = response.results.add()
                _fill(result.model_spec, spec, number, task.signature)
                _FILL[task.method](
                    answer,
                    result.classification_result
                    if task.method == signatures.CLASSIFY
                    else result.regression_result,
                )
            return response.SerializeToString()

        arrays = [array for answer in answers for array in answer.values()]
        return await self.core.write(spec, arrays, write)

    @_answered(get_model_metadata_pb2.GetModelMetadataRequest)
    async def GetModelMetadata(self, call: Call) -> bytes:
        request, spec = call.request, self.spec(call)
        if not request.metadata_field:
            raise invalid(
                "GetModelMetadataRequest must specify at least one "
                "metadata_field"
            )
        for name in request.metadata_field:
            if name != messages.SIGNATURE_DEF:
                raise invalid(f"Metadata field {name} is not supported")
        return messages.metadata(self.core, spec).SerializeToString()


class ModelService(_Service):
    """GetModelStatus, HandleReloadConfigRequest.

    Args:
        *parts: see `_Service`.
        may_reload: whether clients may say which models are served. Whoever
            may has the server load any SavedModel of the machine, and a
            SavedModel is a program that reads and writes files.
    """

    service = _services(model_service_pb2)["ModelService"]

    def __init__(self, *parts: Any, may_reload: bool = False):
        super().__init__(*parts)
        self.may_reload = may_reload

    @_answered(get_model_status_pb2.GetModelStatusRequest)
    async def GetModelStatus(self, call: Call) -> bytes:
        return messages.status(self.core, self.spec(call)).SerializeToString()

    @_answered(model_management_pb2.ReloadConfigRequest)
    async def HandleReloadConfigRequest(self, call: Call) -> bytes:
        if not self.may_reload:
            raise error(
                "PERMISSION_DENIED",
                "Reloading the models' configuration is off. It is on with "
                "a model config file, a token, or --allow-reload.",
            )
        try:
            models = config.from_proto(call.request.config)
        except ConfigError as failure:
            raise invalid(str(failure)) from failure
        await self.core.models.reload(models)
        response = model_management_pb2.ReloadConfigResponse()
        response.status.error_code = 0
        return response.SerializeToString()


def _tasks(
    tasks: Sequence[Any], known: Mapping[str, SignatureDef]
) -> list[InferenceTask]:
    """What a multi-inference request asks. TensorFlowMultiInferenceRunner."""
    asked: list[InferenceTask] = []
    for task in tasks:
        if not task.model_spec.name:
            raise invalid("Found ModelSpec with an empty model name.")
        if task.model_spec.name != tasks[0].model_spec.name:
            raise invalid(
                "All ModelSpecs in a MultiInferenceRequest must access the "
                "same model name."
            )
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        if name in [other.signature for other in asked]:
            raise invalid(f"Duplicate evaluation of signature: {name}")
        if name not in known:
            raise invalid(
                f"Requested signature not found in model graph: {name}"
            )
        if task.method_name not in (signatures.CLASSIFY, signatures.REGRESS):
            raise error(
                "UNIMPLEMENTED",
                f"Unsupported signature method_name: {task.method_name}",
            )
        signatures.find(known, name, task.method_name)
        asked.append(InferenceTask(task.method_name, name))
    return asked


def _fill(proto, spec: ModelSpec, number: int, signature: str = "") -> None:
    """MakeModelSpec."""
    proto.name = spec.name
    proto.version.value = number
    proto.signature_name = signature or spec.signature or DEFAULT_SIGNATURE


def _classes(answer: dict[str, np.ndarray], result) -> None:
    labels, scores = messages.class_columns(answer)
    for row_labels, row_scores in zip(labels, scores, strict=True):
        row = result.classifications.add()
        for label, score in zip(row_labels, row_scores, strict=True):
            row.classes.add(label=label.decode("utf-8", "replace"), score=score)


def _values(answer: dict[str, np.ndarray], result) -> None:
    for value in answer["outputs"]:
        result.regressions.add(value=value)


_FILL = {signatures.CLASSIFY: _classes, signatures.REGRESS: _values}
