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
from typing import TYPE_CHECKING
from typing import Any

import grpc
import numpy as np
from tensorflow_serving.apis import classification_pb2
from tensorflow_serving.apis import inference_pb2
from tensorflow_serving.apis import model_management_pb2
from tensorflow_serving.apis import model_service_pb2_grpc
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc
from tensorflow_serving.apis import regression_pb2

from kbert.errors import ConfigError
from kbert.errors import ServingError
from kbert.serving import config
from kbert.serving import messages
from kbert.serving import signatures
from kbert.serving import tensors
from kbert.serving.core import Core
from kbert.serving.core import Spec
from kbert.serving.core import Task
from kbert.serving.examples import examples_of
from kbert.serving.logs import Log
from kbert.serving.metrics import Metrics
from kbert.serving.servable import DEFAULT_SIGNATURE
from kbert.serving.status import CODES
from kbert.serving.status import error
from kbert.serving.status import invalid

if TYPE_CHECKING:
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}


def _answered(api: str):
    """Have a method's `ServingError`s and figures go where they belong."""

    def wrap(method):
        @functools.wraps(method)
        async def answer(self, request, context):
            started, code, message = time.perf_counter(), "OK", ""
            try:
                with self.metrics.request(api, "GRPC") as outcome:
                    try:
                        return await method(self, request, context, outcome)
                    except ServingError:
                        raise
                    except Exception as failure:
                        # A fault of ours must not show its insides.
                        self.log("fault", method=api, error=repr(failure))
                        raise error("INTERNAL", "Internal error") from failure
            except ServingError as failure:
                code, message = failure.code, str(failure)
            finally:
                self.log(
                    "request",
                    method=api,
                    path="grpc",
                    model=outcome.model,
                    status=code,
                    ms=round(1e3 * (time.perf_counter() - started), 2),
                )
            await context.abort(_STATUS_CODES[CODES[code][0]], message)

        return answer

    return wrap


class _Front:
    """What both services have.

    Args:
        core: answers the requests.
        metrics: counts them.
        log: notes them.
        timeout: seconds for a request that sets no deadline.
        max_bytes: of a tensor, unpacked.
    """

    def __init__(
        self,
        core: Core,
        metrics: Metrics,
        log: Log,
        timeout: float,
        max_bytes: int,
    ):
        self.core = core
        self.metrics = metrics
        self.log = log
        self.timeout = timeout
        self.max_bytes = max_bytes

    def spec(self, request: Any, context: Any, outcome: Any) -> Spec:
        """Read a request's model_spec."""
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        found = request.model_spec
        if found.name in self.core.models.configs:
            outcome.model = found.name
        left = context.time_remaining()
        left = self.timeout if left is None else min(left, self.timeout)
        choice = found.WhichOneof("version_choice")
        return Spec(
            name=found.name,
            number=found.version.value if choice == "version" else None,
            label=found.version_label if choice == "version_label" else None,
            signature=found.signature_name,
            deadline=time.monotonic() + left,
        )


class PredictionService(
    _Front, prediction_service_pb2_grpc.PredictionServiceServicer
):
    """Predict, Classify, Regress, MultiInference, GetModelMetadata."""

    @_answered("Predict")
    async def Predict(self, request, context, outcome):
        spec = self.spec(request, context, outcome)

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
                functools.partial(tensors.to_array, max_bytes=self.max_bytes),
            )

        outputs, number = await self.core.predict(
            spec, read, request.output_filter
        )
        response = predict_pb2.PredictResponse()
        _fill(response.model_spec, spec, number)
        for name, array in outputs.items():
            response.outputs[name].CopyFrom(tensors.to_proto(array))
        return response

    @_answered("Classify")
    async def Classify(self, request, context, outcome):
        response = classification_pb2.ClassificationResponse()
        answer = await self._infer(
            request, context, outcome, signatures.CLASSIFY, response
        )
        _classes(answer, response.result)
        return response

    @_answered("Regress")
    async def Regress(self, request, context, outcome):
        response = regression_pb2.RegressionResponse()
        answer = await self._infer(
            request, context, outcome, signatures.REGRESS, response
        )
        _values(answer, response.result)
        return response

    async def _infer(self, request, context, outcome, method, response):
        spec = self.spec(request, context, outcome)
        (answer,), number = await self.core.infer(
            spec,
            [Task(method, spec.signature)],
            lambda: examples_of(request.input),
        )
        outcome.rows = len(next(iter(answer.values())))
        _fill(response.model_spec, spec, number)
        return answer

    @_answered("MultiInference")
    async def MultiInference(self, request, context, outcome):
        tasks = request.tasks or [inference_pb2.InferenceTask()]
        tasks[0].model_spec.SetInParent()  # One without has no name.
        spec = self.spec(tasks[0], context, outcome)
        with self.core.use(spec) as version:
            asked = _tasks(tasks, version.servable.signatures)
        answers, number = await self.core.infer(
            spec, asked, lambda: examples_of(request.input)
        )
        response = inference_pb2.MultiInferenceResponse()
        for task, answer in zip(asked, answers, strict=True):
            result = response.results.add()
            _fill(result.model_spec, spec, number, task.signature)
            if task.method == signatures.CLASSIFY:
                _classes(answer, result.classification_result)
            else:
                _values(answer, result.regression_result)
        return response

    @_answered("GetModelMetadata")
    async def GetModelMetadata(self, request, context, outcome):
        spec = self.spec(request, context, outcome)
        if not request.metadata_field:
            raise invalid(
                "GetModelMetadataRequest must specify at least one "
                "metadata_field"
            )
        for name in request.metadata_field:
            if name != messages.SIGNATURE_DEF:
                raise invalid(f"Metadata field {name} is not supported")
        return messages.metadata(self.core, spec)


class ModelService(_Front, model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus, HandleReloadConfigRequest.

    Args:
        *front: see `_Front`.
        may_reload: whether clients may say which models are served. Whoever
            may has the server load any SavedModel of the machine, and a
            SavedModel is a program that reads and writes files.
    """

    def __init__(self, *front: Any, may_reload: bool = False):
        super().__init__(*front)
        self.may_reload = may_reload

    @_answered("GetModelStatus")
    async def GetModelStatus(self, request, context, outcome):
        return messages.status(self.core, self.spec(request, context, outcome))

    @_answered("HandleReloadConfigRequest")
    async def HandleReloadConfigRequest(self, request, context, outcome):
        if not self.may_reload:
            raise error(
                "PERMISSION_DENIED",
                "Reloading the models' configuration is off. It is on with "
                "a model config file, a token, or --allow-reload.",
            )
        try:
            models = config.from_proto(request.config)
        except ConfigError as failure:
            raise invalid(str(failure)) from failure
        await self.core.models.reload(models)
        response = model_management_pb2.ReloadConfigResponse()
        response.status.error_code = 0
        return response


def _tasks(
    tasks: Sequence[Any], known: Mapping[str, SignatureDef]
) -> list[Task]:
    """What a multi-inference request asks. TensorFlowMultiInferenceRunner."""
    asked: list[Task] = []
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
        asked.append(Task(task.method_name, name))
    return asked


def _fill(proto, spec: Spec, number: int, signature: str = "") -> None:
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
