"""The first convolution of a quantised graph, over strips of four pixels of a row in place of single ones.

Three channels are too few for the integer kernels of onnxruntime: the 7 x 7 convolution that opens a ResNet took nearly
a third of the time of the whole network. A strip has twelve, and lies in memory as its pixels do; a kernel over strips
answers for two of the places that a stride of two has in one, as twice as many channels::

    pixels (H, W, 3), 7 x 7, stride 2   ->   strips (H, W / 4, 12), 7 x 3, stride 2 x 1   ->   (H / 2, W / 4, 2 * out)

which lies in memory as (H / 2, W / 2, out). Its kernel has 252 numbers for 147, zeros besides, and is quicker all the
same. The sums are the same integers, so no logit changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from wsi_segment.export.qdq import TO_NCHW, TO_NHWC, Wiring, attributes_of, insert_after, set_attributes, store

_SHAPE_OF_SOME_AXES = 15
"""First set of ONNX operators whose Shape takes a start and an end."""
_FEW_CHANNELS = 4
"""With more the kernels have enough to do."""
STRIP = 4
"""Pixels of a strip."""
_PLACES = STRIP // 2
"""Of the output, for each strip."""


@dataclass(frozen=True, slots=True)
class _Stem:
    """Nodes at the head of a quantised graph that takes NHWC pixels."""

    transpose: onnx.NodeProto
    convolution: onnx.NodeProto
    quantise: onnx.NodeProto
    """What brings the convolution's output to bytes."""
    weights: onnx.TensorProto
    """(out, in, rows, columns), int8."""
    per_channel: list[onnx.TensorProto]
    """(out,) each: scales and zero points of the weights, and the bias with its own."""


def fold_stem(model: onnx.ModelProto) -> bool:
    """Let the first convolution of a graph in QDQ form work on strips of four pixels, in place.

    That needs pixels in NHWC order of at most four channels, and a convolution of stride 2 with an odd kernel and as
    much padding on all sides. The graph then takes windows whose width is a multiple of four.

    Args:
        model: A quantised graph; weights, and a bias if there is one, are initializers behind a DequantizeLinear.

    Returns:
        Whether the graph begins like that; it is as it was otherwise.
    """
    graph = model.graph
    stem = _stem_of(graph) if _opset_of(model) >= _SHAPE_OF_SOME_AXES else None
    if stem is None:
        return False
    weights = numpy_helper.to_array(stem.weights)
    out, channels, side, _ = weights.shape
    over_strips, before = _over_strips(weights)
    store(stem.weights, over_strips)
    for tensor in stem.per_channel:
        store(tensor, np.tile(numpy_helper.to_array(tensor), _PLACES))
    behind = over_strips.shape[3] - 1 - before
    set_attributes(
        stem.convolution,
        kernel_shape=[side, over_strips.shape[3]],
        strides=[2, 1],
        pads=[side // 2, before, side // 2, behind],
    )
    insert_after(graph, stem.transpose, _to_strips(graph, stem.transpose, channels))
    graph.node.remove(stem.transpose)
    insert_after(graph, stem.quantise, _to_places(graph, stem.quantise, out))
    del graph.value_info[:]  # shapes of what lay between
    onnx.checker.check_model(model)
    return True


def _opset_of(model: onnx.ModelProto) -> int:
    return next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), 0)


def _stem_of(graph: onnx.GraphProto) -> _Stem | None:
    wiring = Wiring(graph)
    transpose = wiring.reader(graph.input[0].name, "Transpose")
    if transpose is None or attributes_of(transpose).get("perm") != TO_NCHW:
        return None
    scaled = wiring.reader(transpose.output[0], "DequantizeLinear")
    if scaled is None or not all(wiring.is_one_number(name) for name in scaled.input[1:]):
        return None
    convolution = wiring.reader(scaled.output[0], "Conv")
    quantise = wiring.reader(convolution.output[0], "QuantizeLinear") if convolution is not None else None
    if convolution is None or quantise is None:
        return None
    behind = [wiring.maker(name, "DequantizeLinear") for name in convolution.input[1:]]
    parts = [wiring.stored(node.input) if node is not None else None for node in behind]
    if any(part is None for part in parts):
        return None
    weights, *others = [one for part in parts for one in part or []]
    if not _is_foldable(convolution, list(weights.dims)):
        return None
    per_channel = [one for one in others if one.dims == [weights.dims[0]]]
    return _Stem(transpose, convolution, quantise, weights=weights, per_channel=per_channel)


def _is_foldable(convolution: onnx.NodeProto, shape: list[int]) -> bool:
    given = attributes_of(convolution)
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


def _over_strips(weights: NDArray[np.int8]) -> tuple[NDArray[np.int8], int]:
    """Return the weights (2 * out, 4 * in, side, strips) of a kernel (out, in, side, side), and the strips before it.

    Output channels are ordered (place in the strip, channel), those of the input (pixel in the strip, channel).
    """
    out, channels, side, _ = weights.shape
    reach = side // 2
    before = -(-reach // STRIP)
    behind = (STRIP - 2 + reach) // STRIP
    wide = np.zeros((_PLACES, out, channels, side, (before + 1 + behind) * STRIP), weights.dtype)
    for place in range(_PLACES):
        start = before * STRIP + 2 * place - reach
        wide[place, ..., start : start + side] = weights
    strips = wide.reshape(_PLACES * out, channels, side, -1, STRIP).transpose(0, 4, 1, 2, 3)
    return np.ascontiguousarray(strips.reshape(_PLACES * out, STRIP * channels, side, -1)), before


def _to_strips(graph: onnx.GraphProto, transpose: onnx.NodeProto, channels: int) -> list[onnx.NodeProto]:
    """Return nodes that bring pixels (B, H, W, C) to (B, 4 * C, H, W / 4), in place of the transpose."""
    pixels, strips = transpose.input[0], list(transpose.output)
    return [
        *_regrouped(graph, pixels, "stem_strips", STRIP * channels),
        helper.make_node("Transpose", ["stem_strips"], strips, name=transpose.name, perm=TO_NCHW),
    ]


def _to_places(graph: onnx.GraphProto, quantise: onnx.NodeProto, out: int) -> list[onnx.NodeProto]:
    """Return nodes that bring bytes (B, 2 * out, H, W / 2) to (B, out, H, W), and let them follow.

    The transposes meet those that onnxruntime puts around its convolutions over NHWC, and both are left out.
    """
    name = quantise.output[0]
    quantise.output[0] = f"{name}_of_strips"
    return [
        helper.make_node("Transpose", [quantise.output[0]], ["stem_of_strips"], name="stem_of_strips", perm=TO_NHWC),
        *_regrouped(graph, "stem_of_strips", "stem_places", out),
        helper.make_node("Transpose", ["stem_places"], [name], name="stem_places_to_nchw", perm=TO_NCHW),
    ]


def _regrouped(graph: onnx.GraphProto, source: str, target: str, channels: int) -> list[onnx.NodeProto]:
    """Return nodes that read (B, H, W, C) as (B, H, any, ``channels``), which moves nothing."""
    graph.initializer.append(numpy_helper.from_array(np.array([-1, channels], np.int64), f"{target}_rest"))
    return [
        helper.make_node("Shape", [source], [f"{target}_rows"], name=f"{target}_rows", start=0, end=2),
        helper.make_node("Concat", [f"{target}_rows", f"{target}_rest"], [f"{target}_to"], name=f"{target}_to", axis=0),
        helper.make_node("Reshape", [source, f"{target}_to"], [target], name=target),
    ]
