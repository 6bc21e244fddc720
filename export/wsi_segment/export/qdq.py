"""What rewriting a quantised graph in QDQ form needs to know of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

TO_NCHW, TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]


class Wiring:
    """Who makes and who reads the values of a graph, as it was when this was made."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._makers = {name: node for node in graph.node for name in node.output}
        self._stored = {one.name: one for one in graph.initializer}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        for output in graph.output:
            self._readers.setdefault(output.name, []).append(onnx.NodeProto())  # who calls the graph

    def maker(self, name: str, kind: str) -> onnx.NodeProto | None:
        """Return the node that makes a value, if it is of that kind and one node alone reads the value."""
        node = self._makers.get(name)
        return node if node is not None and node.op_type == kind and len(self._readers[name]) == 1 else None

    def reader(self, name: str, kind: str) -> onnx.NodeProto | None:
        """Return the only node that reads a value, if it is of that kind."""
        readers = self._readers.get(name, [])
        return readers[0] if len(readers) == 1 and readers[0].op_type == kind else None

    def stored(self, names: Sequence[str]) -> list[onnx.TensorProto] | None:
        """Return the initializers of these names, if all are, and each is read once."""
        own = all(name in self._stored and len(self._readers[name]) == 1 for name in names)
        return [self._stored[name] for name in names] if own else None

    def is_one_number(self, name: str) -> bool:
        """Return whether a value is an initializer without axes."""
        return name in self._stored and not self._stored[name].dims


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """Return a node's attributes by name, repeated ones as lists."""
    values = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    return {name: list(value) if isinstance(value, tuple | list) else value for name, value in values.items()}


def set_attributes(node: onnx.NodeProto, **values: list[int]) -> None:
    """Replace some of a node's attributes, or add them."""
    kept = [one for one in node.attribute if one.name not in values]
    del node.attribute[:]
    node.attribute.extend([*kept, *(helper.make_attribute(name, value) for name, value in values.items())])


def insert_after(graph: onnx.GraphProto, node: onnx.NodeProto, nodes: Sequence[onnx.NodeProto]) -> None:
    """Insert nodes behind another, in their order."""
    index = list(graph.node).index(node) + 1
    for offset, one in enumerate(nodes):
        graph.node.insert(index + offset, one)


def store(tensor: onnx.TensorProto, values: NDArray[Any]) -> None:
    """Store other numbers by a tensor's name."""
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
