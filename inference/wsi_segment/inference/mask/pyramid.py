"""Coarser levels: of a class map the commonest class of each 2 x 2 pixels, of a probability their mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from wsi_segment.inference.grid.box import ceil_div

SMALLEST = 512
"""The coarsest level is the first whose longer side is at most this."""
_ROWS = 256
"""Rows of the coarser level that are made at once."""


def level_shapes(height: int, width: int) -> tuple[tuple[int, int], ...]:
    """Return (height, width) of every level, from full size down; halves are rounded up.

    >>> level_shapes(1001, 2000)
    ((1001, 2000), (501, 1000), (251, 500))
    """
    shapes = [(height, width)]
    while max(shapes[-1]) > SMALLEST:
        shapes.append((ceil_div(shapes[-1][0], 2), ceil_div(shapes[-1][1], 2)))
    return tuple(shapes)


def mode_of_2x2(ids: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the mode of each 2 x 2 pixels; of equally common ids the first in reading order.

    >>> mode_of_2x2(np.array([[1, 2, 3], [2, 1, 3]], np.uint8)).tolist()
    [[1, 3]]

    Args:
        ids: (h, w). An odd last row or column counts twice.

    Returns:
        (ceil(h / 2), ceil(w / 2)).
    """
    return _halved(ids, _mode)


def mean_of_2x2(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the mean of each 2 x 2 pixels, rounded; shapes as in :func:`mode_of_2x2`."""
    return _halved(values, _mean)


def _halved(plane: NDArray[np.uint8], of_corners: Callable[..., NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return one value for each 2 x 2 pixels, some rows at a time: the corners are copies."""
    out = np.empty((ceil_div(plane.shape[0], 2), ceil_div(plane.shape[1], 2)), np.uint8)
    for top in range(0, plane.shape[0], 2 * _ROWS):
        out[top // 2 : top // 2 + _ROWS] = of_corners(*_corners(plane[top : top + 2 * _ROWS]))
    return out


def _mode(a: NDArray[np.uint8], b: NDArray[np.uint8], c: NDArray[np.uint8], d: NDArray[np.uint8]) -> NDArray[np.uint8]:
    lonely = (a != b) & (a != c) & (a != d)
    out = np.where(lonely & ((b == c) | (b == d)), b, a)
    return np.where(lonely & (c == d), c, out)


def _mean(*corners: NDArray[np.uint8]) -> NDArray[np.uint8]:
    total = np.full(corners[0].shape, 2, np.uint16)
    for corner in corners:
        total += corner
    return (total // 4).astype(np.uint8)


def _corners(plane: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Return the four pixels of all 2 x 2 blocks, in reading order.

    Contiguous copies: comparing strided views is several times slower.
    """
    height, width = plane.shape
    if height % 2 or width % 2:
        plane = np.pad(plane, ((0, height % 2), (0, width % 2)), mode="edge")
    return [np.ascontiguousarray(plane[y::2, x::2]) for y in (0, 1) for x in (0, 1)]
