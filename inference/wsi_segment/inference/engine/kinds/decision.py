"""From the probabilities of cells to a class for each pixel.

Where a cell and its neighbours agree on the class, every convex combination of them does too, so interpolating cells on
class borders alone gives the same ids as interpolating everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Upsampling = Literal["nearest", "bilinear"]

BLOCK = 512
"""Interpolation does not cross multiples of this many mask pixels, so that no region needs its neighbours."""

_HALF = np.float32(0.5)
_CELLS_AT_ONCE = 6144
"""Border cells that are interpolated together: few MiB, and enough for the calls to cost less than what they do."""


def class_of(probabilities: NDArray[np.float32], *, lesion_first: bool = False) -> NDArray[np.uint8]:
    """Return the class ids (h, w), from 1; 0 where all probabilities are 0.

    Args:
        probabilities: (C, h, w).
        lesion_first: Whether a cell is background, class 1, where that has a half or more, and of the likeliest other
            class elsewhere. Without it, it is of the likeliest class of all, so that a lesion which may be of either of
            two kinds can come out as background. Of equals it is the first.
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
    of_border = _on_borders(ids, stride) & (ids > 0)
    # the same memory seen as [cell row, pixel row in it, cell column, pixel column in it]
    blocks = full.reshape(rows, stride, columns, stride)
    for r, c, between in _between_some(of_border, stride):
        winners = _class_between(probabilities, ids, between, lesion_first=lesion_first)
        blocks[r, :, c, :] = winners.transpose(2, 0, 1)


@dataclass(frozen=True, slots=True)
class EdgeCells:
    """Cells beside those that no window covered, whose zeros are no probabilities; many of them at a time."""

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    between: _Between
    shares: NDArray[np.float32]
    """What the probabilities at each pixel add up to, (stride, stride, n)."""

    def refine(self, full: NDArray[np.float32], plane: NDArray[np.float32]) -> None:
        """Replace the cells' pixels in a plane at full size, in place, by what they are of the probabilities there are.

        Args:
            full: (rows * stride, columns * stride), as :func:`enlarge` made it.
            plane: Its cells (rows, columns).
        """
        stride, values = len(self.shares), np.empty_like(self.shares)
        self.between(plane, values)
        values /= self.shares
        blocks = full.reshape(plane.shape[0], stride, plane.shape[1], stride)
        blocks[self.rows, :, self.columns, :] = values.transpose(2, 0, 1)


def edge_cells(covered: NDArray[np.bool_], stride: int) -> list[EdgeCells]:
    """Find the covered cells (rows, columns) that interpolate with cells that are not."""
    found, ones = [], covered.astype(np.float32)
    for rows, columns, between in _between_some(_on_borders(covered.view(np.uint8), stride) & covered, stride):
        shares = np.empty(between.shape, np.float32)
        between(ones, shares)
        found.append(EdgeCells(rows, columns, between, shares))
    return found


class _Between:
    """Interpolates planes of cells at the pixels of n of them; its arrays serve for one plane after the other."""

    def __init__(self, taps: NDArray[np.intp], weights: NDArray[np.float32]) -> None:
        """Take flat indices (3, 3, n) of the neighbourhoods' cells, and weights (stride, 3), see `_axis_kernel`."""
        self.taps, self._weights = taps, weights
        self.shape = len(weights), len(weights), taps.shape[2]
        self._around = np.empty(taps.shape, np.float32)
        self._tall = np.empty((len(weights), 3, taps.shape[2]), np.float32)

    def __call__(self, plane: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Set ``out`` (stride, stride, n) to the plane (rows, columns) at the pixels.

        Pixel by pixel the same sums, in the order of :func:`enlarge`. A matrix product is no quicker way to them: where
        OpenBLAS takes the kernels of Haswell, rows that are alike come out unlike by where they stand in it.
        """
        np.take(plane, self.taps, out=self._around, mode="clip")
        _interpolate(self._around, self._weights, self._tall)
        _interpolate(self._tall.swapaxes(0, 1), self._weights, out.swapaxes(0, 1))


def _between_some(
    chosen: NDArray[np.bool_], stride: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], _Between]]:
    """Yield rows and columns of the chosen cells (rows, columns), many at a time, and what interpolates there."""
    rows, columns = chosen.shape
    y, x = np.nonzero(chosen)
    above, below = _neighbours(rows, stride)
    left, right = _neighbours(columns, stride)
    weights = _axis_kernel(stride)
    for start in range(0, len(y), _CELLS_AT_ONCE):
        r, c = y[start : start + _CELLS_AT_ONCE], x[start : start + _CELLS_AT_ONCE]
        taps_y = np.stack([above[r], r, below[r]]) * columns
        yield r, c, _Between(taps_y[:, None] + np.stack([left[c], c, right[c]]), weights)


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
    probabilities: NDArray[np.float32], ids: NDArray[np.uint8], between: _Between, *, lesion_first: bool
) -> NDArray[np.uint8]:
    """Return the class ids (stride, stride, n), from 1, of the pixels of each of n cells, see :func:`class_of`.

    Args:
        probabilities: (C, rows, columns).
        ids: Classes of all cells (rows, columns); 0 where no window came.
        between: Interpolates at the n cells.
        lesion_first: As it was for the cells.
    """
    here, best = (np.empty(between.shape, np.float32) for _ in range(2))
    first, background = int(lesion_first), np.zeros(best.shape, bool)
    winners = np.full(best.shape, first + 1, np.uint8)
    for index, plane in enumerate(probabilities):
        between(plane, best if index == first else here)
        if index < first:
            np.greater_equal(here, _half(ids, between), out=background)
        elif index > first:
            _take_where_likelier(winners, best, here, index + 1)
    winners[background] = 1
    return winners


def _half(ids: NDArray[np.uint8], between: _Between) -> NDArray[np.float32] | np.float32:
    """Return half of what probabilities at pixels add up to: less than a half beside cells that no window covered."""
    if ids.ravel()[between.taps].all():
        return _HALF
    sums = np.empty(between.shape, np.float32)
    between((ids > 0).astype(np.float32), sums)
    sums *= _HALF
    return sums


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
