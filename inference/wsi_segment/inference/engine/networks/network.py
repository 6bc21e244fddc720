"""What the engine asks of a network, and loading a model's own."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from wsi_segment.model.card import Model, Precision

Device = Literal["auto", "cpu", "cuda", "openvino"]
PrecisionChoice = Literal["auto", "fp32", "bf16", "fp16", "int8"]


class Network(Protocol):
    """Anything that maps windows to logits; called from several threads."""

    def __call__(self, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Map RGB (B, h, w, 3) to logits (B, C, rows, columns); h and w are the card's window, or a block's sides."""


class NetworkFacts(Protocol):
    """What a run records of a network of a model folder."""

    @property
    def provider(self) -> str:
        """Name of what runs it, such as ``CPUExecutionProvider``."""

    @property
    def precision(self) -> Precision:
        """Precision in which it computes."""

    @property
    def file(self) -> str:
        """Name of the file in the model folder."""

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the libraries that only this network needs, by name."""

    @property
    def batch(self) -> int | None:
        """Windows in each call, where the graph takes no other number."""


class LoadedNetwork(Network, NetworkFacts, Protocol):
    """A network of a model folder, ready to be called."""


def load_network(
    model: Model, device: Device = "auto", precision: PrecisionChoice = "auto", batch_size: int = 16
) -> LoadedNetwork:
    """Load the file of a model that a device and a precision ask for.

    Args:
        model: The folder.
        device: Device that runs it.
        precision: Number format in which it computes.
        batch_size: Windows in each call, where all calls have one shape.

    Raises:
        ModelError: the file is changed, not ONNX, or not what its card says.
        InputError: the device cannot be had, or not in that precision.
    """
    if device == "openvino":
        from wsi_segment.inference.engine.networks.openvino_network import OpenVinoNetwork

        return OpenVinoNetwork(model, precision)
    from wsi_segment.inference.engine.networks.onnx_network import OnnxNetwork

    return OnnxNetwork(model, device, precision, batch_size)
