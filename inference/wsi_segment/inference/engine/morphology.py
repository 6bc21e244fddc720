"""Smoothing, growing and pieces of a coarse picture, in numpy alone.

scipy.ndimage gives the same to the bit, and takes longer to load than a small slide takes to read.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GAUSSIAN_REACH = 4
"""Pixels on each side that :func:`smoothed` sees."""

_STEPS = ((0, 1), (0, -1), (1, 0), (-1, 0))


def smoothed(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Smooth a picture (h, w, channels) by a Gaussian with a standard deviation of one pixel, mirrored at its edges."""
    profile = np.exp(-0.5 * np.arange(-GAUSSIAN_REACH, GAUSSIAN_REACH + 1) ** 2)
    profile /= profile.sum()
    result = picture.astype(np.float32)
    for axis in (0, 1):
        count, across = result.shape[axis], [(0, 0)] * 3
        across[axis] = (GAUSSIAN_REACH, GAUSSIAN_REACH)
        wide = np.moveaxis(np.pad(result, across, mode="symmetric"), axis, 0)
        total = wide[GAUSSIAN_REACH : GAUSSIAN_REACH + count] * np.float64(profile[GAUSSIAN_REACH])
        for reach in range(GAUSSIAN_REACH, 0, -1):
            before = wide[GAUSSIAN_REACH - reach :][:count].astype(np.float64)
            before += wide[GAUSSIAN_REACH + reach :][:count]
            before *= profile[GAUSSIAN_REACH - reach]
            total += before
        result = np.moveaxis(total.astype(np.float32), 0, axis)
    return result


def grown(mask: NDArray[np.bool_], times: int = 1) -> NDArray[np.bool_]:
    """Return the mask (h, w) grown by a pixel to the left, right, top and bottom, several times."""
    for _ in range(times):
        larger = mask.copy()
        larger[1:] |= mask[:-1]
        larger[:-1] |= mask[1:]
        larger[:, 1:] |= mask[:, :-1]
        larger[:, :-1] |= mask[:, 1:]
        mask = larger
    return mask


def grown_square(mask: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Return which pixels (h, w) have one of the mask within ``reach`` rows and columns."""
    for _ in range(2):
        padded = np.pad(mask, ((reach + 1, reach), (0, 0))).cumsum(axis=0, dtype=np.int32)
        mask = (padded[2 * reach + 1 :] > padded[: -2 * reach - 1]).T
    return mask


def shrunk(mask: NDArray[np.bool_], times: int = 1) -> NDArray[np.bool_]:
    """Return the mask (h, w) without the pixels at its border, several times; beyond the picture there is nothing."""
    padded = np.pad(mask, times)
    inside: NDArray[np.bool_] = ~grown(~padded, times)[times:-times, times:-times]
    return inside


def without_small(mask: NDArray[np.bool_], smallest: float) -> NDArray[np.bool_]:
    """Return the mask (h, w) without its pieces of fewer pixels than ``smallest``.

    Pixels that share a side are of one piece. Runs of pixels along rows are joined to those that they touch in the
    next row; each takes the smallest number among its neighbours, and that one's own, until nothing changes.

    Memory bound:
        Some 60 bytes per run, of which there is at most one for every two pixels.
    """
    height, width = mask.shape
    step = width + 1  # an empty column keeps runs within their rows
    flat = np.zeros((height, step), np.int8)
    flat[:, :width] = mask
    change = np.diff(flat.ravel(), prepend=np.int8(0), append=np.int8(0))
    starts, ends = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
    if not len(starts):
        return mask.copy()
    first = np.searchsorted(ends, starts + step, side="right")
    below = np.searchsorted(starts, ends + step, side="left") - first
    upper = np.repeat(np.arange(len(starts)), below)
    lower = np.arange(len(upper)) + np.repeat(first - (np.cumsum(below) - below), below)
    piece = _pieces(len(starts), upper, lower)
    areas = np.bincount(piece, weights=ends - starts)
    small = areas[piece] < smallest
    change[starts[small]] = change[ends[small]] = 0
    kept: NDArray[np.bool_] = np.cumsum(change[:-1], dtype=np.int8).reshape(height, step)[:, :width].astype(bool)
    return kept


def _pieces(count: int, upper: NDArray[np.intp], lower: NDArray[np.intp]) -> NDArray[np.intp]:
    """Give each of ``count`` nodes of a graph the number of the first node of its connected part."""
    piece = np.arange(count)
    while len(upper):
        a, b = piece[upper], piece[lower]
        apart = a != b
        if not apart.any():
            break
        np.minimum.at(piece, np.maximum(a, b)[apart], np.minimum(a, b)[apart])
        while not np.array_equal(nearer := piece[piece], piece):  # halves the way to the first node
            piece = nearer
    return piece
