"""The temperature of a network, put into its last convolution."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from wsi_segment.errors import ModelError


def scale_logits(path: Path, temperature: float) -> None:
    """Divide what the last convolution of a graph gives by a number, in place.

    Its weights and its bias carry the factor, so the graph costs nothing more. What follows must be linear, as it is in
    the graphs that :mod:`wsi_segment.export.graph` makes.

    Raises:
        ModelError: the last convolution's weights are not stored in the graph, or its output is changed by more than
            a resize.
    """
    model = onnx.load(path)
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    stored = {one.name: one for one in model.graph.initializer}
    last = convolutions[-1] if convolutions else None
    if last is None or any(name not in stored for name in last.input[1:]):
        raise ModelError(f"{path}: its last convolution holds no weights of its own; its logits cannot be scaled")
    after = list(model.graph.node)[list(model.graph.node).index(last) + 1 :]
    if any(node.op_type not in ("Resize", "Identity", "Constant", "Transpose") for node in after):
        raise ModelError(f"{path}: more than a resize follows its last convolution; its logits cannot be scaled")
    users = [name for node in model.graph.node for name in node.input]
    for name in last.input[1:]:
        if users.count(name) > 1:
            raise ModelError(f"{path}: its last convolution shares weights with another part; it cannot be scaled")
        scaled = (numpy_helper.to_array(stored[name]) / np.float32(temperature)).astype(np.float32)
        stored[name].CopyFrom(numpy_helper.from_array(scaled, name))
    onnx.save(model, path)
