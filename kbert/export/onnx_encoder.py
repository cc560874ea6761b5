"""BERT as an ONNX graph of few, fused operations on 8-bit integers.

Built by hand and not converted: onnxruntime is quick where it finds its own
operations (`MultiHeadAttention`, `BiasGelu`, `DynamicQuantizeMatMul`), and a
converter writes each as five or ten.

Tokens lie flat, without padding, but in attention; see `kbert.models.layout`.
Shapes: B batch, T tokens in a row, N real tokens of the batch, H hidden size,
nh attention heads, hs = H / nh.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np

from kbert.errors import ExportError

if TYPE_CHECKING:
    from kbert.models.backbone import Backbone

# onnxruntime's own operations.
FUSED = "com.microsoft"

# Seven bits: without AVX-512 VNNI, processors add two products of 8 bits in
# 16, which eight-bit weights would overflow.
LARGEST = 63

_GELU = {"gelu": "BiasGelu", "gelu_new": "FastGelu"}
_GELU["gelu_pytorch_tanh"] = _GELU["gelu_new"]


class Graph:
    """Nodes and constants of an ONNX graph in the making."""

    def __init__(self):
        self.nodes = []
        self.constants = []

    def add(self, op: str, *inputs: str, domain="", **attributes) -> str:
        """Append a node; the name of its output."""
        [name] = self.add_several(1, op, *inputs, domain=domain, **attributes)
        return name

    def add_several(
        self, outputs: int, op: str, *inputs: str, domain="", **attributes
    ) -> list[str]:
        """Append a node; the names of its outputs."""
        from onnx import helper

        name = f"encoder/{op}_{len(self.nodes)}"
        names = [f"{name}:{i}" for i in range(outputs)]
        self.nodes.append(
            helper.make_node(
                op, inputs, names, name, domain=domain, **attributes
            )
        )
        return names

    def constant(self, value, dtype=None) -> str:
        """Append an array; its name."""
        from onnx import numpy_helper

        name = f"encoder/constant_{len(self.constants)}"
        value = np.asarray(value, dtype)
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def dense(self, x: str, kernel: np.ndarray, bias=None) -> str:
        """`x @ kernel + bias`; both factors have 8 bits, `x` as it comes."""
        values, scale = quantize(kernel, axis=0)
        # Between them stands the zero of the kernel, which is 0.
        more = [] if bias is None else ["", self.constant(bias)]
        return self.add(
            "DynamicQuantizeMatMul",
            x,
            self.constant(values),
            self.constant(scale[0]),
            *more,
            domain=FUSED,
        )

    def look_up(self, table: np.ndarray, ids: str) -> str:
        """Rows of a table that is kept in 8 bits."""
        values, scale = quantize(table, axis=1, largest=127)
        rows = self.add("Gather", self.constant(values), ids)
        scales = self.add("Gather", self.constant(scale), ids)
        return self.add("Mul", self.add("Cast", rows, to=1), scales)

    def norm(self, x: str, y: str, layer) -> str:
        """Layer normalization of `x + y`.

        Step by step, each over all tokens at once: onnxruntime's fused
        operation takes nearly three times as long.
        """
        x = self.add("Add", x, y)  # (N, H)
        x = self.add("Sub", x, self.add("ReduceMean", x, axes=[-1]))
        variance = self.add("ReduceMean", self.add("Mul", x, x), axes=[-1])
        deviation = self.add(
            "Sqrt",
            self.add("Add", variance, self.constant(layer.epsilon, "float32")),
        )
        x = self.add("Div", x, deviation)
        x = self.add("Mul", x, self.constant(_array(layer.gamma)))
        return self.add("Add", x, self.constant(_array(layer.beta)))


def quantize(
    values: np.ndarray, axis: int, largest: int = LARGEST
) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric 8-bit integers with a scale for each row or column.

    Args:
        values: float `(rows, columns)`.
        axis: 0 for a scale for each column, 1 for each row.
        largest: the largest integer.

    Returns:
        int8 of the same shape, and float32 scales, `(1, columns)` or
        `(rows, 1)`; their product is `values` to half a scale.
    """
    values = np.asarray(values, "float32")
    scale = np.abs(values).max(axis=axis, keepdims=True) / largest
    scale = np.where(scale == 0, 1, scale).astype("float32")
    return np.rint(values / scale).astype("int8"), scale


def encoder_graph(backbone: Backbone):
    """The backbone as an ONNX graph.

    Inputs and outputs are the backbone's: `token_ids`, `segment_ids` int32
    and `padding_mask` bool `(B, T)`, to `sequence_output` float `(B, T, H)`,
    copies of other tokens where there is padding, and `pooled_output` float
    `(B, H)`; and `real_tokens`, which is `padding_mask`.

    Raises:
        ExportError: onnxruntime has no fused form of the activation.
    """
    from onnx import TensorProto
    from onnx import helper

    if backbone.config["activation"] not in _GELU:
        raise ExportError(
            f"Expected one of the activations {', '.join(_GELU)}. Received: "
            f"{backbone.config['activation']!r}. Export to onnx."
        )
    g = Graph()
    # === Layout ===
    everything = g.constant([-1], "int64")
    shape = g.add("Shape", "padding_mask")  # [B, T]
    real = g.add("Reshape", "padding_mask", everything)  # (B * T,)
    places = g.add(
        "Squeeze", g.add("NonZero", real), g.constant([0], "int64")
    )  # (N,)
    count = g.add(
        "CumSum",
        g.add("Cast", real, to=TensorProto.INT32),
        g.constant(0, "int32"),
    )
    sources = g.add(
        "Max",
        g.add("Sub", count, g.constant(1, "int32")),
        g.constant(0, "int32"),
    )
    sources = g.add("Reshape", sources, shape)  # (B, T)

    def flat(x):  # (B, T) -> (N,)
        return g.add("Gather", g.add("Reshape", x, everything), places)

    mask = g.add("Cast", "padding_mask", to=TensorProto.INT32)  # (B, T)

    # === Embeddings ===
    layer = backbone.embeddings
    length = g.add("Gather", shape, g.constant(1, "int64"))
    tokens = g.look_up(
        _array(layer.token_embedding.embeddings), flat("token_ids")
    )
    segments = g.add(
        "Gather",
        g.constant(_array(layer.segment_embedding.embeddings)),
        flat("segment_ids"),
    )
    positions = g.add(
        "Gather",
        g.constant(_array(layer.position_embedding.embeddings)),
        g.add("Mod", places, length),
    )
    x = g.norm(g.add("Add", tokens, segments), positions, layer.norm)  # (N, E)
    if layer.projection is not None:
        x = g.dense(
            x, _array(layer.projection.kernel), _array(layer.projection.bias)
        )

    # === Layers ===
    for layer in backbone.encoder:
        y = _attention(g, layer.attention, x, mask, places, sources)
        x = g.norm(y, x, layer.attention_norm)
        y = g.add(
            _GELU[backbone.config["activation"]],
            g.dense(x, _array(layer.intermediate.kernel)),
            g.constant(_array(layer.intermediate.bias)),
            domain=FUSED,
        )
        y = g.dense(
            y,
            _array(layer.output_dense.kernel),
            _array(layer.output_dense.bias),
        )
        x = g.norm(y, x, layer.output_norm)

    # === Outputs ===
    sequence = g.add("Gather", x, sources)  # (B, T, H)
    first = g.add("Gather", sequence, g.constant(0, "int64"), axis=1)
    pooled = g.add(
        "Gemm",
        first,
        g.constant(_array(backbone.pooler.kernel)),
        g.constant(_array(backbone.pooler.bias)),
    )
    pooled = g.add("Tanh", pooled)
    names = ("sequence_output", "pooled_output", "real_tokens")
    outputs = (sequence, pooled, "padding_mask")
    for name, value in zip(names, outputs, strict=True):
        g.nodes.append(helper.make_node("Identity", [value], [name]))
    types = {
        "token_ids": TensorProto.INT32,
        "segment_ids": TensorProto.INT32,
        "padding_mask": TensorProto.BOOL,
    }
    dim = backbone.config["hidden_dim"]
    made = (
        (TensorProto.FLOAT, ["B", "T", dim]),
        (TensorProto.FLOAT, ["B", dim]),
        (TensorProto.BOOL, ["B", "T"]),
    )
    return helper.make_graph(
        g.nodes,
        "encoder",
        [
            helper.make_tensor_value_info(name, kind, ["B", "T"])
            for name, kind in types.items()
        ],
        [
            helper.make_tensor_value_info(name, *value)
            for name, value in zip(names, made, strict=True)
        ],
        g.constants,
    )


def _attention(g: Graph, layer, x, mask, places, sources) -> str:
    """`(N, H)` to `(N, H)`."""
    parts = (layer.query, layer.key, layer.value)
    # In one product, x is quantized once.
    y = g.dense(x, np.concatenate([_array(p.kernel) for p in parts], axis=1))
    y = g.add("Gather", y, sources)  # (B, T, 3 H)
    y = g.add(
        "MultiHeadAttention",
        *g.add_several(3, "Split", y, axis=2),
        g.constant(np.concatenate([_array(p.bias) for p in parts])),
        mask,
        domain=FUSED,
        num_heads=layer.num_heads,
        mask_filter_value=-1e9,
    )  # (B, T, H)
    size = layer.num_heads * layer.head_dim
    y = g.add("Reshape", y, g.constant([-1, size], "int64"))
    y = g.add("Gather", y, places)  # (N, H)
    return g.dense(
        y, _array(layer.output_dense.kernel), _array(layer.output_dense.bias)
    )


def _array(variable) -> np.ndarray:
    return keras.ops.convert_to_numpy(variable)
