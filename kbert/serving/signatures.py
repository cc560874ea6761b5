"""What a signature says of its tensors, and the checks that come of it.

References: tensorflow_serving/servables/tensorflow/predict_util.cc,
classifier.cc and regressor.cc; the messages are theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from kbert.exported.names import DEFAULT_SIGNATURE
from kbert.serving.status import invalid

if TYPE_CHECKING:
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"


def dtypes(signature: SignatureDef) -> dict[str, str]:
    """NumPy dtype names of the inputs, `"object"` for strings."""
    return {name: dtype(info) for name, info in signature.inputs.items()}


def dtype(info) -> str:
    """The name of a `TensorInfo`'s dtype, NumPy's or else TensorFlow's."""
    import tensorflow as tf

    try:
        name = tf.dtypes.as_dtype(info.dtype).base_dtype.name
    except TypeError:  # The file says none, or one of the future.
        return "invalid"
    return "object" if name == "string" else name


def batchable(
    signature: SignatureDef, inputs: Mapping[str, np.ndarray]
) -> bool:
    """Whether rows of different requests may be computed together.

    That is so if all tensors of the signature have rows, and the arrays are
    what it says of them; others are what the graph alone may judge.
    """
    import tensorflow as tf

    tensors = [*signature.inputs.values(), *signature.outputs.values()]
    rows = all(
        not info.tensor_shape.unknown_rank
        and info.tensor_shape.dim
        and info.tensor_shape.dim[0].size == -1
        for info in tensors
    )
    return (
        rows
        and len({x.shape[:1] for x in inputs.values()}) == 1
        and all(
            tf.TensorShape(
                signature.inputs[name].tensor_shape
            ).is_compatible_with(x.shape)
            for name, x in inputs.items()
        )
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


def complete(
    signature: SignatureDef,
    inputs: Mapping[str, Any],
    convert: Callable[[str, Any], np.ndarray],
) -> dict[str, np.ndarray]:
    """The inputs that were sent, and the defaults of those that were not.

    VerifyRequestInputsSize; saved_model::GetInputValues in TensorFlow.

    Args:
        signature: what was asked.
        inputs: what was sent, by input name.
        convert: makes an array of a name and what was sent.

    Raises:
        ServingError: INVALID_ARGUMENT, the inputs are not the signature's;
            and what `convert` raises.
    """
    import tensorflow as tf

    wanted, sent = set(signature.inputs), set(inputs)
    if len(sent) > len(wanted) or (
        len(sent) < len(wanted) and not signature.defaults
    ):
        raise invalid(
            f"input size does not match signature: {len(sent)}!={len(wanted)} "
            f"len({{{_listed(sent)}}}) != len({{{_listed(wanted)}}}). Sent "
            f"extra: {{{_listed(sent - wanted)}}}. Missing but required: "
            f"{{{_listed(wanted - sent)}}}."
        )
    full = {}
    for name, info in signature.inputs.items():
        if name in inputs:
            full[name] = convert(name, inputs[name])
        elif name in signature.defaults:
            full[name] = tf.make_ndarray(signature.defaults[name])
        else:
            raise invalid(
                f"Signature input alias: {name}(feed name: {info.name}) not "
                f"found in request and no default value provided. Inputs "
                f"expected to be in the request {{{_listed(sent)}}}, or "
                f"default input alias set: {_listed(signature.defaults)}"
            )
    if sent - wanted:
        raise invalid(
            f"Inputs contains invalid name. Used request inputs: "
            f"{_listed(sent & wanted)}, request input: {_listed(sent)}"
        )
    return full


def outputs(signature: SignatureDef, wanted: Sequence[str] = ()) -> list[str]:
    """The outputs that a request wants, by default all.

    Raises:
        ServingError: INVALID_ARGUMENT, one is unknown or stands twice.
    """
    names: list[str] = []
    for name in wanted:
        if name not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {name} Outputs "
                f"expected to be in the set {{{_listed(signature.outputs)}}}."
            )
        if name in names:
            raise invalid(f"duplicate output tensor alias: {name}")
        names.append(name)
    return names or sorted(signature.outputs)


def find(
    signatures: Mapping[str, SignatureDef], name: str, method: str
) -> SignatureDef:
    """The signature of a classify or regress request.

    Whether it can answer one is seen by its tensors: TensorFlow 2 writes the
    method name of predict for all. PreProcessClassification,
    PreProcessRegression.

    Raises:
        ServingError: INVALID_ARGUMENT, there is none of that name, or its
            tensors are not those of the method.
    """
    name = name or DEFAULT_SIGNATURE
    classify = method == CLASSIFY
    kind = "classification" if classify else "regression"
    if name not in signatures:
        raise invalid(f"No signature was found with the name: {name}")
    signature = signatures[name]
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if classify and len(signature.outputs) not in (1, 2):
        raise invalid(
            f"Expected one or two output Tensors, found "
            f"{len(signature.outputs)}"
        )
    if not classify and len(signature.outputs) != 1:
        raise invalid("Expected one output Tensor.")
    if "inputs" not in signature.inputs:
        raise invalid(f"No {kind} inputs found in SignatureDef: {name}")
    if not classify and "outputs" not in signature.outputs:
        raise invalid(f"No {kind} outputs found in SignatureDef: {name}")
    if classify and not {"classes", "scores"} & set(signature.outputs):
        raise invalid(
            f"Expected classification signature outputs to contain at least "
            f'one of "classes" or "scores". Signature was: {name}'
        )
    return signature


def _listed(names) -> str:
    return ",".join(sorted(names))
