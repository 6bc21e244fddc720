"""The direct reader beside tiffslide, which others wrote: the same picture where both know the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from synthetic import tissue_like, write_ome_tiff, write_slide
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.slides.open import open_slide

tiffslide = pytest.importorskip("tiffslide", reason="tiffslide is in the extra [test]")
REAL = ("CMU-1-Small-Region.svs", "tcga-cr-7395-01a-01-ts1.svs", "boxes.tiff")


def assert_the_same(path: Path) -> None:
    """Compare all levels, and a box of each."""
    ours, theirs = open_slide(path), tiffslide.TiffSlide(path)
    try:
        assert [(level.width, level.height) for level in ours.levels] == list(theirs.level_dimensions)
        for index, level in enumerate(ours.levels):
            box = Box(0, 0, min(level.width, 700), min(level.height, 500))
            pixels = theirs.read_region((0, 0), index, (box.width, box.height), as_array=True)
            np.testing.assert_array_equal(ours.read(index, box), pixels)
    finally:
        ours.close()
        theirs.close()


@pytest.mark.parametrize("name", REAL)
def test_real_slides_are_read_as_tiffslide_reads_them(slides: Path, name: str) -> None:
    assert_the_same(slides / name)


def test_a_made_pyramid_is_read_as_tiffslide_reads_it(tmp_path: Path) -> None:
    assert_the_same(write_slide(tmp_path / "s.tiff", tissue_like(900, 700), levels=2))


def test_a_made_ome_tiff_is_read_as_tiffslide_reads_it(tmp_path: Path) -> None:
    assert_the_same(write_ome_tiff(tmp_path / "s.ome.tif", tissue_like(900, 700), 0.5))
