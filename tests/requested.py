"""What a run needs of a slide: the tiles that its regions touch, found without reading any pixel."""

from __future__ import annotations

from collections.abc import Iterator
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


def touched_bytes(path: Path, model: Model, options: SegmentOptions) -> tuple[int, int]:
    """Return the tiles of level 0, and the bytes of the tiles that regions touch, those of two regions twice."""
    with open_slide(path) as slide:
        assert isinstance(slide, TileSlide)
        prepared = prepare(slide, path=path, model=model, options=options)
        reader = slide.readers[prepared.frame.level]
        counts = np.asarray(reader.page.databytecounts)
        touched = 0
        for region in prepared.plan.regions:
            if region.windows:
                tiles = set(_tiles(slide, prepared, region.m_box))
                touched += int(counts[list(tiles)].sum())
        return slide.readers[0].segments, touched


def _tiles(slide: TileSlide, prepared: Prepared, m_region: Box) -> Iterator[int]:
    source, lattice = _Noting(slide, prepared), prepared.lattice
    reader = slide.readers[prepared.frame.level]
    m_wide = m_region.grown(lattice.halo).intersect(prepared.frame.box) if lattice.halo else m_region
    rows = prepared.plan.budget.band_rows
    for _ in read_bands(source, lattice, tissue=prepared.tissue, m_region=m_wide, band_rows=rows):
        pass
    side = reader.segment(0)
    columns = -(-reader.width // side.width)
    for l_box in source.l_boxes:
        for part in tile_parts(l_box.intersect(reader.whole), side.width, side.height):
            yield part.row * columns + part.column
