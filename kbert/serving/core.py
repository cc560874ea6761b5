"""What a request asks of a model, whichever way it came.

REST and gRPC turn messages into arrays and back; between them
everything is here: find the version, check the inputs, compute in batches.

Reference: tensorflow_serving/servables/tensorflow/predict_util.cc,
classifier.cc, regressor.cc, multi_inference.cc.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from kbert.exported.names import DEFAULT_SIGNATURE
from kbert.serving import signatures
from kbert.serving.batching import Batcher
from kbert.serving.batching import Work
from kbert.serving.json_codec import type_string
from kbert.serving.limits import Held
from kbert.serving.limits import Limits
from kbert.serving.limits import weight
from kbert.serving.metrics import Metrics
from kbert.serving.models import Models
from kbert.serving.models import Version
from kbert.serving.status import TooLargeError
from kbert.serving.status import invalid
from kbert.serving.workers import Workers

if TYPE_CHECKING:
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class ModelSpec:
    """Which model, version and signature a request asks for.

    Attributes:
        name: of the model.
        number: of the version, None for the newest.
        label: of the version, in place of a number.
        signature: "" for the default.
        deadline: `time.monotonic()` after which nobody waits.
    """

    name: str
    number: int | None
    label: str | None
    signature: str
    deadline: float


@dataclass(frozen=True)
class InferenceTask:
    """One part of a multi-inference request: a method and its signature."""

    method: str
    signature: str


class Core:
    """Answers requests about the models of a server.

    Args:
        models: the models.
        batcher: computes.
        metrics: where time in the model is noted.
        limits: of requests; larger ones are refused.

    Attributes:
        held: bytes of the large requests that are being answered.
    """

    def __init__(
        self,
        models: Models,
        batcher: Batcher,
        metrics: Metrics,
        limits: Limits,
    ):
        self.models = models
        self.batcher = batcher
        self.metrics = metrics
        self.limits = limits
        self.held = Held(limits.held)
        self.workers = Workers()

    def use(self, spec: ModelSpec):
        """See `Models.use`."""
        return self.models.use(spec.name, spec.number, spec.label)

    async def predict(
        self,
        spec: ModelSpec,
        size: int,
        read: Callable[[SignatureDef | None], Arrays],
        wanted: Sequence[str] = (),
    ) -> tuple[Arrays, int]:
        """Answer a predict request.

        Args:
            spec: what it asks for.
            size: bytes of the request.
            read: gives the arrays of all inputs, by name, for a signature;
                it raises what there is to say if there is none.
            wanted: names of outputs; none for all.

        Returns:
            Arrays by output name, and the version that answered.

        Raises:
            ServingError: what `read`, `signatures.outputs`, `Models.use` and
                `Batcher.submit` raise.
        """
        with self.use(spec) as version:
            name = spec.signature or DEFAULT_SIGNATURE
            signature = version.servable.signatures.get(name)
            inputs, texts = await self.workers.run(
                size, spec.deadline, self._checked, read, signature
            )
            outputs = signatures.outputs(signature, wanted)
            arrays = await self._run(
                version, signature, inputs, texts, outputs, spec, "Predict"
            )
            return arrays, version.number

    async def infer(
        self,
        spec: ModelSpec,
        size: int,
        tasks: Sequence[InferenceTask],
        read: Callable[[], np.ndarray],
    ) -> tuple[list[Arrays], int]:
        """Answer classify and regress requests, one or several at once.

        Args:
            spec: what they ask for; its signature is not looked at.
            size: bytes of the request.
            tasks: method and signature of each.
            read: gives serialized `tf.train.Example`s, object `(rows,)`.

        Returns:
            For each task, for classify `classes` and `scores`, `(rows, n)`
            each, of which one may be missing; for regress `outputs`
            `(rows,)`. And the version that answered.

        Raises:
            ServingError: INVALID_ARGUMENT, a signature cannot answer its
                method, or answers something else; and what `Models.use` and
                `Batcher.submit` raise.
        """
        with self.use(spec) as version:
            found = [
                signatures.find(
                    version.servable.signatures, task.signature, task.method
                )
                for task in tasks
            ]
            inputs, texts = await self.workers.run(
                size, spec.deadline, self._checked, lambda: {"inputs": read()}
            )
            answers = []
            for task, signature in zip(tasks, found, strict=True):
                classify = task.method == signatures.CLASSIFY
                names = ("classes", "scores") if classify else ("outputs",)
                outputs = [n for n in names if n in signature.outputs]
                arrays = await self._run(
                    version,
                    signature,
                    inputs,
                    texts,
                    outputs,
                    spec,
                    "Classify" if classify else "Regress",
                )
                check = _check_classes if classify else _check_values
                answers.append(check(arrays, len(inputs["inputs"])))
            return answers, version.number

    async def write(
        self,
        spec: ModelSpec,
        arrays: Iterable[np.ndarray],
        function: Callable[[int], bytes],
    ) -> bytes:
        """The bytes of an answer.

        Args:
            spec: what was asked.
            arrays: what is answered.
            function: makes the bytes, for about so many of the arrays.

        Raises:
            TooLargeError: the arrays are too large.
            ServingError: DEADLINE_EXCEEDED; and what `function` raises.
        """
        arrays = list(arrays)
        size = weight(arrays)

        def make() -> bytes:
            self.limits.check_answer(arrays)
            return function(size)

        return await self.workers.run(size, spec.deadline, make)

    def _checked(
        self, read: Callable[..., Arrays], *args: Any
    ) -> tuple[Arrays, int]:
        """What `read` gives, and the bytes of all texts in it."""
        inputs = read(*args)
        return inputs, self.limits.check_texts(inputs.values())

    async def _run(
        self,
        version: Version,
        signature: SignatureDef,
        inputs: Mapping[str, np.ndarray],
        texts: int,
        outputs: list[str],
        spec: ModelSpec,
        api: str,
    ) -> Arrays:
        rows = max((len(x) for x in inputs.values() if x.ndim), default=1)
        self.limits.check_rows(rows)
        batchable = rows > 0 and signatures.batchable(signature, inputs)
        if batchable and not signatures.joinable(signature, outputs):
            self._check_batch(rows, texts)
        work = Work(
            version.run,
            {signature.inputs[k].name: x for k, x in inputs.items()},
            tuple(signature.outputs[k].name for k in outputs),
            rows,
            batchable,
            spec.deadline,
            texts,
        )
        started = time.perf_counter()
        arrays = await self.batcher.submit(work)
        self.metrics.ran(spec.name, api, time.perf_counter() - started)
        return dict(zip(outputs, arrays, strict=True))

    def _check_batch(self, rows: int, texts: int) -> None:
        most = self.batcher.max_batch_size, self.batcher.max_batch_bytes
        if rows > most[0] or rows > 1 and texts > most[1]:
            raise TooLargeError(
                f"Expected at most {most[0]} rows and {most[1]} bytes of text, "
                f"the size of a batch, for a signature whose outputs are as "
                f"long as the longest row. Received: {rows} rows, {texts} "
                f"bytes. Send several requests."
            )


def _check_classes(arrays: Arrays, rows: int) -> Arrays:
    """PostProcessClassificationResult."""
    kinds = {"classes": "object", "scores": "float32"}
    for name, array in arrays.items():
        if array.ndim != 2:
            raise invalid(
                "Expected Tensor shape: [batch_size num_classes] but got "
                f"{list(array.shape)}"
            )
        if array.dtype != kinds[name]:
            raise invalid(
                f"Expected {name} Tensor of {_data_type(kinds[name])}. Got: "
                f"{_data_type(array.dtype.name)}"
            )
        if len(array) != rows:
            raise invalid(
                f"Expected {name} output batch size of {rows}. Got: "
                f"{len(array)}"
            )
    if len({array.shape for array in arrays.values()}) > 1:
        raise invalid(
            "Tensors class and score should match in dim_size(1). Got "
            + " vs. ".join(str(a.shape[1]) for a in arrays.values())
        )
    return arrays


def _check_values(arrays: Arrays, rows: int) -> Arrays:
    """PostProcessRegressionResult."""
    array = arrays["outputs"]
    if array.ndim != 1 and (array.ndim != 2 or array.shape[1] != 1):
        raise invalid(
            "Expected output Tensor shape to be either [batch_size] or "
            f"[batch_size, 1] but got {list(array.shape)}"
        )
    if len(array) != rows:
        raise invalid(
            f"Input batch size did not match output batch size: {rows} vs. "
            f"{len(array)}"
        )
    if array.dtype != np.float32:
        raise invalid(
            f"Expected output Tensor of DT_FLOAT.  Got: "
            f"{_data_type(array.dtype.name)}"
        )
    return {"outputs": array.reshape(rows)}


def _data_type(dtype: str) -> str:
    return f"DT_{type_string(dtype).upper()}"
