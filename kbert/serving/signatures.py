"""What a signature says of its tensors, and the checks that come of it.

References: tensorflow_serving/servables/tensorflow/predict_util.cc,
classifier.cc and regressor.cc; the messages are theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from kbert.serving.servable import DEFAULT_SIGNATURE
from kbert.serving.status import error
from kbert.serving.status import invalid

if TYPE_CHECKING:
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"


def dtypes(signature: SignatureDef) -> dict[str, str]:
    """NumPy dtype names of the inputs, `"object"` for strings."""
    return {name: dtype(info) for name, info in signature.inputs.items()}


def dtype(info) -> str:
    """The NumPy dtype name of a `TensorInfo`."""
    import tensorflow as tf

    return np.dtype(tf.dtypes.as_dtype(info.dtype).as_numpy_dtype).name


def batchable(signature: SignatureDef) -> bool:
    """Whether rows of different requests may be computed together."""
    tensors = [*signature.inputs.values(), *signature.outputs.values()]
    return all(
        not info.tensor_shape.unknown_rank
        and info.tensor_shape.dim
        and info.tensor_shape.dim[0].size == -1
        for info in tensors
    )


def joinable(signature: SignatureDef, names: Sequence[str]) -> bool:
    """Whether outputs of several batches fit together, row after row.

    Those that are as long as the longest row of their batch do not.
    """
    return all(
        dim.size >= 0
        for name in names
        for dim in signature.outputs[name].tensor_shape.dim[1:]
    )


def check_inputs(
    signature: SignatureDef, inputs: Mapping[str, np.ndarray]
) -> None:
    """VerifyRequestInputsSize, and the tensors' types and first sizes.

    Raises:
        ServingError: INVALID_ARGUMENT, the inputs are not the signature's.
    """
    wanted, sent = set(signature.inputs), set(inputs)
    if wanted != sent:
        raise invalid(
            f"input size does not match signature: {len(sent)}!={len(wanted)} "
            f"len({{{_listed(sent)}}}) != len({{{_listed(wanted)}}}). Sent "
            f"extra: {{{_listed(sent - wanted)}}}. Missing but required: "
            f"{{{_listed(wanted - sent)}}}."
        )
    for name, info in signature.inputs.items():
        if inputs[name].dtype.name != dtype(info):
            raise invalid(
                f"Expected input {name} of type {dtype(info)}. Received: "
                f"{inputs[name].dtype.name}"
            )
    if batchable(signature):
        sizes = {x.shape[:1] for x in inputs.values()}
        if len(sizes) > 1 or sizes == {()}:
            raise invalid(
                "Batching Run() input tensors must have equal 0th-dimension "
                "size"
            )


def outputs(signature: SignatureDef, wanted: Sequence[str] = ()) -> list[str]:
    """The outputs that a request wants, by default all.

    Raises:
        ServingError: INVALID_ARGUMENT, one is unknown or stands twice.
    """
    for name in wanted:
        if name not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {name} Outputs "
                f"expected to be in the set {{{_listed(signature.outputs)}}}."
            )
    if len(set(wanted)) < len(wanted):
        raise invalid("duplicate output tensor alias")
    return list(wanted) or sorted(signature.outputs)


def find(
    signatures: Mapping[str, SignatureDef], name: str, method: str
) -> SignatureDef:
    """The signature of a classify or regress request.

    Raises:
        ServingError: INVALID_ARGUMENT, there is none of that name and method;
            FAILED_PRECONDITION, its tensors are not named as they must be.
    """
    name = name or DEFAULT_SIGNATURE
    kind = "classification" if method == CLASSIFY else "regression"
    if name not in signatures:
        raise invalid(f"No signature was found with the name: {name}")
    signature = signatures[name]
    if signature.method_name != method:
        raise invalid(
            f"Expected {kind} signature method_name to be {method}. Was: "
            f"{signature.method_name}"
        )
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if "inputs" not in signature.inputs:
        raise error(
            "FAILED_PRECONDITION",
            f"No {kind} inputs found in SignatureDef: {name}",
        )
    names = {"classes", "scores"} if method == CLASSIFY else {"outputs"}
    if not names & set(signature.outputs):
        raise error(
            "FAILED_PRECONDITION",
            f"Expected {kind} signature outputs to contain at least one of "
            f"{_listed(names)}. Signature was: {name}",
        )
    return signature


def _listed(names) -> str:
    return ",".join(sorted(names))
