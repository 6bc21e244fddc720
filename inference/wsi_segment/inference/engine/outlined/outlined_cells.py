"""Cells of a slide that outlines of a GeoJSON file touch, and what of them is not used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_segment.errors import InputError
from wsi_segment.inference.engine.outlined.outline_fit import doubt_place
from wsi_segment.inference.grid.box import ceil_div
from wsi_segment.inference.slides.doubt import Doubt
from wsi_segment.inference.slides.frame import MaskFrame
from wsi_segment.inference.slides.outlines import Extent, Outline, Outlines, read_areas
from wsi_segment.inference.slides.slide import Slide


def outlined_cells(
    path: Path,
    field: str,
    *,
    slide: Slide,
    frame: MaskFrame,
    cell: int,
    mask_mpp: float,
    stained: Callable[[], NDArray[np.bool_]] | None,
) -> tuple[NDArray[np.bool_], tuple[Doubt, ...]]:
    """Find the cells (rows, columns) that the outlines of a GeoJSON file touch, and say what of it is not used.

    Args:
        path: The file; see :mod:`wsi_segment.inference.slides.outlines`.
        field: Of the options that names it, for messages.
        slide: Its bounds are read.
        frame: Of the mask.
        cell: Side of a cell in mask pixels.
        mask_mpp: µm per mask pixel.
        stained: Finds the cells with tissue by their pixels, to tell whether the outlines lie on it; None leaves that
            open.

    Raises:
        InputError: the file cannot be read, or no outline in it has an area that lies on the slide.
    """
    extent = 0.0, 0.0, float(slide.bounds.width), float(slide.bounds.height)
    try:
        every = read_areas(path)
        outlines = _of_interest(every, extent, path)
    except InputError as error:
        raise InputError(f"`{field}` {error}") from error
    ignored = every.ignored
    left_out = "; ".join(filter(None, (outlines.describe_left_out(extent), _describe_ignored(ignored))))
    doubts: tuple[Doubt, ...] = ()
    if left_out:
        doubts += (Doubt("outlines-left-out", f"left out of `{field}`: {left_out}"),)
    side = frame.downsample * cell
    from rasterio.features import rasterize  # GDAL takes long to load, and few runs have polygons
    from rasterio.transform import Affine

    to_slide = Affine(side, 0, frame.s_x0 - slide.bounds.x0, 0, side, frame.s_y0 - slide.bounds.y0)
    shape = ceil_div(frame.height, cell), ceil_div(frame.width, cell)

    def rasterized(polygons: Sequence[Any], *, touched: bool = True) -> NDArray[np.bool_]:
        if not polygons:
            return np.zeros(shape, bool)
        drawn: NDArray[np.uint8] = rasterize(polygons, shape, transform=to_slide, all_touched=touched, dtype="uint8")
        return drawn > 0

    if stained is not None:
        scales = {"µm": frame.downsample / mask_mpp} | {
            f"pixels of a level of {level.width} x {level.height} px": level.downsample for level in slide.levels[1:]
        }
        place = doubt_place(outlines.areas, stained(), to_cells=rasterized, extent=extent, scales=scales, field=field)
        doubts += () if place is None else (place,)
    inside = rasterized([outline.geometry for outline in outlines.areas])
    return inside & ~rasterized([outline.geometry for outline in ignored], touched=False), doubts


def _of_interest(every: Outlines, extent: Extent, path: Path) -> Outlines:
    """Return the outlines of what is to be analysed, of which some must lie on the slide."""
    outlines = every.of_interest()
    if not outlines.areas:
        raise InputError(f"{path}: all its outlines are of the class {every.areas[0].name}; outline what to analyse")
    outlines.refuse_beside(extent, path)
    return outlines


def _describe_ignored(ignored: Sequence[Outline]) -> str:
    if not ignored:
        return ""
    names = ", ".join(sorted({outline.name for outline in ignored}))
    which = "1 outline of the class" if len(ignored) == 1 else f"{len(ignored)} outlines of the class"
    return f"what lies within {which} {names}, also where others do"
