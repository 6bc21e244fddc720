"""The ONNX graph of a network: uint8 NHWC pixels in, logits at the output stride out."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper

from wsi_segment.model.card import WINDOW
from wsi_segment.model.training.resnet import PIXEL_SCALE, PIXEL_ZERO_POINT, SegmentationNetwork

OPSET = 18
INPUT, OUTPUT = "pixels", "logits"


def to_onnx(network: SegmentationNetwork) -> onnx.ModelProto:
    """Return the graph of a network in evaluation mode, with a free batch, height and width.

    The float graph that torch exports is given a head: Transpose to NCHW, then DequantizeLinear with scale
    1 / 128 and zero point 255, which is the training's normalisation on uint8 pixels.

    Raises:
        onnx.checker.ValidationError: the graph is not valid.
    """
    example = torch.zeros(2, 3, WINDOW, WINDOW)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of packages that this graph does not need
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.onnx.export(
            network.eval(),
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["normalised"],
            output_names=[OUTPUT],
            dynamic_shapes={"x": {0: torch.export.Dim("batch")}},
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _take_pixels(model)
    _without_traces(model)
    _free_sides(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def _free_sides(model: onnx.ModelProto) -> None:
    """Leave height and width open, in place; what the graph computes in other sizes is measured later.

    All that it resizes, it resizes by a factor.
    """
    graph = model.graph
    for value, axes in ((graph.input[0], {1: "height", 2: "width"}), (graph.output[0], {2: "rows", 3: "columns"})):
        for axis, name in axes.items():
            value.type.tensor_type.shape.dim[axis].dim_param = name
    del graph.value_info[:]  # they state the sizes of a patch


def _take_pixels(model: onnx.ModelProto) -> None:
    """Put the normalisation before the graph, in place."""
    graph = model.graph
    normalised = graph.input[0].name
    pixels = helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["batch", WINDOW, WINDOW, 3])
    head = [
        helper.make_node("Transpose", [INPUT], ["pixels_nchw"], name="to_nchw", perm=[0, 3, 1, 2]),
        helper.make_node(
            "DequantizeLinear", ["pixels_nchw", "pixel_scale", "pixel_zero_point"], [normalised], name="normalise"
        ),
    ]
    graph.initializer.extend(
        [
            helper.make_tensor("pixel_scale", TensorProto.FLOAT, [], [PIXEL_SCALE]),
            helper.make_tensor("pixel_zero_point", TensorProto.UINT8, [], [PIXEL_ZERO_POINT]),
        ]
    )
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*head, *nodes])
    del graph.input[:]
    graph.input.append(pixels)


def _without_traces(model: onnx.ModelProto) -> None:
    """Drop what the exporter notes of source files and paths, in place."""
    graph: Any = model.graph
    model.doc_string = ""
    del model.metadata_props[:]
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
