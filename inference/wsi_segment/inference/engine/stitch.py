"""From overlapping window predictions to class ids.

Probabilities are averaged with a Hann weight on the network's own output grid, one cell per output stride;
only the class ids are brought to full size. Where a cell and its neighbours agree on the class, every
convex combination of them does too, so interpolating cells on class borders alone gives the
same ids as interpolating everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wsi_segment.errors import ModelError
from wsi_segment.inference.grid.box import Box, ceil_div

Upsampling = Literal["nearest", "bilinear"]

BLOCK = 512
"""Interpolation does not cross multiples of this many mask pixels, so that no region needs its neighbours."""

_HALF = np.float32(0.5)
_CELLS_AT_ONCE = 6144
"""Border cells that are interpolated together: 3 MiB, and enough for the calls to cost less than what they do."""


def softmax(logits: NDArray[np.float32], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Turn logits (B, C, h, w) into probabilities of that shape.

    Args:
        logits: As the network gave them.
        out: Array of that shape to use, so that no memory is mapped for each batch; may be ``logits``.

    Raises:
        ModelError: some are not numbers or infinite, of which the first class would come out without a word.
    """
    with np.errstate(invalid="ignore"):
        shifted: NDArray[np.float32] = np.subtract(logits, logits.max(axis=1, keepdims=True), out=out)
    np.exp(shifted, out=shifted)
    total = shifted.sum(axis=1, keepdims=True)
    if not np.isfinite(total).all():
        raise ModelError(
            "the network gives values that are not numbers (NaN), as where it divides by the spread of a window of one "
            "colour, or float16 overflows; export it so that it gives numbers for every window, in float32"
        )
    shifted /= total
    return shifted


def window_weight(cells: int) -> NDArray[np.float32]:
    """Return the Hann weight (cells, cells) of an overlapping window's output.

    It is taken at cell centres, where it is positive; with half overlap the sum is constant.
    """
    profile = np.sin(np.pi * (np.arange(cells) + 0.5) / cells) ** 2
    return np.outer(profile, profile).astype(np.float32)


class RegionStitcher:
    """Accumulates the windows of one region. They must come in lattice order.

    Memory bound:
        (classes + 1) x 4 bytes per cell of the region, sums and averages alike; class ids once more at full size.
        Windows come in lattice order, so the order of every cell's additions, and with it the last bit of
        its sum, is the same for all regions.
    """

    def __init__(
        self,
        m_region: Box,
        classes: int,
        output_stride: int,
        weight: NDArray[np.float32] | None = None,
        *,
        lesion_first: bool = False,
    ) -> None:
        """Stitch ``m_region``; where cells are to be interpolated it must start on a whole one.

        Without a weight all cells of a core count the same, as where cores lie side by side. See :func:`class_of` for
        ``lesion_first``.
        """
        self._region, self._stride, self._weight, self._lesion_first = m_region, output_stride, weight, lesion_first
        self._row, self._column = m_region.y0 // output_stride, m_region.x0 // output_stride
        rows = ceil_div(m_region.y1, output_stride) - self._row
        columns = ceil_div(m_region.x1, output_stride) - self._column
        self._sums = np.zeros((classes, rows, columns), np.float32)
        self._weights = np.zeros((rows, columns), np.float32)

    def add(self, m_core: Box, probabilities: NDArray[np.float32]) -> None:
        """Add the probabilities (C, h, w) of one window's core; the part outside the region is left out.

        Args:
            m_core: Starts on a whole cell of the mask; only its corner counts.
            probabilities: One cell per output stride; of the weight's shape, where there is one.
        """
        y = m_core.y0 // self._stride - self._row
        x = m_core.x0 // self._stride - self._column
        rows, columns = self._weights.shape
        height, width = probabilities.shape[1:]
        src_rows = slice(max(0, -y), min(height, rows - y))
        src_columns = slice(max(0, -x), min(width, columns - x))
        dst_rows = slice(max(0, y), min(rows, y + height))
        dst_columns = slice(max(0, x), min(columns, x + width))
        weight = np.float32(1) if self._weight is None else self._weight[src_rows, src_columns]
        self._sums[:, dst_rows, dst_columns] += probabilities[:, src_rows, src_columns] * weight
        self._weights[dst_rows, dst_columns] += weight

    def probabilities(self) -> NDArray[np.float32]:
        """Average all windows (C, rows, columns), one cell per output stride; all 0 where no window came.

        The sums become the averages where they are, and no window may be added afterwards.
        """
        covered = np.broadcast_to(self._weights > 0, self._sums.shape)
        np.divide(self._sums, self._weights, out=self._sums, where=covered)
        np.sign(self._weights, out=self._weights)  # averages divided again stay as they are
        return self._sums

    def probability_planes(self, upsampling: Upsampling) -> Iterator[NDArray[np.uint8]]:
        """Yield probability * 255 of each class, (height, width), in card order; one plane at a time."""
        for plane in self.probabilities():
            full = enlarge(plane, self._stride, upsampling)[self._inside]
            yield np.rint(full * np.float32(255)).astype(np.uint8)

    def class_ids(self, upsampling: Upsampling) -> NDArray[np.uint8]:
        """Return class ids (height, width) from 1 at full size; 0 where no window came."""
        probabilities = self.probabilities()
        ids = class_of(probabilities, lesion_first=self._lesion_first)
        full = ids.repeat(self._stride, axis=0).repeat(self._stride, axis=1)
        if upsampling == "bilinear" and self._stride > 1:
            refine_borders(full, probabilities, ids, self._stride, lesion_first=self._lesion_first)
        return full[self._inside]

    @property
    def _inside(self) -> tuple[slice, slice]:
        """The region's rows and columns among the pixels of its cells."""
        y, x = self._region.y0 - self._row * self._stride, self._region.x0 - self._column * self._stride
        return slice(y, y + self._region.height), slice(x, x + self._region.width)


def class_of(probabilities: NDArray[np.float32], *, lesion_first: bool = False) -> NDArray[np.uint8]:
    """Return the ids of the likeliest class (first of equals), from 1; 0 where all are 0.

    Args:
        probabilities: (C, h, w).
        lesion_first: Whether to ask first if it is the background, class 1, which has a half or more of the
            probability then, and only of the rest which kind is the likeliest. Otherwise a lesion of which two kinds
            are about as likely would be background.
    """
    first = int(lesion_first)
    best = probabilities[first].copy()
    ids = np.full(best.shape, first + 1, np.uint8)
    for index, plane in enumerate(probabilities[first + 1 :], start=first + 2):
        _take_where_likelier(ids, best, plane, index)
    ids[best == 0] = 0
    if lesion_first:
        ids[probabilities[0] >= _HALF] = 1
    return ids


def _take_where_likelier(
    ids: NDArray[np.uint8], best: NDArray[np.float32], here: NDArray[np.float32], index: int
) -> None:
    """Set ``ids`` to ``index``, and ``best`` to ``here``, where ``here`` is larger.

    Indices must rise from call to call. Comparing class after class runs several times faster than argmax, which walks
    through memory in strides; so does the larger of two ids than an assignment under a mask.
    """
    np.maximum(ids, (here > best).view(np.uint8) * np.uint8(index), out=ids)
    np.maximum(best, here, out=best)


def enlarge(plane: NDArray[np.float32], stride: int, upsampling: Upsampling) -> NDArray[np.float32]:
    """Bring a plane (rows, columns) to full size (rows * stride, columns * stride)."""
    if upsampling == "nearest" or stride == 1:
        return plane.repeat(stride, axis=0).repeat(stride, axis=1)
    tall = _enlarge_rows(plane, stride)
    return np.ascontiguousarray(_enlarge_rows(np.ascontiguousarray(tall.T), stride).T)


def _enlarge_rows(plane: NDArray[np.float32], stride: int) -> NDArray[np.float32]:
    before, after = _neighbours(plane.shape[0], stride)
    out = np.empty((plane.shape[0], stride, plane.shape[1]), np.float32)
    _interpolate((plane[before], plane, plane[after]), _axis_kernel(stride), out.swapaxes(0, 1))
    return out.reshape(plane.shape[0] * stride, plane.shape[1])


def refine_borders(
    full: NDArray[np.uint8],
    probabilities: NDArray[np.float32],
    ids: NDArray[np.uint8],
    stride: int,
    *,
    lesion_first: bool = False,
) -> None:
    """Replace the pixels of cells on class borders by those of bilinear interpolation, in place.

    A pixel lies between the centres of its own cell (o) and of those around it, and is a convex combination of
    their probabilities. If all nine agree on the class, so does every combination, and the cell stays as it is::

        a   b   c        stride 4: a pixel in the upper left quarter of o takes from a, b, d and o only,
        d   o   f        with weights that fall off linearly with the distance of the centres
        g   h   i

    Args:
        full: Class ids at full size (rows * stride, columns * stride), filled cell by cell before.
        probabilities: (C, rows, columns).
        ids: Class of each cell (rows, columns), see :func:`class_of`.
        stride: Pixels per cell.
        lesion_first: As it was for ``ids``.
    """
    rows, columns = ids.shape
    # cells that no window covered stay 0; beside them their zeros scale all probabilities alike
    y, x = np.nonzero(_on_borders(ids, stride) & (ids > 0))
    above, below = _neighbours(rows, stride)
    left, right = _neighbours(columns, stride)
    # the same memory seen as [cell row, pixel row in it, cell column, pixel column in it]
    blocks = full.reshape(rows, stride, columns, stride)
    weights = _axis_kernel(stride)
    for start in range(0, len(y), _CELLS_AT_ONCE):
        r, c = y[start : start + _CELLS_AT_ONCE], x[start : start + _CELLS_AT_ONCE]
        taps_y = np.stack([above[r], r, below[r]]) * columns
        taps = taps_y[:, None] + np.stack([left[c], c, right[c]])
        if lesion_first:  # a half is a half of something: the cell itself stands for those that were not covered
            taps = np.where(ids.ravel()[taps] > 0, taps, taps[1, 1])
        winners = _class_between(probabilities, taps, weights, lesion_first=lesion_first)
        blocks[r, :, c, :] = winners.transpose(2, 0, 1)


def _on_borders(ids: NDArray[np.uint8], stride: int) -> NDArray[np.bool_]:
    """Tell which cells (rows, columns) have a neighbour of another class, corners included, in the same block."""
    mixed = np.empty(ids.shape, bool)
    for rows in _blocks(ids.shape[0], stride):
        for columns in _blocks(ids.shape[1], stride):
            block = np.pad(ids[rows, columns], 1, mode="edge")
            lowest, highest = _of_neighbours(block, np.minimum), _of_neighbours(block, np.maximum)
            mixed[rows, columns] = lowest != highest
    return mixed


def _of_neighbours(padded: NDArray[np.uint8], extreme: np.ufunc) -> NDArray[np.uint8]:
    """Return the extreme of each 3 x 3 neighbourhood; ``padded`` is one cell larger on every side."""
    tall = extreme(extreme(padded[:-2], padded[1:-1]), padded[2:])
    found: NDArray[np.uint8] = extreme(extreme(tall[:, :-2], tall[:, 1:-1]), tall[:, 2:])
    return found


def _blocks(count: int, stride: int) -> Iterator[slice]:
    """Yield the cells along an axis that interpolate among themselves."""
    block = np.arange(count) * stride // BLOCK
    for index in range(int(block[-1]) + 1):
        yield slice(*np.searchsorted(block, (index, index + 1)))


def _class_between(
    probabilities: NDArray[np.float32], taps: NDArray[np.intp], weights: NDArray[np.float32], *, lesion_first: bool
) -> NDArray[np.uint8]:
    """Return the class ids (stride, stride, n), from 1, of the pixels of each of n cells, see :func:`class_of`.

    Pixel by pixel the same sums, in the order of :func:`enlarge`. A matrix product is no quicker way to them: where
    OpenBLAS takes the kernels of Haswell, rows that are alike come out unlike by where they stand in it.

    Args:
        probabilities: (C, rows, columns).
        taps: Flat indices (3, 3, n) of the neighbourhoods' cells.
        weights: (stride, 3), see :func:`_axis_kernel`.
        lesion_first: As it was for the cells.
    """
    stride, count = len(weights), taps.shape[2]
    around, tall = np.empty(taps.shape, np.float32), np.empty((stride, 3, count), np.float32)
    here, best = (np.empty((stride, stride, count), np.float32) for _ in range(2))
    first, background = int(lesion_first), np.zeros(best.shape, bool)
    winners = np.full(best.shape, first + 1, np.uint8)
    for index, plane in enumerate(probabilities):
        np.take(plane, taps, out=around, mode="clip")
        _interpolate(around, weights, tall)
        _interpolate(tall.swapaxes(0, 1), weights, (best if index == first else here).swapaxes(0, 1))
        if index < first:
            np.greater_equal(here, _HALF, out=background)
        elif index > first:
            _take_where_likelier(winners, best, here, index + 1)
    winners[background] = 1
    return winners


def _interpolate(
    cells: NDArray[np.float32] | Sequence[NDArray[np.float32]], weights: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    """Bring cells before, here and after (3, ...) to the pixels (stride, ...) of the middle one."""
    for pixel, (w_before, w_here, w_after) in zip(out, weights, strict=True):
        # the middle of a cell leans to one side only
        other, w_other = (cells[0], w_before) if w_before else (cells[2], w_after)
        np.multiply(cells[1], w_here, out=pixel)
        pixel += other * w_other


def _neighbours(count: int, stride: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the index of the cell before and after each; its own at the borders of blocks."""
    index = np.arange(count)
    block = index * stride // BLOCK
    before, after = np.maximum(index - 1, 0), np.minimum(index + 1, count - 1)
    return np.where(block[before] == block, before, index), np.where(block[after] == block, after, index)


def _axis_kernel(stride: int) -> NDArray[np.float32]:
    """Return the weights (stride, 3) of a cell's pixels over the cells before, here and after; centres aligned."""
    offset = (np.arange(stride) + 0.5) / stride - 0.5
    return np.stack([np.maximum(-offset, 0), 1 - np.abs(offset), np.maximum(offset, 0)], axis=1).astype(np.float32)
