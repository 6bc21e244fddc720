"""What a mask shows on a screen, pixel by pixel: computed from the store, and as a browser painted it."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from browser import Watched
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.mask.mask import Mask

Pixels = NDArray[np.uint8]


def painted(watched: Watched, canvas: str = ".mask-layer") -> Pixels:
    """Return the pixels of a canvas of the page (height, width, RGBA)."""
    content = watched.run("(path) => document.querySelector(path).toDataURL('image/png')", canvas)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content.partition(",")[2]))).convert("RGBA"))


def class_ids(mask: Mask, shape: tuple[int, int], at: tuple[float, float], scale: float) -> Pixels:
    """Return the class ids (height, width) under the pixels of a screen; 0 outside of the mask.

    Args:
        mask: A finished mask.
        shape: Height and width of the screen.
        at: Level-0 pixels of its middle.
        scale: Level-0 pixels per pixel of the screen.
    """
    height, width = shape
    xs = at[0] + (np.arange(width) + 0.5 - width / 2) * scale
    ys = at[1] + (np.arange(height) + 0.5 - height / 2) * scale
    level = max(0, int(np.floor(np.log2(scale / mask.levels[0].downsample) + 0.01)))
    size = mask.levels[level]
    ids = mask.read(level, Box(0, 0, size.width, size.height))
    columns = np.floor((xs - mask.origin[0]) / size.downsample).astype(int)
    rows = np.floor((ys - mask.origin[1]) / size.downsample).astype(int)
    inside_y, inside_x = (rows >= 0) & (rows < size.height), (columns >= 0) & (columns < size.width)
    found = np.zeros(shape, np.uint8)
    found[np.ix_(inside_y, inside_x)] = ids[np.ix_(rows[inside_y], columns[inside_x])]
    return found


def class_colors(mask: Mask, ids: Pixels) -> Pixels:
    """Return the colours (height, width, RGBA) of class ids by the model's card; nothing where there is no class."""
    colors = np.array([(*entry.color, 255 if entry.id else 0) for entry in mask.classes], np.uint8)
    colors[0] = 0
    return colors[ids]


def differ_at_borders_alone(shown: Pixels, wanted: Pixels) -> bool:
    """Tell whether pixels are those wanted; a border may lie one pixel beside where an exact ruler puts it."""
    near = np.zeros(shown.shape[:2], bool)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            near |= (shown == np.roll(wanted, (dy, dx), (0, 1))).all(axis=2)
    return bool(near[2:-2, 2:-2].all())
