"""What every reader needs: the part of a request that exists, laid on white."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi_segment.inference.grid.box import Box, ceil_div
from wsi_segment.inference.slides.slide import Level

WHITE = 255
HIDDEN = 1
"""Largest alpha of a picture that shows nothing, as programs write it that do not use alpha, or mean 1 by opaque."""
HIDDEN_BY_ALPHA = "its alpha channel hides all of it (none above 1 of 255); write it without alpha"


def read_on_white(l_box: Box, level: Level, read: Callable[[Box], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return RGB (height, width, 3) of ``l_box``: what ``read`` gives for its part in the level, white elsewhere."""
    inside = l_box.intersect(Box(0, 0, level.width, level.height))
    return on_white(l_box, inside, None if inside.empty else read(inside))


@dataclass(frozen=True, slots=True)
class TilePart:
    """What a tile holds of a box, as indices of rows and columns."""

    row: int
    """Row of the tile in its grid."""
    column: int
    into: tuple[slice, slice]
    """Place of the part in the box."""
    cut: tuple[slice, slice]
    """Place of the part in the tile."""


def tile_parts(inside: Box, side_x: int, side_y: int) -> Iterator[TilePart]:
    """Yield the tiles of a grid that a box touches, row by row, with what each holds of the box.

    >>> next(tile_parts(Box(5, 0, 9, 4), side_x=8, side_y=8))
    TilePart(row=0, column=0, into=(slice(0, 4, None), slice(0, 3, None)), cut=(slice(0, 4, None), slice(5, 8, None)))
    """
    for row in range(inside.y0 // side_y, ceil_div(inside.y1, side_y)):
        for column in range(inside.x0 // side_x, ceil_div(inside.x1, side_x)):
            x, y = column * side_x, row * side_y
            part = Box(x, y, x + side_x, y + side_y).intersect(inside)
            yield TilePart(row, column, into=_slices(part, inside.x0, inside.y0), cut=_slices(part, x, y))


def _slices(part: Box, x: int, y: int) -> tuple[slice, slice]:
    return slice(part.y0 - y, part.y1 - y), slice(part.x0 - x, part.x1 - x)


def exact_downsample(stated: float, level_width: int) -> float:
    """Return the whole number that a stated downsample means, if rounding of the level's size explains the rest.

    >>> exact_downsample(46000 / 11499, 11499), exact_downsample(4.2, 1000)
    (4.0, 4.2)

    Libraries divide sizes that vendors rounded: 46000 / 11499 says 4.0003 and means 4.
    """
    nearest = round(stated)
    return float(nearest) if nearest and abs(stated - nearest) * level_width <= 1.5 * nearest else stated


def on_white(l_box: Box, inside: Box, pixels: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """Return RGB (height, width, 3) of ``l_box``: ``pixels`` where they were read, white elsewhere.

    Args:
        l_box: What was asked for.
        inside: The part of it that ``pixels`` holds.
        pixels: RGB or RGBA (inside.height, inside.width, 3 or 4), straight alpha; None if that part is empty.
    """
    if pixels is not None and pixels.shape[2] == 4:
        pixels = _composited(pixels)
    if pixels is not None and inside == l_box:
        return pixels
    canvas = np.full((max(0, l_box.height), max(0, l_box.width), 3), WHITE, np.uint8)
    if pixels is not None:
        canvas[_slices(inside, l_box.x0, l_box.y0)] = pixels
    return canvas


def _composited(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay RGBA on white; where nothing was scanned alpha is 0 and the colour is black."""
    alpha = pixels[..., 3:]
    if alpha.min() == WHITE:
        return np.ascontiguousarray(pixels[..., :3])
    out = np.empty((*pixels.shape[:2], 3), np.uint8)
    for row in range(0, len(pixels), 64):  # strips bound what the wide integers take
        part, a = pixels[row : row + 64, :, :3], alpha[row : row + 64].astype(np.uint16)
        out[row : row + 64] = (part * a + WHITE * (WHITE - a) + WHITE // 2) // WHITE
    return out
