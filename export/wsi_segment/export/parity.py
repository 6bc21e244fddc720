"""Whether the exported graph computes what the trained network computes."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from wsi_segment.errors import ModelError
from wsi_segment.export.graph import INPUT
from wsi_segment.model.training.resnet import SegmentationNetwork, normalise

LARGEST_DIFFERENCE = 1e-3
"""Bound on the difference of any logit; different summation orders explain less."""


def check_parity(network: SegmentationNetwork, model: onnx.ModelProto, patches: NDArray[np.uint8]) -> float:
    """Return the largest absolute difference of a logit between torch and onnxruntime.

    Args:
        network: In evaluation mode.
        model: Its graph.
        patches: Real ones, (B, 128, 128, 3).

    Raises:
        ModelError: the difference is above the bound.
    """
    difference = largest_difference(network, model, patches)
    if not difference <= LARGEST_DIFFERENCE:
        raise ModelError(
            f"the exported graph differs from the network by {difference:.2g}, more than {LARGEST_DIFFERENCE:g}; "
            "use another version of torch or onnxscript"
        )
    return difference


def largest_difference(network: SegmentationNetwork, model: onnx.ModelProto, patches: NDArray[np.uint8]) -> float:
    """Return the largest absolute difference of a logit, see :func:`check_parity`."""
    with torch.inference_mode():
        expected = network(normalise(torch.from_numpy(patches).permute(0, 3, 1, 2))).numpy()
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {INPUT: patches})[0]
    return float(np.abs(found - expected).max())
