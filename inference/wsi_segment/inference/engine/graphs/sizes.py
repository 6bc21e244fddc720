"""Whether a graph computes the same in a larger window: what blocks rest on, found by running it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.grid.lattice import BLOCK_MARGIN, BLOCK_SIDES, BLOCK_STEP
from wsi_segment.model.card import Model, write_card
from wsi_segment.model.varied_windows import varied_windows

BLOCK_PIXEL_BYTES = 160
"""Most memory that a network may take for a pixel of a block; what a run's budget reckons with."""

_CENTRE = 128
"""Side of what is compared, pixels."""
_AROUND = 192
"""Pixels around it that both are shown: more than the receptive field of the networks that are common here."""
_LARGEST_DIFFERENCE = 0.005
"""Largest difference of an output, in standard deviations of the outputs."""
_LEAST_SHARE = 0.99
"""Share of the compared outputs that must agree; very wide networks see beyond the margin in the others."""

Respond = Callable[[NDArray[np.uint8]], NDArray[Any]]
"""Maps windows (1, h, w, 3) to outputs (1, C, h / stride, w / stride)."""


def largest_same_window(
    respond: Respond, output_stride: int, *, margin: int = 0, batch: int | None = None
) -> int | None:
    """Return the side of the largest window in which a graph computes what it computes in small ones; None for none.

    The same places of one picture are shown in a window as large as a block with its margins, and in windows of other
    shapes. Convolutions give the same for them; global pooling, instance normalisation and attention do not, since what
    they compute for a place depends on all of the window, nor do graphs that take one size only.

    Args:
        respond: Runs the graph.
        output_stride: Pixels per output.
        margin: Pixels without output on each side of a window; blocks are laid for graphs without any.
        batch: Windows that the graph takes in each call, None for any number; a block is shown alone.
    """
    if margin or batch not in (None, 1) or BLOCK_STEP % output_stride:
        return None
    for core in BLOCK_SIDES:
        side = core + 2 * BLOCK_MARGIN
        try:
            if _same_within(respond, side, output_stride):
                return side
        except Exception:  # onnxruntime's errors have no common type of their own; the graph does not take this size
            continue
    return None


def _same_within(respond: Respond, side: int, stride: int) -> bool:
    picture = varied_windows(2, side)[1]  # half of it is glass, so that what is taken of all of a window differs
    before = _peak_bytes()
    whole = respond(picture[None])[0].astype(np.float64)
    if _peak_bytes() - before > BLOCK_PIXEL_BYTES * side * side or whole.shape[1:] != (side // stride, side // stride):
        return False
    spread = max(float(whole.std()), 1e-6)
    last = side - _CENTRE - _AROUND
    for y, x, more in ((_AROUND, last, 0), (side // 64 * 32 - 64, _AROUND, 32), (last, last, 96)):
        centre = Box(x, y, x + _CENTRE, y + _CENTRE).aligned(BLOCK_STEP)
        shown = centre.grown(_AROUND)
        shown = Box(max(0, shown.x0 - more), shown.y0, shown.x1, shown.y1)
        part = respond(picture[shown.y0 : shown.y1, shown.x0 : shown.x1][None])[0].astype(np.float64)
        apart = np.abs(_cells(part, centre.moved(-shown.x0, -shown.y0), stride) - _cells(whole, centre, stride))
        if (apart <= _LARGEST_DIFFERENCE * spread).mean() < _LEAST_SHARE:
            return False
    return True


def _cells(outputs: NDArray[np.float64], box: Box, stride: int) -> NDArray[np.float64]:
    return outputs[:, box.y0 // stride : box.y1 // stride, box.x0 // stride : box.x1 // stride]


def _peak_bytes() -> int:
    """Return the most memory that this process has held, 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def state_checked_window(model: Model) -> Model:
    """Measure the largest window of a model and write it on its card; return the model with that card.

    Raises:
        ModelError: the graph is not what its card says.
    """
    from wsi_segment.inference.engine.networks.onnx_network import OnnxNetwork  # which imports this package

    network, card = OnnxNetwork(model, "cpu", "fp32"), model.card
    checked = largest_same_window(network, card.output_stride, margin=card.margin, batch=network.batch)
    card = card.model_copy(update={"checked_window": checked})
    write_card(card, model.folder)
    return replace(model, card=card)
