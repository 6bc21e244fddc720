"""Mosaics: two tiles of one class each become a segmentation tile whose border is known for nothing."""

from __future__ import annotations

import math

import numpy as np

from wsi_segment.model.card import WINDOW
from wsi_segment.model.data.patches import Pixels


def mosaic(tiles: tuple[Pixels, Pixels], labels: tuple[int, int], rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """Join two tiles along a random straight line through the middle half.

    Args:
        tiles: RGB (128, 128, 3) each.
        labels: Class id of each.
        rng: Source of all randomness.

    Returns:
        RGB (128, 128, 3) and class ids (128, 128), uint8.
    """
    angle = rng.uniform(0, 2 * math.pi)
    y0, x0 = rng.uniform(WINDOW / 4, 3 * WINDOW / 4, size=2)
    y, x = np.mgrid[:WINDOW, :WINDOW]
    side = (y - y0) * math.sin(angle) + (x - x0) * math.cos(angle) > 0
    pixels = np.where(side[..., None], tiles[1], tiles[0])
    return pixels, np.where(side, np.uint8(labels[1]), np.uint8(labels[0]))
