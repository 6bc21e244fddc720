"""Where a TIFF and its tiles name different colours, JFIF counts, as every decoder has it; else the file is refused."""

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

from synthetic import halved, tissue_like
from wsi_segment.errors import SlideError
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.inference.slides.readers.encoded_colours import states_ycbcr
from wsi_segment.inference.slides.slide import Slide

PIXELS = tissue_like(512, 768)
LARGE = tissue_like(1024, 1536)
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


def adobe(transform: int) -> bytes:
    return b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([transform])


def behind_frame(encoded: bytes, segment: bytes) -> bytes:
    scan = encoded.index(b"\xff\xda")
    return encoded[:scan] + segment + encoded[scan:]


def filled(pixels: NDArray[np.uint8]) -> bytes:
    encoded = jpeg(pixels)
    return encoded[:2] + b"\xff" + encoded[2:]


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


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda content: content, True),
        (lambda content: behind_frame(content, jpeg(PIXELS)[2:20]), True),
        (lambda content: behind_frame(content, adobe(0)), False),
        (lambda content: content[:2] + adobe(0) + behind_frame(content[2:], jpeg(PIXELS)[2:20]), True),
        (lambda content: content[:2] + adobe(2) + content[2:], True),
        (lambda content: content[:2] + b"\xff\xff" + adobe(0) + content[2:], False),
        (lambda content: content[:2] + b"\xff\x01" + adobe(0) + content[2:], False),
        (lambda content: content[:100], None),
    ],
    ids=["samples", "JFIF late", "Adobe late", "Adobe and JFIF", "unknown Adobe", "filled", "bare mark", "cut off"],
)
def test_what_a_jpeg_says_is_what_its_decoder_does(change: Callable[[bytes], bytes], expected: bool | None) -> None:
    encoded = change(without_jfif(PIXELS))
    assert states_ycbcr(encoded) is expected
    if expected is not None:
        converted = np.abs(imagecodecs.jpeg8_decode(encoded).astype(int) - PIXELS).mean() < 8
        assert converted == expected


@pytest.mark.parametrize("opened", [open_slide, remote], ids=["here", "there"])
@pytest.mark.parametrize(
    ("name", "encode", "photometric"),
    [
        ("s.svs", jpeg, RGB),
        ("s.tif", filled, RGB),  # JFIF that tifffile does not see
        ("s.svs", filled, RGB),
        ("s.tif", without_jfif, RGB),
        ("s.svs", without_jfif, RGB),
        ("s.tif", rgb_jpeg, YCBCR),
        ("s.svs", rgb_jpeg, YCBCR),
    ],
)
def test_a_jpeg_of_other_colours_than_its_tag_says_is_refused(
    tmp_path: Path, name: str, encode: Encode, photometric: int, opened: Callable[[Path], Slide]
) -> None:
    path = write(tmp_path / name, encode, 7, photometric)
    with pytest.raises(SlideError, match="the TIFF says that its colours are"):
        opened(path)


def write_ome(path: Path, levels: int) -> Path:
    """An OME-TIFF as programs export it: tiles of JFIF, so YCbCr, tags of RGB, and levels in SubIFDs."""
    form: dict[str, Any] = {"tile": (512, 512), "compression": 7, "photometric": "ycbcr", "dtype": np.uint8}
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for level in range(levels):
            pixels = halved(LARGE, level)
            padded = np.pad(pixels, ((0, 0), (0, -pixels.shape[1] % 512), (0, 0)))
            places = ((y, x) for y in range(0, pixels.shape[0], 512) for x in range(0, pixels.shape[1], 512))
            tiles = (np.ascontiguousarray(padded[y : y + 512, x : x + 512]) for y, x in places)
            of_level: dict[str, Any] = {"subfiletype": 1} if level else {"subifds": levels - 1}
            tiff.write(map(jpeg, tiles), shape=pixels.shape, metadata={"axes": "YXS"}, **of_level, **form)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        first = tiff.pages.first
        for page in (first, *(first.pages or ())):
            page.aspage().tags["PhotometricInterpretation"].overwrite(RGB)
    return path


@pytest.mark.parametrize("opened", [open_slide, remote], ids=["here", "there"])
@pytest.mark.parametrize("levels", [1, 2], ids=["flat", "pyramid"])
def test_jfif_under_a_tag_of_rgb_is_ycbcr(tmp_path: Path, levels: int, opened: Callable[[Path], Slide]) -> None:
    with opened(write_ome(tmp_path / "s.ome.tif", levels)) as slide:
        assert [(level.width, level.height) for level in slide.levels] == [(1536, 1024), (768, 512)][:levels]
        for level, stored in enumerate(slide.levels):
            read = slide.read(level, Box(0, 0, stored.width, stored.height))
            assert np.abs(read.astype(int) - halved(LARGE, level)).mean() < 8
        assert not slide.doubts


@pytest.mark.parametrize("opened", [open_slide, remote], ids=["here", "there"])
@pytest.mark.parametrize("name", ["s.tif", "s.svs"])
@pytest.mark.parametrize(("encode", "photometric"), [(jpeg, YCBCR), (without_jfif, YCBCR), (rgb_jpeg, RGB)])
def test_a_jpeg_of_the_colours_that_its_tag_says_is_read(
    tmp_path: Path, name: str, encode: Encode, photometric: int, opened: Callable[[Path], Slide]
) -> None:
    with opened(write(tmp_path / name, encode, 7, photometric)) as slide:
        assert np.abs(slide.read(0, slide.bounds).astype(int) - PIXELS).mean() < 8


def test_the_first_picture_of_aperio_is_looked_at_though_a_macro_is_larger(tmp_path: Path) -> None:
    path = write(tmp_path / "s.svs", without_jfif, 7, YCBCR)
    tifffile.imwrite(path, LARGE, append=True, photometric="rgb", rowsperstrip=64, description="macro", metadata=None)
    with open_slide(path) as slide:
        assert (slide.reader, len(slide.levels)) == ("tifffile", 1)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages.first.tags["PhotometricInterpretation"].overwrite(RGB)
    with pytest.raises(SlideError, match="the TIFF says that its colours are RGB, its tiles hold YCbCr"):
        open_slide(path)


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
