"""Changes of an ONNX graph that a converter has written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kbert.exported.onnx_session import FEATURES

if TYPE_CHECKING:
    from onnx import ModelProto

# Names of the axes of what goes in, for any batch and length.
AXES = ["batch_size", "sequence_length"]


def take_tokenizers_inputs(model: ModelProto) -> None:
    """Inputs as transformers' tokenizers give them, in place of ours.

    They are int64 by the names of `FEATURES`, and all three are there, asked
    for or not.
    """
    from onnx import TensorProto
    from onnx import helper

    graph = model.graph
    kinds = {x.name: x.type.tensor_type.elem_type for x in graph.input}
    casts = [
        helper.make_node(
            "Cast", [theirs], [ours], f"inputs/{theirs}", to=kinds[ours]
        )
        for ours, theirs in FEATURES.items()
        if ours in kinds
    ]
    nodes = [*casts, *graph.node]
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    graph.input.extend(
        helper.make_tensor_value_info(theirs, TensorProto.INT64, AXES)
        for theirs in FEATURES.values()
    )
    for output in graph.output:
        for axis, name in zip(
            output.type.tensor_type.shape.dim, AXES, strict=False
        ):
            if not axis.HasField("dim_value"):
                axis.dim_param = name


def replace_erfc(graph) -> None:
    """1 - erf(x) for erfc(x), which the exact GELU has and ONNX has not."""
    from onnx import helper
    from onnx import numpy_helper

    nodes = []
    for node in graph.node:
        if node.op_type != "Erfc":
            nodes.append(node)
            continue
        one, erf = f"{node.name}/one", f"{node.name}/erf"
        value = numpy_helper.from_array(np.asarray(1, "float32"), one)
        graph.initializer.append(value)
        nodes.append(helper.make_node("Erf", node.input, [erf], erf))
        nodes.append(
            helper.make_node("Sub", [one, erf], node.output, node.name)
        )
    del graph.node[:]
    graph.node.extend(nodes)


def replace_sign_bit(graph) -> None:
    """Arithmetic for the bits by which Keras's argmax tells -0.0 from 0.0.

    It asks `x == 0 and bits(x) & sign`. With a cast for the bits and a
    product for `&` no zero is negative, which leaves the order of scores.
    """
    from onnx import TensorProto
    from onnx import helper

    for node in graph.node:
        names = (node.input, node.output, node.name)
        if node.op_type == "Bitcast":
            node.CopyFrom(
                helper.make_node("Cast", *names, to=TensorProto.INT32)
            )
        elif node.op_type == "BitwiseAnd":
            node.CopyFrom(helper.make_node("Mul", *names))
