"""Whether outlines lie on tissue as they stand, or would if their coordinates meant something else.

Other programs count y from the bottom, write columns and rows the other way round, or µm, per cent or pixels of a
smaller level. Such outlines may well lie on the slide, and then nothing but the tissue tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from wsi_segment.inference.slides.doubt import Doubt
from wsi_segment.inference.slides.outlines import Extent, Outline

_FEW, _MOST = 0.5, 0.9
"""Share of the area of outlines that is tissue: as they stand less than that, in other words at least that."""
_DENSE = 0.4
"""Share of the slide that is tissue, from which on nearly every place would do."""
_LEAST = 0.1
"""Share of the tissue that outlines in other words must hold: small ones find a place on tissue by chance."""
_COMPARED = 1000
"""Outlines of a file that are compared, spread over it."""
_BEYOND = 0.01
"""Share of the slide by which outlines in other words may reach beyond it."""

Points = NDArray[np.float64]


def doubt_place(
    outlines: Sequence[Outline],
    tissue: NDArray[np.bool_],
    *,
    to_cells: Callable[[Sequence[Any]], NDArray[np.bool_]],
    extent: Extent,
    scales: dict[str, float],
    field: str,
) -> Doubt | None:
    """Say that outlines hold little tissue and would hold much of it, and little else, if read in another way.

    Args:
        outlines: In level-0 pixels from the corner of the slide's bounds.
        tissue: Cells (rows, columns) with tissue.
        to_cells: Maps geometries to the cells (rows, columns) that they touch.
        extent: Of the slide.
        scales: Level-0 pixels per unit of what the coordinates may be in, by its name.
        field: Of the options that names the outlines, for the message.
    """
    areas = np.array([outline.geometry for outline in outlines[:: max(1, len(outlines) // _COMPARED)]], object)

    def share(cells: NDArray[np.bool_]) -> float:
        return float(tissue[cells].mean()) if cells.any() else 0.0

    stands = share(to_cells(list(areas)))
    if stands >= _FEW or tissue.mean() >= _DENSE:
        return None
    for words, read in _readings(extent, scales):
        moved = shapely.transform(areas, read)
        if not _lies_within(shapely.total_bounds(moved), extent):
            continue
        cells = to_cells(list(moved))
        if (would := share(cells)) >= _MOST and cells.sum() >= _LEAST * tissue.sum():
            return Doubt(
                "outlines-off-tissue",
                f"{100 * stands:.0f} % of the area of the outlines of `{field}` is tissue, and {100 * would:.0f} % "
                f"would be if {words}; coordinates are level-0 pixels from the upper left corner, x first",
            )
    return None


def _readings(extent: Extent, scales: dict[str, float]) -> Iterator[tuple[str, Callable[[Points], Points]]]:
    """Yield other meanings that coordinates have elsewhere: in words, and as a map of points (n, 2)."""
    yield "y were counted from the bottom", lambda points: np.stack([points[:, 0], extent[3] - points[:, 1]], axis=1)
    yield "x and y were swapped", lambda points: points[:, ::-1]
    yield "they were per cent of the slide", lambda points: points * (extent[2] / 100, extent[3] / 100)
    for name, scale in scales.items():
        yield f"they were {name}", lambda points, scale=scale: points * scale  # type: ignore[misc]


def _lies_within(bounds: Any, extent: Extent) -> bool:
    x0, y0, x1, y1 = bounds
    right, below = _BEYOND * (extent[2] - extent[0]), _BEYOND * (extent[3] - extent[1])
    return bool(x0 >= -right and y0 >= -below and x1 <= extent[2] + right and y1 <= extent[3] + below)
