"""What can be put into the last convolution of a network after training, so that the graph costs nothing more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from wsi_segment.errors import ModelError


def scale_logits(path: Path, temperature: float) -> None:
    """Divide the logits of a graph by a number, in place.

    Raises:
        ModelError: see :class:`_LastConvolution`.
    """
    last = _LastConvolution(path)
    for name in last.stored:
        last.write(name, last.read(name) / np.float32(temperature))
    last.save()


def shift_logits(path: Path, offsets: NDArray[np.float64]) -> None:
    """Add a number to the logits of each class, in place.

    Args:
        path: The graph.
        offsets: One per class (C,).

    Raises:
        ModelError: the last convolution has no bias or another number of channels; or see :class:`_LastConvolution`.
    """
    last = _LastConvolution(path)
    bias = last.stored[1] if len(last.stored) > 1 else None
    if bias is None or last.read(bias).shape != offsets.shape:
        raise ModelError(f"{path}: its last convolution has no bias for {len(offsets)} classes that could be changed")
    last.write(bias, last.read(bias) + offsets.astype(np.float32))
    last.save()


class _LastConvolution:
    """The last convolution of a graph, whose stored numbers can be changed.

    What follows it must be linear, as it is in the graphs that :mod:`wsi_segment.export.graph` makes.

    Raises:
        ModelError: its weights are not stored in the graph, or are shared, or more than a resize changes its output.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._model = path, onnx.load(path)
        nodes = list(self._model.graph.node)
        convolutions = [node for node in nodes if node.op_type == "Conv"]
        self._initializers = {one.name: one for one in self._model.graph.initializer}
        last = convolutions[-1] if convolutions else None
        if last is None or any(name not in self._initializers for name in last.input[1:]):
            raise ModelError(f"{path}: its last convolution holds no weights of its own; its logits cannot be changed")
        after = nodes[nodes.index(last) + 1 :]
        if any(node.op_type not in ("Resize", "Identity", "Constant", "Transpose") for node in after):
            raise ModelError(f"{path}: more than a resize follows its last convolution; its logits cannot be changed")
        users = [name for node in nodes for name in node.input]
        if any(users.count(name) > 1 for name in last.input[1:]):
            raise ModelError(f"{path}: its last convolution shares weights with another part; it cannot be changed")
        self.stored: tuple[str, ...] = tuple(last.input[1:])
        """Names of its weights, and of its bias where it has one."""

    def read(self, name: str) -> NDArray[np.float32]:
        """Return what is stored by a name."""
        return np.asarray(numpy_helper.to_array(self._initializers[name]), np.float32)

    def write(self, name: str, values: NDArray[np.float32]) -> None:
        """Store other values by a name."""
        self._initializers[name].CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))

    def save(self) -> None:
        """Write the graph where it was read."""
        onnx.save(self._model, self._path)
