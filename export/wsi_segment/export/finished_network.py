"""The network of a finished model or training run, to be trained further."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

from wsi_segment.errors import ModelError
from wsi_segment.export.model_folder import attribution_of, license_of, training_data_of
from wsi_segment.export.parity import LARGEST_DIFFERENCE, largest_difference
from wsi_segment.model.card import CARD_FILE, RUN_FILE, WINDOW, Model, bundled_models, find_model, sha256_of
from wsi_segment.model.training.resnet import Head, SegmentationNetwork, Upsampling
from wsi_segment.model.training.run_folder import BEST_FILE, load_run
from wsi_segment.model.training.starting_point import Origin, StartingPoint
from wsi_segment.model.varied_windows import varied_windows

_TELLING: dict[str, Head] = {
    "head.lateral.weight": "lateral",
    "head.up3.conv1.weight": "unet",
    "head.conv.weight": "paper",
}
"""Weights that tell the heads apart, looked for in this order."""


def read_starting_point(source: str) -> StartingPoint:
    """Read a finished network, of a model by its name or folder, or of a training run.

    Raises:
        ModelError: there is no such model, or its graph is not of a network that training makes.
        OutputError: the run has no validated checkpoint yet.
    """
    folder = Path(source)
    is_model = source in bundled_models() or (folder / CARD_FILE).is_file()
    return _of_run(folder) if not is_model and (folder / RUN_FILE).is_file() else _of_model(find_model(source))


def _of_run(folder: Path) -> StartingPoint:
    run = load_run(folder)
    described, recipe = run.described, run.described["recipe"]
    return StartingPoint(
        network=run.network,
        head=recipe["head"],
        head_upsampling=recipe.get("head_upsampling", "nearest"),
        patch=recipe.get("patch", WINDOW),
        mpp=described["mpp"],
        classes=run.classes,
        origin=Origin(
            name=f"a training on {described['dataset']}, step {run.row['step']:.0f}",
            sha256=sha256_of(folder / BEST_FILE),
            training_data=training_data_of(described),
            license=license_of(described),
            attribution=attribution_of(described),
        ),
        started_from=(described.get("started_from") or {}).get("sha256"),
    )


def _of_model(model: Model) -> StartingPoint:
    card, path = model.card, model.weights()
    graph = onnx.load(path)
    stored = {one.name: numpy_helper.to_array(one) for one in graph.graph.initializer}
    head = next((head for name, head in _TELLING.items() if name in stored), None)
    if head is None:
        raise ModelError(f"{path}: not of a network that wsi-segment trains; only models that it exported go on")
    upsampling = _upsampling(graph, head)
    network = SegmentationNetwork(len(card.classes), head, upsampling).eval()
    _take_over(network, graph, stored, path)
    difference = largest_difference(network, graph, varied_windows(4, WINDOW))
    if not difference <= LARGEST_DIFFERENCE:
        raise ModelError(
            f"{path}: the network read from it differs by {difference:.2g} from the graph, more than "
            f"{LARGEST_DIFFERENCE:g}; train further from the run that it was exported from"
        )
    return StartingPoint(
        network=network,
        head=head,
        head_upsampling=upsampling,
        patch=card.trained_window or WINDOW,
        mpp=card.mpp,
        classes=card.classes,
        origin=Origin(
            name=f"{card.name} {card.version}",
            sha256=card.files[path.name],
            training_data=card.training_data,
            license=card.license,
            attribution=card.attribution,
        ),
        started_from=(card.started_from or {}).get("sha256"),
    )


def _upsampling(graph: onnx.ModelProto, head: Head) -> Upsampling:
    """Tell how the head of the paper resizes; the others always do it in one way, and the field says nothing."""
    modes = {
        one.s for node in graph.graph.node if node.op_type == "Resize" for one in node.attribute if one.name == "mode"
    }
    return "bilinear" if head == "paper" and b"linear" in modes else "nearest"


@torch.no_grad()
def _take_over(
    network: SegmentationNetwork, graph: onnx.ModelProto, stored: dict[str, NDArray[np.float32]], path: Path
) -> None:
    """Copy the weights of each convolution; what batch norm was folded into its bias becomes the shift after it.

    Batch norm itself is left to do nothing else, until its statistics are measured.
    """
    convolutions = {node.input[1]: list(node.input) for node in graph.graph.node if node.op_type == "Conv"}
    layers = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d | nn.BatchNorm2d)]
    for (name, layer), (_, after) in zip(layers, [*layers[1:], layers[-1]], strict=True):
        if not isinstance(layer, nn.Conv2d):
            continue
        inputs = convolutions.get(f"{name}.weight", [])
        weight, bias = (stored.get(one) for one in (*inputs[1:3], "", "")[:2])
        shift = after.bias if isinstance(after, nn.BatchNorm2d) else layer.bias
        assert shift is not None
        if weight is None or bias is None or weight.shape != layer.weight.shape or bias.shape != shift.shape:
            raise ModelError(f"{path}: lacks {name} as wsi-segment exports it; only models that it exported go on")
        layer.weight.copy_(torch.from_numpy(weight.copy()))
        shift.copy_(torch.from_numpy(bias.copy()))
        if isinstance(after, nn.BatchNorm2d):
            after.weight.fill_(math.sqrt(1 + after.eps))  # its statistics are 0 and 1
