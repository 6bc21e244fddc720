"""Where the cells of a graph's output lie on its window, found by changing pixels and seeing which cells change."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_segment.errors import ModelError
from wsi_segment.inference.grid.box import ceil_div
from wsi_segment.model.varied_windows import varied_windows

Respond = Callable[[NDArray[np.uint8]], NDArray[Any]]
"""Windows (B, h, w, 3) in, outputs (B, C, rows, columns) out."""

PLACES = 9
"""How many places of a window are changed, along its diagonal."""
_MOVED = (32, 64)
"""Approximate pixels by which a picture is moved: layers inside a network may have larger strides than its output. For
small windows a quarter of the window is tried too."""
_NEAR = 1.5
"""Cells by which the output may move further, or less far, than a stride would move it, for that to be looked into."""
_DRIFT = 0.3
"""Share of the way of a changed square by which the cells that answer may lag behind it."""
_EXACT = 1e-3
"""Misfit below which no other stride is tried."""
_MANY_MOVES = 8
"""Of more numbers of cells than these, the right one lies between others for one of the distances moved by."""
_UNEVEN = 1.5
"""Cells by which the output of a graph that leaves a border may lie off the middle of its window: the border would be
wider on one side. Random weights have up to one."""
_COMPARED = 96
"""Cells that are compared along each axis."""
_MOST_MISFIT = 0.75
"""Of the right stride it is near 0 but for borders, of a wrong one near 1."""


def find_geometry(respond: Respond, window: int) -> tuple[int, int]:
    """Find the output stride of a graph and the margin that it leaves on each side of its window; pixels.

    A shape alone does not say: 388 cells of a window of 572 px are one pixel each with 92 px left out on every side.
    So a picture is moved by whole cells of each stride that the shape allows. Of the right one, the output moves by
    just as many cells, however far each cell sees. A small square that is changed at several places then shows whether
    the cells lie in the middle of the window.

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
    if not all(np.any(respond(255 - base)[index] != before[index]) for index in range(len(base))):
        raise ModelError("answers alike whatever its window shows; state `output_stride` and `margin`")
    moves = [(pixels, _best_move(respond, base, before, pixels)) for pixels in sorted({*_MOVED, window // 4})]
    # of strides that the shape does not allow, too: where one of them fits best, no other may be taken for it
    strides = range(1, ceil_div(window, cells) + 2)
    near = [one for one in strides if any(abs(pixels / one - move) <= _NEAR for pixels, move in moves)]
    misfit, stride = math.inf, 0
    for one in sorted(near, key=lambda one: abs(moves[0][0] / one - moves[0][1])):
        if misfit > _EXACT and (found := _mismatch(respond, base, before, one)) < misfit:
            misfit, stride = found, one
    rest = window - cells * stride
    if misfit > _MOST_MISFIT:
        apart = f"about {moves[-1][0] / max(1, moves[-1][1]):.2g} px apart, which no whole number of pixels per cell"
    elif rest < 0 or rest % 2:
        apart = f"{stride} px apart, which no border of the same width on each side"
    else:
        off = _off_middle(respond, base, before, stride)
        if abs(off) <= (max(4, stride, window // 32) if rest == 0 else _UNEVEN * stride):
            return stride, rest // 2
        where = f"{off:+.0f} px off its middle" if math.isfinite(off) else "not where the window was changed"
        guess = "is one side cropped more?" if abs(off) <= window // 16 else "are rows and columns swapped?"
        apart = f"{stride} px apart and {where} ({guess}), which no border of the same width"
    raise ModelError(
        f"gives {cells} cells for a window of {window} px, {apart} explains; give another `window` where it takes "
        "several, or state `output_stride` and `margin`"
    )


def _off_middle(respond: Respond, picture: NDArray[np.uint8], before: NDArray[Any], stride: int) -> float:
    """Change a small square at several places, and return by how many pixels the cells that answer lie off it.

    The middle one of all places, of the axis where it is larger. Infinite where no place shows in the output, or where
    the cells that answer do not follow the square at this stride.
    """
    window, cells = picture.shape[1], before.shape[2]
    margin = (window - cells * stride) // 2
    # the square is as large as a cell, so that some cell answers to it wherever it is
    side, off = max(2, window // 32, ceil_div(stride, 2)), []
    for place in np.linspace(margin + 0.2 * cells * stride, window - margin - 0.2 * cells * stride, PLACES):
        row, changed = round(place), picture.copy()
        column = window - row  # along the other diagonal, so that rows and columns can be distinguished
        square = np.s_[:, row - side : row + side, column - side : column + side]
        changed[square] = 255 - changed[square]
        expected = (row - margin) / stride, (column - margin) / stride
        off.append(np.subtract(_centre(before, respond(changed)), expected) * stride)
    found = np.asarray(off)
    known = np.isfinite(found)
    # from the first places to the last ones, cells of another stride drift off
    if not (known[-3:].all(axis=1).any() and known[:3].all(axis=1).any()):
        return math.inf
    drift = np.abs(np.nanmedian(found[-3:], axis=0) - np.nanmedian(found[:3], axis=0)).max()
    follows = drift <= _DRIFT * 0.6 * cells * stride + 2 * side
    rows, columns = (float(np.median(axis[np.isfinite(axis)])) for axis in found.T)
    return max(rows, columns, key=abs) if follows else math.inf


def _mismatch(respond: Respond, picture: NDArray[np.uint8], before: NDArray[Any], stride: int) -> float:
    """Move a picture by whole cells of a stride, and return how much the output differs from the moved output.

    Relative to how much it differs when moved by any number of cells; infinite where another number fits better.
    """
    found = []
    for pixels in sorted({*_MOVED, picture.shape[1] // 4}):
        cells = max(1, round(pixels / stride))
        differences = _differences(respond, picture, before, cells * stride)
        # the furthest of many moves may fit best only since the right one would lie beyond it, or at a border
        end = len(differences) - (len(differences) > _MANY_MOVES)
        if cells < end and differences.argmin() == cells:
            found.append(float(differences[cells] / max(np.median(differences), 1e-300)))
    return min(found, default=math.inf)


def _best_move(respond: Respond, picture: NDArray[np.uint8], before: NDArray[Any], pixels: int) -> int:
    """Return by how many cells the output moves when the picture moves by some pixels."""
    return int(_differences(respond, picture, before, pixels).argmin())


def _differences(
    respond: Respond, picture: NDArray[np.uint8], before: NDArray[Any], pixels: int
) -> NDArray[np.float64]:
    """Move a picture along its diagonal; for each number of cells, say how unlike the output is when moved by them.

    The picture leaves the window on one side and comes in on the other, so that a network that sees all of the window
    sees the same picture.
    """
    after = respond(np.roll(picture, (-pixels, -pixels), (1, 2)))
    cells = before.shape[2]
    most = min(max(1, cells * 2 // 3), 2 * pixels)
    compared = max(1, min(_COMPARED, (cells - most) * 3 // 4))
    first = (cells - most - compared) // 2  # in the middle: borders answer to what lies around the window
    there = after[:, :, first : first + compared, first : first + compared].astype(np.float32)
    return np.array(
        [
            np.abs(before[:, :, k + first : k + first + compared, k + first : k + first + compared] - there).mean()
            for k in range(most + 1)
        ],
        np.float64,
    )


def _centre(before: NDArray[Any], after: NDArray[Any]) -> tuple[float, float]:
    """Row and column of the middle of where two outputs (B, C, rows, columns) differ most, in cells."""
    change = np.abs(after.astype(np.float64) - before.astype(np.float64)).sum(axis=1)
    change /= np.maximum(change.sum(axis=(1, 2), keepdims=True), 1e-300)  # each window counts alike
    change = change.sum(axis=0)
    change = np.where(change > change.max() / 2, change, 0)  # the rest is of cells that see all of the window
    total = change.sum()
    if not total:
        return math.nan, math.nan
    place = np.arange(change.shape[0]) + 0.5
    return float((change.sum(axis=1) @ place) / total), float((change.sum(axis=0) @ place) / total)
