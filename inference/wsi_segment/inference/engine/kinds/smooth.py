"""Decide the kind of a lesion from more than one cell; where the lesion ends stays as the network gave it.

A field of one cell shows little of what tells kinds apart, so the network's kinds change within a gland where nothing
does. P(background) stays, and the shares of the other classes are averaged by a Gaussian weighted with P(lesion)::

    P'(k) = P(lesion) * G * P(k) / (G * P(lesion))        k = 2, ..., C;  P(lesion) = sum of P(k)

Whether a pixel is lesion is decided before its kind is, by P(background) alone: no outline depends on how kinds divide
what is lesion, nor on the radius.

The first class is the background, as in all scores here. Of two lesions side by side each keeps its kind but for a seam
narrower than the radius: across it, the average leans to the side that has more lesion nearby.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_segment.inference.grid.box import ceil_div
from wsi_segment.model.card import ModelCard

HALO_RADII = 2
"""Radii after which the Gaussian is cut off."""
_LEAST_CLASSES = 3
"""With fewer there is one kind of lesion, and nothing to average."""


def radius_of(card: ModelCard) -> float:
    """Return the standard deviation of a model's smoothing, in mask pixels; 0 for none."""
    return (card.smoothing_um or 0.0) / card.mpp if len(card.classes) >= _LEAST_CLASSES else 0.0


def decision_of(card: ModelCard) -> dict[str, Any]:
    """Return the parameters of a run that say how its classes are decided; none for the likeliest of all classes."""
    return {"smoothing_um": card.smoothing_um, "decision": "lesion first"} if radius_of(card) else {}


def halo_of(card: ModelCard) -> int:
    """Return how many mask pixels around a place bear on its kind, in whole output cells; 0 without smoothing."""
    return ceil_div(round(HALO_RADII * radius_of(card) * 1000), 1000 * card.output_stride) * card.output_stride


def smooth_kinds(probabilities: NDArray[np.float32], radius: float) -> None:
    """Average the shares of all classes but the first, in place.

    Every cell whose halo lies within the array gets the same bits wherever it lies: sums run over the same numbers in
    the same order, cell by cell.

    Args:
        probabilities: (C, rows, columns); what is beyond counts as no lesion.
        radius: Standard deviation of the Gaussian, cells.
    """
    kinds = probabilities[1:]
    averages = [_averaged(kind, radius) for kind in kinds]
    lesion, around = _added(kinds), _added(averages)
    share = np.divide(lesion, around, out=np.zeros_like(lesion), where=around > 0)
    for kind, average in zip(kinds, averages, strict=True):
        np.multiply(average, share, out=kind)


def _added(planes: Sequence[NDArray[np.float32]] | NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sum of planes (rows, columns), plane by plane."""
    total: NDArray[np.float32] = planes[0].copy()
    for plane in planes[1:]:
        total += plane
    return total


def _averaged(plane: NDArray[np.float32], radius: float) -> NDArray[np.float32]:
    """Return the sum (rows, columns) of a plane's values around each cell, weighted by the Gaussian."""
    reach = ceil_div(round(HALO_RADII * radius * 1000), 1000)
    weights = np.exp(-0.5 * (np.arange(reach + 1) / radius) ** 2).astype(np.float32)
    for _ in range(2):  # down the columns, and along the rows of the picture turned
        count, wide = len(plane), np.pad(plane, ((reach, reach), (0, 0)))
        total = plane * weights[0]
        pair = np.empty_like(total)
        for distance in range(1, reach + 1):
            np.add(wide[reach - distance :][:count], wide[reach + distance :][:count], out=pair)
            pair *= weights[distance]
            total += pair
        plane = np.ascontiguousarray(total.T)
    return plane
