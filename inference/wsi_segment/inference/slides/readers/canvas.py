"""What every reader needs: the part of a request that exists, laid on white."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.slides.slide import Level

WHITE = 255


def read_on_white(l_box: Box, level: Level, read: Callable[[Box], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return RGB (height, width, 3) of ``l_box``: what ``read`` gives for its part in the level, white elsewhere."""
    inside = l_box.intersect(Box(0, 0, level.width, level.height))
    return on_white(l_box, inside, None if inside.empty else read(inside))


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
    canvas = np.full((l_box.height, l_box.width, 3), WHITE, np.uint8)
    if pixels is not None:
        dst_rows = slice(inside.y0 - l_box.y0, inside.y1 - l_box.y0)
        dst_columns = slice(inside.x0 - l_box.x0, inside.x1 - l_box.x0)
        canvas[dst_rows, dst_columns] = pixels
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
