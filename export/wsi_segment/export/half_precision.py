"""The same network in floats of sixteen bits, for GPUs."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

from wsi_segment.errors import ModelError

_KEPT = [*DEFAULT_OP_BLOCK_LIST, "DequantizeLinear", "QuantizeLinear"]
"""Operators that stay in float32; the last two take scales in float16 only from opset 19 on."""


def halve(source: Path, target: Path) -> None:
    """Write a graph that computes in float16; its input and output keep their types.

    What onnxruntime does not compute in float16, such as Resize, stays in float32 between two casts.

    Args:
        source: A graph in float32, with its weights inside.
        target: The file to write.

    Raises:
        ModelError: the graph cannot be converted.
    """
    try:
        graph = ONNXModel(convert_float_to_float16(onnx.load(source), keep_io_types=True, op_block_list=_KEPT))
        graph.topological_sort()  # the converter puts casts behind what they feed
        onnx.checker.check_model(graph.model)
        onnx.save(graph.model, target)
    except Exception as error:  # onnx and onnxruntime have no common type of error
        raise ModelError(f"{source}: cannot be converted to float16: {' '.join(str(error).split())}") from error
