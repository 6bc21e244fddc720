"""The same network in eight bits: weights and activations of a graph, by ranges seen on real windows."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from wsi_segment.errors import ModelError
from wsi_segment.export.logits_product import multiply_logits
from wsi_segment.export.stem import STRIP, fold_stem


class _Windows(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is untyped
    """Real windows, in onnxruntime's own form: one batch per call, None at the end."""

    def __init__(self, name: str, batches: Iterator[NDArray[Any]]) -> None:
        self._name, self._batches = name, batches

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {self._name: batch}


def quantise(source: Path, target: Path, batches: Iterator[NDArray[Any]], *, width_step: int = 1) -> None:
    """Write a graph whose convolutions multiply integers of eight bits, in QDQ form.

    Activations are unsigned and weights signed, per channel, which is what VNNI multiplies; ranges are the smallest and
    largest values seen. The last convolution stays in float: its outputs are the logits, whose order decides.

    Args:
        source: A graph in float, with its weights inside.
        target: The file to write.
        batches: Real windows as the graph takes them, in its layout and type, one batch per call.
        width_step: What the widths of all windows are multiples of; where that can be divided by four, a first
            convolution of stride 2 is computed over strips of pixels, which is faster and gives the same.

    Raises:
        ModelError: the graph has no convolution, or cannot be quantised.
    """
    graph = onnx.load(source)
    convolutions = [node.name for node in graph.graph.node if node.op_type == "Conv"]
    if len(convolutions) < 2 or len(set(convolutions)) < len(convolutions):
        raise ModelError(f"{source}: has no two convolutions with names of their own, so nothing can be quantised")
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # onnxruntime advises a step that serves transformers
    try:
        quantize_static(
            str(source),
            str(target),
            _Windows(graph.graph.input[0].name, batches),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=convolutions[-1:],
        )
        quantised = onnx.load(target)
        multiply_logits(quantised)
        if width_step % STRIP == 0:
            fold_stem(quantised)
        onnx.save(quantised, target)
    except Exception as error:  # onnxruntime's errors have no common type of their own
        raise ModelError(f"{source}: cannot be quantised: {' '.join(str(error).split())}") from error
    finally:
        logging.disable(before)
