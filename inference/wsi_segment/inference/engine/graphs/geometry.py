"""Where the cells of a graph's output lie on its window, found by changing pixels and seeing which cells change."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_segment.errors import ModelError
from wsi_segment.inference.engine.graphs.check import varied_windows
from wsi_segment.inference.grid.box import ceil_div

Respond = Callable[[NDArray[np.uint8]], NDArray[Any]]
"""Windows (B, h, w, 3) in, outputs (B, C, rows, columns) out."""

PLACES = 9
"""Where a window is changed, along its diagonal."""
_MOVED = 32
"""Pixels, about, by which a picture is moved."""
_MOST_MISFIT = 0.5
"""Of the right stride it is near 0 but for borders, of a wrong one near 1."""
_NEAR = 0.2
"""Share by which the measured distance of cells may differ from a whole number of pixels that the shape allows."""


def find_geometry(respond: Respond, window: int) -> tuple[int, int]:
    """Find the output stride of a graph and the margin that it leaves on each side of its window; pixels.

    A shape alone does not say: 388 cells of a window of 572 px are one pixel each with 92 px left out on every side.
    So a small square is changed at several places, and how far the change in the output moves gives the pixels per
    cell. Of the whole numbers near it that the shape allows, the one is taken by whose multiple a picture can be
    moved so that the output moves by whole cells.

    Args:
        respond: Runs the graph.
        window: Side of its window, pixels.

    Raises:
        ModelError: nothing fits; the line says what was measured.
    """
    base = varied_windows(4, window)
    before = respond(base)
    cells = before.shape[2]
    if before.shape[2:] != (cells, cells):
        raise ModelError(
            f"gives {before.shape[2]} x {before.shape[3]} cells for a square window; it must give a square"
        )
    if cells == 1:
        return window, 0
    if cells > window:
        raise ModelError(f"gives {cells} cells for a window of {window} px; export it without its last enlargement")
    # the square is as large as a cell, so that what changes moves smoothly as the square does
    side, places = max(2, window // 32, ceil_div(window, 2 * cells)), np.linspace(0.3, 0.7, PLACES) * window
    centres = []
    for place in places.round().astype(int):
        changed = base.copy()
        square = np.s_[:, place - side : place + side, place - side : place + side]
        changed[square] = 255 - changed[square]
        centres.append(_centre(before, respond(changed)))
    found = np.asarray(centres)
    if not np.isfinite(found).all() or (found[-1] - found[0]).min() <= 0:
        raise ModelError("answers alike wherever its window is changed; state `output_stride` and `margin`")
    # a straight line through all places: cells per pixel along each axis
    slopes = np.polyfit(places.round(), found, 1)[0]
    measured = float(1 / slopes.mean())
    allowed = [stride for stride in range(1, window // cells + 1) if (window - cells * stride) % 2 == 0]
    near = [one for one in allowed if abs(one / measured - 1) <= _NEAR]
    misfit, stride = min(((_mismatch(respond, window, one), one) for one in near), default=(math.inf, 0))
    off = float((found.mean(axis=0) - cells / 2).mean()) * stride
    if misfit > _MOST_MISFIT or abs(off) > max(4, stride, side):
        raise ModelError(
            f"gives {cells} cells for a window of {window} px, about {measured:.2f} px apart and {off:+.1f} px off its "
            "middle, which no whole number of pixels per cell explains; state `output_stride` and `margin`"
        )
    return stride, (window - cells * stride) // 2


def _mismatch(respond: Respond, window: int, stride: int) -> float:
    """Move a picture by whole cells of a stride, and return how much the output differs from the moved output.

    Relative to how much the output differs between unlike pictures; 0 is the same.
    """
    cells = max(1, round(_MOVED / stride))  # many pixels: the layers inside may have larger strides than the output
    moved = cells * stride
    picture = varied_windows(4, window + moved)
    before, after = respond(picture[:, :window, :window]), respond(picture[:, moved:, moved:])
    if before.shape[2] <= cells:
        return math.inf
    difference = before[:, :, cells:, cells:].astype(np.float64) - after[:, :, :-cells, :-cells]
    unlike = before.astype(np.float64) - np.roll(before, 1, axis=0)
    return float(np.abs(difference).mean() / max(np.abs(unlike).mean(), 1e-300))


def _centre(before: NDArray[Any], after: NDArray[Any]) -> tuple[float, float]:
    """Row and column of the middle of what differs between two outputs (B, C, rows, columns), in cells."""
    change = np.abs(after.astype(np.float64) - before.astype(np.float64)).sum(axis=1)
    change /= np.maximum(change.sum(axis=(1, 2), keepdims=True), 1e-300)  # each window counts alike
    change = change.sum(axis=0)
    total = change.sum()
    if not total:
        return math.nan, math.nan
    place = np.arange(change.shape[0]) + 0.5
    return float((change.sum(axis=1) @ place) / total), float((change.sum(axis=0) @ place) / total)
