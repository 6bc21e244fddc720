"""What of a block is computed: the smallest boxes around its tissue, and as much around them as bears on it.

Everything here follows from the block and the tissue of the slide alone, so that neither regions nor their order, nor
outlines that limit the run, change what a pixel is made of.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsi_segment.inference.engine.tissue import TissueMask
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.grid.lattice import BLOCK_MARGIN, BLOCK_STEP

GLASS_MARGIN = 32
"""Margin beyond the last tissue, mask pixels; glass is seen alike by its first pixels and by more of them."""
OUTLINE_MARGIN = 96
"""How much more than a block's margin is seen of tissue that lies beyond the outlines of a run, mask pixels; together
they are more than the receptive field of the networks that are common here, since all that such a run shows may lie
close to it, and hold the halo of kinds that are smoothed."""
_COST_MARGIN = (GLASS_MARGIN + BLOCK_MARGIN) / 2
"""Margin of a piece on one side, mask pixels, as it is weighed against glass that would be computed."""
_PIECE_PIXELS = 64 * 64
"""What a further piece must save at least, mask pixels."""

_Cut = tuple[slice, slice]


def pieces_of(tissue: TissueMask, m_block: Box, margin: int = BLOCK_MARGIN) -> list[tuple[Box, Box]]:
    """Return core and window of each piece of a block that holds tissue to analyse.

    The block's tissue, aligned to ``BLOCK_STEP``, is cut in two along the line that saves most, as long as one does,
    and each part is cropped to what it holds::

        +----------------+        +-------+
        | ######         |        |#######|         the margins around two pieces are smaller
        | #######        |        |#######+----+    than the glass between their corners
        |        #####   |   ->   +-------|####|
        |         ####   |                |####|
        +----------------+                +----+

    Args:
        tissue: Of the slide.
        m_block: The core of a block; starts on a multiple of ``BLOCK_STEP``.
        margin: Of the block, mask pixels.

    Returns:
        In the order of the cuts. A window holds its core, ``GLASS_MARGIN`` pixels of glass and up to ``margin``
        pixels of the tissue around it; it may reach over the mask's edge.
    """
    found = []
    for rows, columns in _cuts(_steps_with_tissue(tissue, m_block)):
        corners = (columns.start, rows.start, columns.stop, rows.stop)
        piece = Box(*(corner * BLOCK_STEP for corner in corners)).moved(m_block.x0, m_block.y0)
        core = tissue.bounds_within(piece).aligned(BLOCK_STEP)
        if core.empty:  # outside of the outlines that limit the run
            continue
        reach = piece.grown(margin)
        window = tissue.found.bounds_within(reach).grown(GLASS_MARGIN).intersect(reach).aligned(BLOCK_STEP)
        found.append((core, window.intersect(core.grown(margin + OUTLINE_MARGIN))))
    return found


def _steps_with_tissue(tissue: TissueMask, m_block: Box) -> NDArray[np.bool_]:
    """Return which squares of ``BLOCK_STEP`` pixels of a block hold tissue, (rows, columns)."""
    rows = np.arange(m_block.y0, m_block.y1, BLOCK_STEP, dtype=np.int64)
    columns = np.arange(m_block.x0, m_block.x1, BLOCK_STEP, dtype=np.int64)
    return tissue.found.windows_with_tissue(rows, columns, BLOCK_STEP)


def _cuts(steps: NDArray[np.bool_]) -> list[_Cut]:
    """Return the parts of a grid that hold all of its true squares, as slices of rows and columns."""
    whole = _bounds(steps)
    if whole is None:
        return []
    parts, pending = [], [whole]
    while pending:
        part = pending.pop()
        halves = _best_halves(steps, part)
        if halves is None:
            parts.append(part)
        else:
            pending += halves[::-1]
    return parts


def _best_halves(steps: NDArray[np.bool_], part: _Cut) -> tuple[_Cut, _Cut] | None:
    """Return the two parts, cropped, that a cut saves most by; None where no cut saves enough."""
    inside = steps[part]
    if inside.all():
        return None
    whole, best, place = _cost(*inside.shape) - _PIECE_PIXELS, None, (0, 0)
    for axis, grid in enumerate((inside, inside.T)):
        if len(grid) < 2:
            continue
        before, after = _costs_before(grid), _costs_before(grid[::-1])[::-1]
        together = before[:-1] + after[1:]
        line = int(together.argmin())
        if together[line] < (whole if best is None else best):
            best, place = float(together[line]), (axis, line + 1)
    if best is None:
        return None
    axis, line = place
    rows, columns = part
    if axis == 0:
        halves = ((slice(rows.start, rows.start + line), columns), (slice(rows.start + line, rows.stop), columns))
    else:
        halves = ((rows, slice(columns.start, columns.start + line)), (rows, slice(columns.start + line, columns.stop)))
    cropped = tuple(_cropped(steps, half) for half in halves)
    return cropped[0], cropped[1]


def _costs_before(grid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the cost of what the first 1, 2, ... rows of a grid hold, cropped; the first and last are not empty."""
    held = np.logical_or.accumulate(grid, axis=0)
    width = held.shape[1] - held.argmax(axis=1) - held[:, ::-1].argmax(axis=1)
    rows = np.arange(1, len(grid) + 1)
    height = np.maximum.accumulate(np.where(grid.any(axis=1), rows, 0)) - int(grid.any(axis=1).argmax())
    return _cost(height, width)


def _cost(height: int | NDArray[np.int64], width: int | NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the pixels that a part of that many steps takes, margins included."""
    tall, wide = np.asarray(height) * BLOCK_STEP, np.asarray(width) * BLOCK_STEP
    return (tall + 2.0 * _COST_MARGIN) * (wide + 2.0 * _COST_MARGIN)


def _cropped(steps: NDArray[np.bool_], part: _Cut) -> _Cut:
    bounds = _bounds(steps[part])
    if bounds is None:
        raise ValueError("a part without tissue")  # the first and last row and column of what is cut hold some
    rows, columns = bounds
    return (
        slice(part[0].start + rows.start, part[0].start + rows.stop),
        slice(part[1].start + columns.start, part[1].start + columns.stop),
    )


def _bounds(steps: NDArray[np.bool_]) -> _Cut | None:
    rows, columns = np.flatnonzero(steps.any(axis=1)), np.flatnonzero(steps.any(axis=0))
    if not len(rows):
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
