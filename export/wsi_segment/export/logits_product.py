"""The last convolution of a quantised graph, of one pixel, as a matrix product over NHWC.

The integer kernels of onnxruntime leave their bytes in NHWC. A convolution in float behind them has them brought to
NCHW, then to its own blocks of channels, and its logits back: four passes over the largest array in float. A product
over the channels takes them as they lie. Where the kernels add in one order, as on x86, no logit changes.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from wsi_segment.export.qdq import TO_NCHW, TO_NHWC, Wiring, attributes_of, insert_after


def multiply_logits(model: onnx.ModelProto) -> bool:
    """Put a matrix product in the place of the last convolution of a graph in QDQ form, in place.

    That needs a convolution in float of 1 x 1 pixels, with weights of its own, which reads nothing but bytes.

    Returns:
        Whether the graph ends like that; it is as it was otherwise.
    """
    graph = model.graph
    wiring = Wiring(graph)
    last = next((node for node in reversed(graph.node) if node.op_type == "Conv"), None)
    scaled = wiring.maker(last.input[0], "DequantizeLinear") if last is not None else None
    stored = wiring.stored(last.input[1:]) if last is not None else None
    if last is None or scaled is None or stored is None or not _is_pointwise(last, list(stored[0].dims)):
        return False
    read, name = scaled.input[0], last.output[0]
    weights, bias = stored[0], last.input[2:]
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights)[:, :, 0, 0].T.copy(), weights.name))
    product = f"{name}_product"
    nodes = [
        helper.make_node("Transpose", [read], [f"{name}_bytes"], name=f"{name}_bytes", perm=TO_NHWC),
        helper.make_node("DequantizeLinear", [f"{name}_bytes", *scaled.input[1:]], [f"{name}_read"], name=scaled.name),
        helper.make_node("MatMul", [f"{name}_read", weights.name], [product], name=last.name),
    ]
    if bias:
        nodes.append(helper.make_node("Add", [product, bias[0]], [f"{name}_sum"], name=f"{name}_sum"))
    nodes.append(helper.make_node("Transpose", [nodes[-1].output[0]], [name], name=f"{name}_to_nchw", perm=TO_NCHW))
    insert_after(graph, last, nodes)
    graph.node.remove(last)
    graph.node.remove(scaled)
    del graph.value_info[:]  # shapes of what lay between
    onnx.checker.check_model(model)
    return True


def _is_pointwise(convolution: onnx.NodeProto, shape: list[int]) -> bool:
    given = attributes_of(convolution)
    return (
        shape[2:] == [1, 1]
        and given.get("group", 1) == 1
        and not np.any(given.get("pads", 0))
        and given.get("strides", [1, 1]) == [1, 1]
        and given.get("auto_pad", b"NOTSET") in (b"NOTSET", b"VALID")
    )
