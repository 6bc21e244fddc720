"""What a run needs of a slide: the tiles that its regions touch, found without reading any pixel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.prepare import Prepared, prepare
from wsi_segment.inference.engine.windows import read_bands
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.inference.slides.pixels import PixelSource
from wsi_segment.inference.slides.readers.canvas import tile_parts
from wsi_segment.inference.slides.readers.tiles import TileSlide
from wsi_segment.model.card import Model


class _Noting(PixelSource):
    """Notes which boxes of the level are read; their pixels are black."""

    def __init__(self, slide: TileSlide, prepared: Prepared) -> None:
        super().__init__(slide, prepared.frame)
        self.l_boxes: list[Box] = []

    def read(self, m_box: Box) -> NDArray[np.uint8]:
        inside = m_box.intersect(self.frame.box)
        self.l_boxes.append(self._l_box(inside if self._whole else self._between(inside)))
        return np.zeros((m_box.height, m_box.width, 3), np.uint8)


@dataclass(frozen=True)
class Touched:
    """What the regions of a run touch of a slide."""

    tiles: int
    """Of level 0, touched or not."""
    by_regions: int
    """Bytes of the tiles that each region touches, added up: a tile of two regions counts twice."""
    once: int
    """Bytes of all tiles that are touched, each counted once."""


def touched_bytes(path: Path, model: Model, options: SegmentOptions) -> Touched:
    """Find out what regions touch."""
    with open_slide(path) as slide:
        assert isinstance(slide, TileSlide)
        prepared = prepare(slide, path=path, model=model, options=options)
        reader = slide.readers[prepared.frame.level]
        counts = np.asarray(reader.page.databytecounts)
        touched, by_regions = set[int](), 0
        for region in prepared.plan.regions:
            if region.windows:
                tiles = set(_tiles(slide, prepared, region.m_box))
                by_regions += int(counts[list(tiles)].sum())
                touched |= tiles
        return Touched(slide.readers[0].segments, by_regions, once=int(counts[list(touched)].sum()))


def _tiles(slide: TileSlide, prepared: Prepared, m_region: Box) -> Iterator[int]:
    source, lattice = _Noting(slide, prepared), prepared.lattice
    reader = slide.readers[prepared.frame.level]
    rows = prepared.plan.budget.band_rows
    for m_part in m_region.tiles(lattice.core) if lattice.blocks else [m_region]:
        m_wide = m_part.grown(lattice.halo).intersect(prepared.frame.box) if lattice.halo else m_part
        for _ in read_bands(source, lattice, tissue=prepared.tissue, m_region=m_wide, band_rows=rows):
            pass
    side = reader.segment(0)
    columns = -(-reader.width // side.width)
    for l_box in source.l_boxes:
        for part in tile_parts(l_box.intersect(reader.whole), side.width, side.height):
            yield part.row * columns + part.column
