"""What every reader promises, over every format that there is to try."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from synthetic import SLIDES, tissue_like, write_ome_tiff, write_slide
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.slides.candidate import Candidate
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.inference.slides.readers.openslide import OpenSlideReader
from wsi_segment.inference.slides.readers.tiles import TileSlide
from wsi_segment.inference.slides.slide import Slide

PIXELS = tissue_like(700, 900)


def by_tiles(path: Path) -> Slide:
    slide = TileSlide.over(OpenSlideReader(path), Candidate.look(path))
    assert slide is not None
    return slide


def remote(path: Path) -> Slide:
    """Read as an object store's file is; the memory of fsspec is the store."""
    pytest.importorskip("upath", reason="slides over the network need the extra [remote]")
    from upath import UPath

    UPath(f"memory://{path.name}").write_bytes(path.read_bytes())
    return open_slide(f"memory://{path.name}")


def made_picture(path: Path) -> Path:
    Image.fromarray(PIXELS).save(path, quality=95)
    return path


def made_striped(path: Path) -> Path:
    per_cm = (1e4 / 0.5, 1e4 / 0.5)
    tifffile.imwrite(path, PIXELS, photometric="rgb", rowsperstrip=64, resolution=per_cm, resolutionunit="CENTIMETER")
    return path


@dataclass(frozen=True)
class Kind:
    """A slide of one format through one reader."""

    make: Callable[[Path], Path]
    name: str
    open: Callable[[Path], Slide]
    reader: str
    lossless: bool = True
    """Whether level 0 is PIXELS exactly."""
    levels: int = 1
    mpp_source: str | None = None


def tiled(compression: str | None) -> Callable[[Path], Path]:
    return lambda path: write_slide(path, PIXELS, 0.5, 3, compression=compression)


def ome(compression: str | None) -> Callable[[Path], Path]:
    return lambda path: write_ome_tiff(path, PIXELS, 0.5, 3, compression=compression)


def real(name: str) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        if not SLIDES.is_dir():
            pytest.skip("the real slides are not beside this checkout")
        return SLIDES / name

    return make


OS, TIFF, OME, MPP = "openslide.mpp-x/y", "TIFF resolution", "OME-XML PhysicalSize", "aperio.MPP"
SVS, TCGA, DICOM = "CMU-1-Small-Region.svs", "tcga-cr-7395-01a-01-ts1.svs", "dicom-cmu-1"
KINDS = {
    "tiff-openslide": Kind(tiled("deflate"), "s.tiff", OpenSlideReader, "openslide", True, 3, OS),
    "tiff-remote": Kind(tiled("deflate"), "s.tiff", remote, "tifffile", True, 3, TIFF),
    "tiff-tiles": Kind(tiled("deflate"), "s.tiff", by_tiles, "tifffile", True, 3, OS),
    "tiff-jpeg": Kind(tiled("jpeg"), "s.tiff", open_slide, "tifffile", False, 3, TIFF),
    "tiff-jpeg2000": Kind(tiled("jpeg2000"), "s.tiff", open_slide, "tifffile", False, 3, TIFF),
    "ome-tiff": Kind(ome("deflate"), "s.ome.tif", open_slide, "tifffile", True, 3, OME),
    "ome-tiff-remote": Kind(ome("deflate"), "s.ome.tif", remote, "tifffile", True, 3, OME),
    "ome-tiff-jpeg": Kind(ome("jpeg"), "s.ome.tif", open_slide, "tifffile", False, 3, OME),
    "tiff-striped": Kind(made_striped, "s.tif", open_slide, "tifffile", True, 1, TIFF),
    "png": Kind(made_picture, "s.png", open_slide, "pillow"),
    "jpeg": Kind(made_picture, "s.jpg", open_slide, "pillow", False),
    "svs-openslide": Kind(real(SVS), "", OpenSlideReader, "openslide", False, 1, OS),
    "svs": Kind(real(SVS), "", open_slide, "tifffile", False, 1, OS),
    "svs-remote": Kind(real(SVS), "", remote, "tifffile", False, 1, MPP),
    "svs-jpeg2000-openslide": Kind(real(TCGA), "", OpenSlideReader, "openslide", False, 2),
    "svs-jpeg2000": Kind(real(TCGA), "", open_slide, "tifffile", False, 2),
    "svs-jpeg2000-remote": Kind(real(TCGA), "", remote, "tifffile", False, 2),
    "dicom": Kind(real(DICOM), "", open_slide, "openslide", False, 1, OS),
    "boxes-openslide": Kind(real("boxes.tiff"), "", OpenSlideReader, "openslide", False, 4, OS),
    "boxes": Kind(real("boxes.tiff"), "", open_slide, "tifffile", False, 4, TIFF),
    "boxes-remote": Kind(real("boxes.tiff"), "", remote, "tifffile", False, 4, TIFF),
    "striped-no-mpp": Kind(real("striped-no-mpp.tif"), "", open_slide, "tifffile", False, 1),
}


@pytest.fixture(scope="module", params=KINDS)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kind, Slide]]:
    kind = KINDS[request.param]
    slide = kind.open(kind.make(tmp_path_factory.mktemp("slide") / kind.name))
    yield kind, slide
    slide.close()


def corner_of(slide: Slide, level: int, side: int = 1500) -> NDArray[np.uint8]:
    """The part of a level that the tests compare with, read at once."""
    info = slide.levels[level]
    return slide.read(level, Box(0, 0, min(side, info.width), min(side, info.height)))


def test_the_reader_and_what_it_says(opened: tuple[Kind, Slide]) -> None:
    kind, slide = opened
    assert slide.reader == kind.reader
    assert len(slide.levels) == kind.levels
    assert (slide.pixel_size.source if slide.pixel_size else None) == kind.mpp_source
    assert slide.levels[0].downsample == 1
    assert slide.bounds.width <= slide.levels[0].width


def test_pixels_are_rgb_and_those_that_were_written(opened: tuple[Kind, Slide]) -> None:
    kind, slide = opened
    pixels = corner_of(slide, 0)
    assert pixels.dtype == np.uint8
    assert pixels.shape[2] == 3
    if kind.lossless:
        np.testing.assert_array_equal(pixels, PIXELS)
    elif kind.name:
        assert np.abs(pixels.astype(int) - PIXELS).mean() < 8


def test_boxes_anywhere_are_cut_from_the_same_picture(opened: tuple[Kind, Slide]) -> None:
    _, slide = opened
    rng = np.random.default_rng(0)
    for index in range(len(slide.levels)):
        whole = corner_of(slide, index)
        for _ in range(5):
            y, x = rng.integers(0, whole.shape[0] - 8), rng.integers(0, whole.shape[1] - 8)
            height, width = rng.integers(1, 300, size=2)
            box = Box(int(x), int(y), int(x + width), int(y + height))
            inside = box.intersect(Box(0, 0, *whole.shape[1::-1]))
            found = slide.read(index, inside)
            np.testing.assert_array_equal(found, whole[inside.y0 : inside.y1, inside.x0 : inside.x1])


def test_every_level_reads_to_its_last_pixel(opened: tuple[Kind, Slide]) -> None:
    _, slide = opened
    for index, level in enumerate(slide.levels):
        last = slide.read(index, Box(level.width - 9, level.height - 7, level.width, level.height))
        more = slide.read(index, Box(level.width - 30, level.height - 30, level.width + 5, level.height + 5))
        assert last.shape == (7, 9, 3)
        np.testing.assert_array_equal(more[23:30, 21:30], last)


def test_outside_is_white(opened: tuple[Kind, Slide]) -> None:
    _, slide = opened
    for index, level in enumerate(slide.levels):
        over = slide.read(index, Box(-20, -30, 30, 10))
        assert (over[:30] == 255).all()
        assert (over[:, :20] == 255).all()
        np.testing.assert_array_equal(over[30:, 20:], corner_of(slide, index)[:10, :30])
        far = slide.read(index, Box(level.width - 5, level.height - 5, level.width + 5, level.height + 5))
        assert (far[5:] == 255).all()
        assert (far[:, 5:] == 255).all()
        assert (slide.read(index, Box(10**6, 10**6, 10**6 + 4, 10**6 + 3)) == 255).all()


def test_levels_show_the_same_place(opened: tuple[Kind, Slide]) -> None:
    _, slide = opened
    for index, level in enumerate(slide.levels[1:], start=1):
        d = int(level.downsample)
        side = 256
        fine = slide.read(0, Box(0, 0, side * d, side * d)).astype(float).reshape(side, d, side, d, 3).mean(axis=(1, 3))
        coarse = slide.read(index, Box(0, 0, side, side)).astype(float)
        inside = slice(0, min(level.height, side) - 1), slice(0, min(level.width, side) - 1)
        assert np.abs(coarse[inside] - fine[inside]).mean() < 6


def test_threads_read_what_one_thread_reads(opened: tuple[Kind, Slide]) -> None:
    _, slide = opened
    whole = corner_of(slide, 0, 640)
    height, width = whole.shape[:2]
    boxes = [Box(x, y, x + 150, y + 120) for y in range(0, height - 120, 70) for x in range(0, width - 150, 90)]
    with ThreadPoolExecutor(4) as pool:
        for box, pixels in zip(boxes, pool.map(lambda box: slide.read(0, box), boxes), strict=True):
            np.testing.assert_array_equal(pixels, whole[box.y0 : box.y1, box.x0 : box.x1])


@pytest.mark.parametrize("name", KINDS)
def test_closing_gives_files_back(name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    path, process = kind.make(tmp_path / kind.name), psutil.Process()
    kind.open(path).close()
    before = process.num_fds() if hasattr(process, "num_fds") else process.num_handles()
    for _ in range(3):
        slide = kind.open(path)
        slide.read(0, Box(0, 0, 20, 20))
        slide.close()
    after = process.num_fds() if hasattr(process, "num_fds") else process.num_handles()
    assert after <= before
