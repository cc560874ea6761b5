"""Replays the warm-up requests of a version before it answers anyone.

Explanations, which cost as much as dozens of answers, are warmed up after it.

Reference: tensorflow_serving/servables/tensorflow/saved_model_warmup_util.cc.
"""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING

import numpy as np

from kbert.errors import ServingError
from kbert.exported.names import DEFAULT_SIGNATURE
from kbert.exported.warmup import EXPLAIN
from kbert.exported.warmup import LONG_WORD
from kbert.exported.warmup import MAX_RECORDS
from kbert.exported.warmup import PATH
from kbert.exported.warmup import SHORT
from kbert.serving import signatures
from kbert.serving import tensors
from kbert.serving.examples import examples_of
from kbert.serving.limits import Limits
from kbert.serving.metrics import Metrics
from kbert.serving.servable import Servable
from kbert.serving.status import error
from kbert.serving.status import invalid

if TYPE_CHECKING:
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

# Of a signature; and characters of a text.
MAX_EXAMPLES, MAX_CHARACTERS = 5, 1000


def warm_up(servable: Servable, metrics: Metrics, limits: Limits) -> int:
    """Replay assets.extra/tf_serving_warmup_requests, if it is there.

    Args:
        servable: what was loaded; gets `examples` from the requests.
        metrics: where the time is noted.
        limits: of a request.

    Returns:
        How many requests were replayed.

    Raises:
        ServingError: a request fails, the file is no TFRecord (DATA_LOSS), or
            there are too many requests.
    """
    path = servable.path / PATH
    if not path.is_file():
        return 0
    started, code, count = time.perf_counter(), "OK", 0
    try:
        for record in _records(path):
            count += 1
            if count > MAX_RECORDS:
                raise invalid(
                    f"Number of warmup records exceeds the maximum "
                    f"({MAX_RECORDS}) at {path}"
                )
            log = _parse(record)
            _replay(servable, log, limits)
            if log.HasField("predict_log"):
                _note_examples(servable, log.predict_log.request, limits)
    except ServingError as failure:
        code = failure.code
        raise
    finally:
        seconds = time.perf_counter() - started
        metrics.warmed_up(str(servable.path), code, seconds)
    return count


def _records(path):
    import tensorflow as tf

    try:
        yield from tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    except tf.errors.DataLossError as failure:
        raise error(
            "DATA_LOSS",
            f"{failure.message}. Please verify your warmup data is in "
            f"TFRecord format.",
        ) from failure


def _parse(record: bytes) -> PredictionLog:
    from google.protobuf.message import DecodeError
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    try:
        return PredictionLog.FromString(record)
    except DecodeError as failure:
        raise invalid("Failed to parse warmup record") from failure


def _note_examples(servable: Servable, request, limits: Limits) -> None:
    """Keep texts of people's; an export warms up with some of its own."""
    signature = request.model_spec.signature_name or DEFAULT_SIGNATURE
    kept = servable.examples.setdefault(signature, [])
    columns = {
        name: tensors.to_array(name, tensor, limits)
        for name, tensor in request.inputs.items()
    }
    if any(x.dtype != object or x.ndim != 1 for x in columns.values()):
        return
    for row in zip(*columns.values(), strict=False):
        texts = [text.decode(errors="replace") for text in row]
        example = dict(zip(columns, texts, strict=True))
        usual = any(
            text == SHORT or not text.replace(LONG_WORD, "").strip()
            for text in texts
        )
        long = max(map(len, texts)) > MAX_CHARACTERS
        if len(kept) < MAX_EXAMPLES and not (usual or long or example in kept):
            kept.append(example)


def warm_up_explanations(servable: Servable) -> bool:
    """Ask for an explanation, so that the first one does not wait.

    Args:
        servable: what is served; nothing is asked of it unless it has a
            signature for explanations.

    Returns:
        Whether it has one.

    Raises:
        ServingError: the explanation fails.
    """
    signature = servable.signatures.get(EXPLAIN)
    if signature is None or "attribution" not in signature.outputs:
        return False
    text = np.array([SHORT.encode()], object)
    _run(servable, signature, dict.fromkeys(signature.inputs, text))
    return True


def _replay(servable: Servable, log: PredictionLog, limits: Limits) -> None:
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        request = log.predict_log.request
        name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        if name not in servable.signatures:
            raise error(
                "FAILED_PRECONDITION",
                f'Serving signature key "{name}" not found.',
            )
        signature = servable.signatures[name]
        convert = functools.partial(tensors.to_array, limits=limits)
        inputs = signatures.complete(signature, request.inputs, convert)
        _run(servable, signature, inputs)
    elif kind in ("classify_log", "regress_log"):
        request = getattr(log, kind).request
        classify = kind == "classify_log"
        method = signatures.CLASSIFY if classify else signatures.REGRESS
        name = request.model_spec.signature_name
        signature = signatures.find(servable.signatures, name, method)
        _run(
            servable, signature, {"inputs": examples_of(request.input, limits)}
        )
    elif kind == "multi_inference_log":
        request = log.multi_inference_log.request
        examples = examples_of(request.input, limits)
        for task in request.tasks:
            signature = signatures.find(
                servable.signatures,
                task.model_spec.signature_name,
                task.method_name,
            )
            _run(servable, signature, {"inputs": examples})
    else:
        raise error("UNIMPLEMENTED", f"Unsupported log_type for warmup: {kind}")


def _run(servable: Servable, signature, inputs: dict[str, np.ndarray]) -> None:
    servable.run(
        {signature.inputs[k].name: x for k, x in inputs.items()},
        [info.name for info in signature.outputs.values()],
    )
