"""Which outputs of a graph are computed element by element.

What the C++ session is fed need not have its placeholder's shape, and many
kernels end the process then: one number for the images of a convolution, an
empty list for the strings of a tokenizer. Those here take any shape, or say
that they do not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from typing import NamedTuple

if TYPE_CHECKING:
    from tensorflow.core.framework.graph_pb2 import GraphDef
    from tensorflow.core.framework.node_def_pb2 import NodeDef

_OPS = frozenset(
    (
        # What holds, passes on and calls.
        "Const Identity IdentityN NoOp Placeholder StopGradient VarHandleOp "
        "ReadVariableOp VariableV2 PartitionedCall StatefulPartitionedCall "
        # One array.
        "Abs Cast Ceil Cos Elu Erf Erfc Exp Expm1 Floor IsFinite IsInf IsNan "
        "LeakyRelu Log Log1p LogicalNot Neg OnesLike Reciprocal Relu Relu6 "
        "Rint Round Rsqrt Selu Sigmoid Sign Sin Softplus Softsign Sqrt Square "
        "Tan Tanh ZerosLike "
        # Several, broadcast.
        "Add AddN AddV2 Div DivNoNan Equal FloorDiv FloorMod Greater "
        "GreaterEqual Less LessEqual LogicalAnd LogicalOr Maximum Minimum Mul "
        "NotEqual Pow RealDiv SelectV2 SquaredDifference Sub"
    ).split()
)


class _Node(NamedTuple):
    op: str
    inputs: tuple[str, ...]
    functions: tuple[str, ...]


class Elementwise:
    """Tells it of a graph.

    Args:
        graph: the graph, of which only the form is kept.

    Example:

    >>> Elementwise(graph)(["x:0"], ["y:0"])
    True
    """

    def __init__(self, graph: GraphDef):
        self._nodes = {node.name: _node(node) for node in graph.node}
        self._functions = {
            function.signature.name: [_node(n) for n in function.node_def]
            for function in graph.library.function
        }

    def __call__(self, feeds: Iterable[str], fetches: Iterable[str]) -> bool:
        """Whether fetches are made of feeds element by element.

        Args:
            feeds: names of tensors.
            fetches: names of tensors.
        """
        fed, seen = {*feeds}, set()
        called: list[str] = []
        names = [*fetches]
        while names:
            name, _, number = names.pop().removeprefix("^").partition(":")
            if f"{name}:{number or 0}" in fed or name in seen:
                continue
            seen.add(name)
            node = self._nodes.get(name)
            if node is None or node.op not in _OPS:
                return False
            names += node.inputs
            called += node.functions
        return self._are_plain(called)

    def _are_plain(self, called: list[str]) -> bool:
        seen = set()
        while called:
            name = called.pop()
            if name in seen:
                continue
            seen.add(name)
            for node in self._functions.get(name, [_Node("", (), ())]):
                if node.op not in _OPS:
                    return False
                called += node.functions
        return True


def _node(node: NodeDef) -> _Node:
    called = (value.func.name for value in node.attr.values())
    return _Node(node.op, tuple(node.input), tuple(filter(None, called)))
