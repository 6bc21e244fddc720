"""Where to look next: the fields of a slide of whose classes the model is least sure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.mask.mask import Mask
from wsi_segment.inference.mask.probabilities import Probabilities

FIELD = 256
"""Side of a field in pixels of the finest mask level; larger where only coarser levels are read."""
_MOST_PIXELS = 4_000_000
"""Most pixels of the level that is read."""
_FEWEST = 8
"""Pixels along the side of a field."""
_LEAST_TISSUE = 0.25
"""Share of a field."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class UncertainField:
    """A square of a slide."""

    box: tuple[float, float, float, float]
    """x0, y0, x1, y1 in level-0 pixels from the corner of the slide's bounds."""
    uncertainty: float
    """Mean entropy of the class probabilities over its tissue: 0 (sure) to 1 (all classes alike)."""


@lru_cache(maxsize=64)
def uncertain_fields(store: Path, state: str) -> tuple[UncertainField, ...] | None:
    """Return all fields with tissue, the least certain first; None where the mask keeps no probabilities.

    Args:
        store: A finished mask.
        state: Changes when the store does, so that answers are kept for one that did not.

    Memory bound:
        A row of fields of one level of at most 4 million pixels, as float64, for one class more than the mask has.
    """
    mask, planes = Mask.open(store), Probabilities.open(store)
    if planes is None:
        return None
    level = next((z for z, one in enumerate(mask.levels) if one.width * one.height <= _MOST_PIXELS), -1)
    level %= len(mask.levels)
    side = max(_FEWEST, FIELD >> level)
    size = mask.levels[level]
    found: list[UncertainField] = []
    for top in range(0, size.height, side):
        band = Box(0, top, size.width, min(size.height, top + side))
        tissue = mask.read(level, band) > 0
        if not tissue.any():
            continue
        shares = np.stack([planes.read(level, entry.id, band) for entry in mask.classes if entry.id])
        covered = _by_field(tissue.astype(np.float64), side)
        sums = _by_field(np.where(tissue, entropy(shares), 0.0), side)
        found += [
            UncertainField(
                _placed(mask, level, int(column) * side, top=top, side=side), float(sums[column] / covered[column])
            )
            for column in np.flatnonzero(covered >= _LEAST_TISSUE * side * side)
        ]
    return tuple(sorted(found, key=lambda one: -one.uncertainty))


def entropy(shares: NDArray[np.uint8]) -> Floats:
    """Return the entropy of class probabilities, by that of equal ones: 0 to 1 (height, width).

    Args:
        shares: Probability * 255 (classes, height, width); with one class, of it against all else.
    """
    planes = shares.astype(np.float64)
    if len(planes) == 1:
        planes = np.concatenate([planes, 255 - planes])
    total = planes.sum(axis=0)
    planes /= np.where(total > 0, total, 1)
    logs = np.log(planes, out=np.zeros_like(planes), where=planes > 0)
    found: Floats = -(planes * logs).sum(axis=0) / np.log(len(planes))
    return found


def _by_field(values: Floats, side: int) -> Floats:
    """Return sums over squares of a band (height, width) that is at most one square high."""
    starts = np.arange(0, values.shape[1], side)
    return np.asarray(np.add.reduceat(values.sum(axis=0), starts), np.float64)


def _placed(mask: Mask, level: int, left: int, *, top: int, side: int) -> tuple[float, float, float, float]:
    size = mask.levels[level]
    x0, y0 = mask.origin[0] - mask.bounds.x0, mask.origin[1] - mask.bounds.y0
    right, bottom = min(size.width, left + side), min(size.height, top + side)
    step = size.downsample
    return (x0 + left * step, y0 + top * step, x0 + right * step, y0 + bottom * step)
