"""Warm-up requests: the first user of a new version does not wait.

TF Serving replays `assets.extra/tf_serving_warmup_requests` before it makes
a version available, so that the graph is instantiated and its lazy parts
are set up. Give texts like those that will be served: short, long and, when
batches are served, in batches.

Reference: [SavedModel Warmup](
https://www.tensorflow.org/tfx/serving/saved_model_warmup).
"""

from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kbert.errors import ConfigError
from kbert.errors import did_you_mean
from kbert.errors import listed
from kbert.errors import short

# Beside the graph, where TF Serving passes it by.
PATH = Path("assets.extra") / "tf_serving_warmup_requests"

# TF Serving refuses to load a version that has more.
MAX_RECORDS = 1000

# The signature that is asked with tf.Examples; the others get tensors.
CLASSIFY = "classify"

# Why the model answers as it does; see `kbert.export.explain`.
EXPLAIN = "explain"

# What an export without requests of its own is warmed up with: a short text,
# and long ones of a word.
SHORT, LONG_WORD = "warm-up", "word "

# Dicts of input names to the texts of a batch.
Requests = Sequence[Mapping[str, Sequence[str]]]


def write_warmup(
    version_dir: str | Path, requests: Mapping[str, Requests], model_name: str
) -> Path:
    """Writes the requests TF Serving replays when it loads a version.

    A request that fails keeps the version from loading, so the input names
    have to be those of the signatures: replay new requests once in Python.

    Args:
        version_dir: folder of the exported version, with `saved_model.pb`.
        requests: for each signature to ask one dict per request, from input
            names to the texts of the batch. All inputs of a request have as
            many texts. `"classify"` is asked with `tf.Example`s, whose
            features bear the input names, and any other with string tensors.
        model_name: name the model is served under.

    Returns:
        The path of the file; one from before is replaced.

    Example:

    >>> write_warmup(
    ...     "saved_models/spam/1",
    ...     {
    ...         "serving_default": [{"text": ["hi"]}, {"text": ["a", "b"]}],
    ...         "classify": [{"text": ["win a prize", "see you at six"]}],
    ...     },
    ...     model_name="spam",
    ... )
    """
    _check(requests)
    # Here, because both imports load TensorFlow.
    import tensorflow as tf

    logs = [
        (_classify_log if signature == CLASSIFY else _predict_log)(
            request, model_name, signature
        )
        for signature, asked in requests.items()
        for request in asked
    ]
    path = Path(version_dir) / PATH
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for log in logs:
            # Tensors stand in a map: without this, files differ by run.
            writer.write(log.SerializeToString(deterministic=True))
    return path


def _check(requests: Mapping[str, Requests]) -> None:
    records = sum(map(len, requests.values()))
    if not 1 <= records <= MAX_RECORDS:
        raise ConfigError(
            f"Expected 1 to {MAX_RECORDS} warm-up records, one per request "
            f"and signature. Received {records} records for "
            f"{len(requests)} signatures. "
            "Give at least one and not more than TF Serving reads."
        )
    for name, asked in requests.items():
        check_requests(name, asked)


def check_requests(
    signature: str, requests: Requests, inputs: Collection[str] = ()
) -> None:
    """Raise `ConfigError` for what is no list of warm-up requests.

    Args:
        signature: that is asked, for messages.
        requests: see `write_warmup`.
        inputs: names of the signature's, if they are known.
    """
    if isinstance(requests, str | bytes | Mapping):
        raise ConfigError(
            f"Expected a list of warm-up requests of {signature}, such as "
            f"[{{'text': ['...']}}]. Received: {short(requests)}."
        )
    for i, request in enumerate(requests):
        lengths = set()
        if isinstance(request, Mapping):
            lengths = {_texts(texts) for texts in request.values()}
        if len(lengths) != 1 or 0 in lengths:
            raise ConfigError(
                f"Expected request {i} of {signature} to be a dict from input "
                "names to lists of texts, as many texts for each input. "
                f"Received {short(request)}. "
                "Write a request for one text as {'text': ['...']}."
            )
        if inputs and set(request) != set(inputs):
            advice = "".join(did_you_mean(name, inputs) for name in request)
            raise ConfigError(
                f"Expected request {i} of {signature} to have the inputs "
                f"{listed(inputs)}. Received: {listed(request)}.{advice}"
            )


def _texts(texts: Any) -> int:
    """How many texts there are; 0 if it is no list of texts."""
    # A string has a length too: one text per letter.
    if isinstance(texts, str | bytes) or not hasattr(texts, "__len__"):
        return 0
    good = all(isinstance(text, str | bytes) for text in texts)
    return len(texts) if good else 0


def _predict_log(request, model_name: str, signature: str):
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog()
    predict = log.predict_log.request
    predict.model_spec.name = model_name
    predict.model_spec.signature_name = signature
    for name, texts in request.items():
        tensor = tf.make_tensor_proto(list(texts), dtype=tf.string)  # (B,)
        predict.inputs[name].CopyFrom(tensor)
    return log


def _classify_log(request, model_name: str, signature: str):
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog()
    classify = log.classify_log.request
    classify.model_spec.name = model_name
    classify.model_spec.signature_name = signature
    for row in zip(*request.values(), strict=True):
        example = classify.input.example_list.examples.add()
        for name, text in zip(request, row, strict=True):
            feature = example.features.feature[name]
            feature.bytes_list.value.append(text.encode())
    return log
