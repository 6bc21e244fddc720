"""Where a TIFF and its tiles name different colours, nobody knows which: the file is refused, wherever it lies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from synthetic import tissue_like
from wsi_segment.errors import SlideError
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.inference.slides.slide import Slide

PIXELS = tissue_like(512, 768)
APERIO = "Aperio Image Library v10\r\n768x512 |AppMag = 20|MPP = 0.5"
RGB, YCBCR = 2, 6

Encode = Callable[[NDArray[np.uint8]], bytes]


def write(path: Path, encode: Encode, compression: int, photometric: int) -> Path:
    """A TIFF of six tiles as they are encoded; one that is called .svs is Aperio's."""
    tiles = (np.ascontiguousarray(PIXELS[y : y + 256, x : x + 256]) for y in (0, 256) for x in (0, 256, 512))
    form: dict[str, Any] = {"tile": (256, 256), "compression": compression, "photometric": "ycbcr", "metadata": None}
    with tifffile.TiffWriter(path) as tiff:
        description = APERIO if path.suffix == ".svs" else None
        tiff.write(map(encode, tiles), shape=PIXELS.shape, dtype=np.uint8, description=description, **form)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages.first.tags["PhotometricInterpretation"].overwrite(photometric)
    return path


def jpeg(pixels: NDArray[np.uint8]) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(pixels, level=95, subsampling="420"))


def without_jfif(pixels: NDArray[np.uint8]) -> bytes:
    encoded = jpeg(pixels)
    assert encoded[2:4] == b"\xff\xe0"
    return encoded[:2] + encoded[4 + int.from_bytes(encoded[4:6], "big") :]


def rgb_jpeg(pixels: NDArray[np.uint8]) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(pixels, level=95, colorspace="rgb", outcolorspace="rgb"))


def ycbcr_2000(pixels: NDArray[np.uint8]) -> bytes:
    stored = np.ascontiguousarray(Image.fromarray(pixels).convert("YCbCr"))
    return bytes(imagecodecs.jpeg2k_encode(stored, codecformat="j2k", reversible=True, mct=False))


def rgb_2000(pixels: NDArray[np.uint8]) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", reversible=True, mct=True))


def remote(path: Path) -> Slide:
    upath = pytest.importorskip("upath", reason="slides over the network need the extra [remote]")
    upath.UPath(f"memory://{path.name}").write_bytes(path.read_bytes())
    return open_slide(f"memory://{path.name}")


@pytest.mark.parametrize("opened", [open_slide, remote], ids=["here", "there"])
@pytest.mark.parametrize("name", ["s.tif", "s.svs"])
@pytest.mark.parametrize(
    ("encode", "photometric"),
    [(jpeg, RGB), (without_jfif, RGB), (rgb_jpeg, YCBCR)],
    ids=["JFIF in RGB", "fewer samples in RGB", "RGB in YCbCr"],
)
def test_a_jpeg_of_other_colours_than_its_tag_says_is_refused(
    tmp_path: Path, name: str, encode: Encode, photometric: int, opened: Callable[[Path], Slide]
) -> None:
    path = write(tmp_path / name, encode, 7, photometric)
    with pytest.raises(SlideError, match="the TIFF says that its colours are"):
        opened(path)


@pytest.mark.parametrize("opened", [open_slide, remote], ids=["here", "there"])
@pytest.mark.parametrize("name", ["s.tif", "s.svs"])
@pytest.mark.parametrize(("encode", "photometric"), [(jpeg, YCBCR), (without_jfif, YCBCR), (rgb_jpeg, RGB)])
def test_a_jpeg_of_the_colours_that_its_tag_says_is_read(
    tmp_path: Path, name: str, encode: Encode, photometric: int, opened: Callable[[Path], Slide]
) -> None:
    with opened(write(tmp_path / name, encode, 7, photometric)) as slide:
        assert np.abs(slide.read(0, slide.bounds).astype(int) - PIXELS).mean() < 8


def test_ycbcr_in_jpeg_2000_of_aperio_is_left_to_openslide(tmp_path: Path) -> None:
    path = write(tmp_path / "s.svs", ycbcr_2000, 33003, RGB)
    with open_slide(path) as slide:
        assert slide.reader == "openslide"
        assert np.abs(slide.read(0, slide.bounds).astype(int) - PIXELS).mean() < 2
    with pytest.raises(
        SlideError, match="its JPEG 2000 holds YCbCr, which OpenSlide alone turns into RGB; copy it first"
    ):
        remote(path)


def test_jpeg_2000_that_says_ycbcr_and_converts_nothing_is_refused(tmp_path: Path) -> None:
    with open_slide(write(tmp_path / "converted.tif", rgb_2000, 34712, YCBCR)) as slide:
        np.testing.assert_array_equal(slide.read(0, slide.bounds), PIXELS)
    with pytest.raises(SlideError, match="colours that its decoder does not convert"):
        open_slide(write(tmp_path / "s.tif", ycbcr_2000, 34712, YCBCR))
