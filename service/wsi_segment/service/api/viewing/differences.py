"""How two masks of one slide differ."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.mask.mask import Mask

_MOST_PIXELS = 16_000_000
"""Most pixels of the level that is compared."""
_BAND = 256
"""Rows that are read at once."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Tissue that one mask says is one class, and the other mask another."""

    first: str
    second: str
    area_mm2: float


@dataclass(frozen=True, slots=True)
class Differences:
    """How two masks differ, on one level."""

    downsample: float
    """Level-0 pixels per pixel of that level."""
    compared_mm2: float
    """Tissue that both masks have a class for."""
    differing_mm2: float
    """Part of it where the classes have different names."""
    only_one_mm2: float
    """Tissue that one mask has a class for, and the other has not."""
    pairs: tuple[Pair, ...]
    """The largest first."""


@lru_cache(maxsize=64)
def differences(first: Path, second: Path, state: tuple[str, str]) -> Differences:
    """Compare two masks of one slide, pixel by pixel of the finest level of the first that is not too large.

    Args:
        first: A finished mask, whose pixels count.
        second: Another; its pixel under the middle of each pixel of the first is taken.
        state: Changes when one of the stores does, so that answers are kept for those that did not.

    Memory bound:
        256 rows of a level of at most 16 million pixels, of both masks.
    """
    one, other = Mask.open(first), Mask.open(second)
    level = next((z for z, size in enumerate(one.levels) if size.width * size.height <= _MOST_PIXELS), -1)
    level %= len(one.levels)
    size = one.levels[level]
    across = _places(size.width, size.downsample, one.origin[0])
    counts = np.zeros((len(one.classes), len(other.classes)), np.int64)
    for top in range(0, size.height, _BAND):
        bottom = min(size.height, top + _BAND)
        down = _places(size.height, size.downsample, one.origin[1])[top:bottom]
        ids = one.read(level, Box(0, top, size.width, bottom))
        beside = _read_at(other, across, down, size.downsample)
        joint = ids.astype(np.int64) * len(other.classes) + beside
        counts += np.bincount(joint.ravel(), minlength=counts.size).reshape(counts.shape)
    return _told(one, other, counts, level)


def _places(count: int, downsample: float, origin: float) -> NDArray[np.float64]:
    """Return the middles of pixels along an axis, in level-0 pixels of the slide."""
    return np.asarray(origin + (np.arange(count) + 0.5) * downsample, np.float64)


def _read_at(
    mask: Mask, across: NDArray[np.float64], down: NDArray[np.float64], downsample: float
) -> NDArray[np.uint8]:
    """Return the class ids of a mask under points of a grid (rows, columns); 0 outside of it."""
    found = np.zeros((len(down), len(across)), np.uint8)
    level = max(z for z, size in enumerate(mask.levels) if z == 0 or size.downsample <= downsample * 1.01)
    size = mask.levels[level]
    columns = np.floor((across - mask.origin[0]) / size.downsample).astype(int)
    rows = np.floor((down - mask.origin[1]) / size.downsample).astype(int)
    inside_x, inside_y = (columns >= 0) & (columns < size.width), (rows >= 0) & (rows < size.height)
    if not inside_x.any() or not inside_y.any():
        return found
    columns, rows = columns[inside_x], rows[inside_y]
    x0, y0 = int(columns[0]), int(rows[0])
    ids = mask.read(level, Box(x0, y0, int(columns[-1]) + 1, int(rows[-1]) + 1))
    found[np.ix_(inside_y, inside_x)] = ids[np.ix_(rows - y0, columns - x0)]
    return found


def _told(one: Mask, other: Mask, counts: NDArray[np.int64], level: int) -> Differences:
    each = one.pixel_size.x * one.pixel_size.y * one.levels[level].downsample ** 2 / 1e6
    pairs = [
        Pair(a.name, second=b.name, area_mm2=float(counts[a.id, b.id] * each))
        for a in one.classes[1:]
        for b in other.classes[1:]
        if a.name != b.name and counts[a.id, b.id]
    ]
    return Differences(
        downsample=one.levels[level].downsample,
        compared_mm2=float(counts[1:, 1:].sum() * each),
        differing_mm2=sum(pair.area_mm2 for pair in pairs),
        only_one_mm2=float((counts[0, 1:].sum() + counts[1:, 0].sum()) * each),
        pairs=tuple(sorted(pairs, key=lambda pair: -pair.area_mm2)),
    )
