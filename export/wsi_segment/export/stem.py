"""The first convolution of a quantised graph, over squares of 2 x 2 pixels in place of single ones.

Three channels are too few for the integer kernels of onnxruntime: the 7 x 7 convolution that opens a ResNet took nearly
a third of the time of the whole network. Over squares it has twelve channels and a stride of one::

    pixels (H, W, 3), 7 x 7, stride 2   ->   squares (H / 2, W / 2, 12), 4 x 4, stride 1

The sums are the same integers, so no logit changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

_TO_NCHW = [0, 3, 1, 2]
_FEW_CHANNELS = 4
"""With more the kernels have enough to do."""


@dataclass(frozen=True, slots=True)
class _Stem:
    """Nodes at the head of a quantised graph that takes NHWC pixels."""

    transpose: onnx.NodeProto
    convolution: onnx.NodeProto
    weights: onnx.TensorProto
    """(out, in, rows, columns), int8."""


def fold_stem(model: onnx.ModelProto) -> bool:
    """Let the first convolution of a graph in QDQ form work on squares of 2 x 2 pixels, in place.

    That needs pixels in NHWC order of at most four channels, and a convolution of stride 2 with an odd kernel and as
    much padding on all sides. The graph then takes windows of even sides only.

    Args:
        model: A quantised graph; weights are an initializer behind a DequantizeLinear.

    Returns:
        Whether the graph begins like that; it is as it was otherwise.
    """
    graph = model.graph
    stem = _stem_of(graph)
    if stem is None:
        return False
    weights = numpy_helper.to_array(stem.weights)
    reach = weights.shape[2] // 2
    stem.weights.CopyFrom(numpy_helper.from_array(_over_squares(weights), stem.weights.name))
    _set_attributes(
        stem.convolution,
        kernel_shape=[reach + 1] * 2,
        strides=[1, 1],
        pads=[(reach + 1) // 2] * 2 + [reach // 2] * 2,
    )
    index = list(graph.node).index(stem.transpose)
    graph.node.remove(stem.transpose)
    for offset, node in enumerate(_squares(graph, stem.transpose, weights.shape[1])):
        graph.node.insert(index + offset, node)
    del graph.value_info[:]  # shapes of what lay between
    onnx.checker.check_model(model)
    return True


def _stem_of(graph: onnx.GraphProto) -> _Stem | None:
    feeds = {name: node for node in graph.node for name in node.output}
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)

    def only_user(name: str, kind: str) -> onnx.NodeProto | None:
        found = users.get(name, [])
        return found[0] if len(found) == 1 and found[0].op_type == kind else None

    transpose = only_user(graph.input[0].name, "Transpose")
    if transpose is None or _attributes(transpose).get("perm") != _TO_NCHW:
        return None
    scaled = only_user(transpose.output[0], "DequantizeLinear")
    convolution = only_user(scaled.output[0], "Conv") if scaled is not None else None
    stored = feeds.get(convolution.input[1]) if convolution is not None else None
    if convolution is None or stored is None or stored.op_type != "DequantizeLinear":
        return None
    initializers = {one.name: one for one in graph.initializer}
    weights = initializers.get(stored.input[0])
    if weights is None or len(users[stored.input[0]]) > 1 or not _is_foldable(convolution, list(weights.dims)):
        return None
    return _Stem(transpose, convolution, weights)


def _is_foldable(convolution: onnx.NodeProto, shape: list[int]) -> bool:
    given = _attributes(convolution)
    _, channels, rows, columns = shape
    return (
        channels <= _FEW_CHANNELS
        and rows == columns
        and rows % 2 == 1
        and given.get("strides") == [2, 2]
        and given.get("pads") == [rows // 2] * 4
        and given.get("dilations", [1, 1]) == [1, 1]
        and given.get("group", 1) == 1
    )


def _over_squares(weights: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return the weights (out, 4 * in, n, n) of a kernel (out, in, 2n - 1, 2n - 1), with a row and column of zeros.

    Channels are ordered (row in the square, column in it, channel). A square begins on an even row, so that the zeros
    lie before a kernel that reaches back over an odd number of rows, and behind any other.
    """
    out, channels, side, _ = weights.shape
    lead = side // 2 % 2
    padded = np.pad(weights, ((0, 0), (0, 0), (lead, 1 - lead), (lead, 1 - lead)))
    half = (side + 1) // 2
    squares = padded.reshape(out, channels, half, 2, half, 2).transpose(0, 3, 5, 1, 2, 4)
    return np.ascontiguousarray(squares.reshape(out, 4 * channels, half, half))


def _squares(graph: onnx.GraphProto, transpose: onnx.NodeProto, channels: int) -> Iterable[onnx.NodeProto]:
    """Return nodes that bring pixels (B, H, W, C) to (B, 4 * C, H / 2, W / 2), in place of the transpose."""
    pixels = transpose.input[0]

    def constant(name: str, values: list[int]) -> str:
        graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), f"squares_{name}"))
        return f"squares_{name}"

    rest, two, pairs, deep = (
        constant(name, [value])
        for name, value in (("rest", -1), ("two", 2), ("pair", 2 * channels), ("deep", 4 * channels))
    )
    ends = [constant(f"axis_{axis}", [axis]) for axis in range(4)]
    node = helper.make_node
    return [
        node("Shape", [pixels], ["squares_shape"], name="squares_shape"),
        node("Slice", ["squares_shape", ends[0], ends[1]], ["squares_batch"], name="squares_batch"),
        node("Slice", ["squares_shape", ends[2], ends[3]], ["squares_width"], name="squares_width"),
        node("Div", ["squares_width", two], ["squares_columns"], name="squares_columns"),
        # (B * H / 2, rows of a square, W / 2, columns of a square * C)
        node("Concat", [rest, two, "squares_columns", pairs], ["squares_rows"], name="squares_rows", axis=0),
        node("Reshape", [pixels, "squares_rows"], ["squares_apart"], name="squares_apart"),
        node("Transpose", ["squares_apart"], ["squares_together"], name="squares_together", perm=[0, 2, 1, 3]),
        node("Concat", ["squares_batch", rest, "squares_columns", deep], ["squares_to"], name="squares_to", axis=0),
        node("Reshape", ["squares_together", "squares_to"], ["squares"], name="squares"),
        node("Transpose", ["squares"], list(transpose.output), name=transpose.name, perm=_TO_NCHW),
    ]


def _attributes(node: onnx.NodeProto) -> dict[str, object]:
    values = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    return {name: list(value) if isinstance(value, tuple | list) else value for name, value in values.items()}


def _set_attributes(node: onnx.NodeProto, **values: list[int]) -> None:
    kept = [one for one in node.attribute if one.name not in values]
    del node.attribute[:]
    node.attribute.extend([*kept, *(helper.make_attribute(name, value) for name, value in values.items())])
