"""Vendors, left-out tiles, orientation and bit depths: read as they are meant, or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps, PngImagePlugin

from synthetic import SLIDES, halved, tissue_like
from wsi_segment.errors import SlideError
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.inference.slides.slide import Slide

PIXELS = tissue_like(700, 900)
TILED: dict[str, Any] = {"photometric": "rgb", "metadata": None, "tile": (256, 256), "compression": "deflate"}
LEFT_OUT = {1, 5, 11}  # tifffile writes no file whose first tile is left out
FOUR, COLOURS = np.dstack([PIXELS, PIXELS[..., 0]]), np.zeros((3, 256), np.uint16)
APERIO = "Aperio Image Library v10\r\n900x700 |AppMag = 20|MPP = 0,5"


def write(path: Path, pixels: np.ndarray = PIXELS, **options: Any) -> Path:
    tifffile.imwrite(path, pixels, **{**TILED, **options})
    return path


def remote(path: Path) -> Slide:
    """Open a file as one that lies in an object store."""
    upath = pytest.importorskip("upath", reason="slides over the network need the extra [remote]")
    upath.UPath(f"memory://{path.name}").write_bytes(path.read_bytes())
    return open_slide(f"memory://{path.name}")


def whole(slide: Slide, level: int = 0) -> np.ndarray:
    return slide.read(level, Box(0, 0, slide.levels[level].width, slide.levels[level].height))


def packet(text: str) -> list[tuple[int, str, int, bytes, bool]]:
    """An XMP packet, where Ventana's scanners put theirs."""
    return [(700, "B", len(text), text.encode(), True)]


def write_bif(path: Path, direction: str) -> Path:
    """A BIF of two tiles that overlap by 32 px, joined in a direction."""
    joint = (
        f'<TileJointInfo FlagJoined="1" Confidence="95" Direction="{direction}" Tile1="1" Tile2="2" OverlapX="32" '
        'OverlapY="0"/>'
    )
    scan = '<?xml version="1.0"?><Metadata><iScan Magnification="20" ScanRes="0.5"><AOI0/></iScan></Metadata>'
    stitch = (
        '<?xml version="1.0"?><EncodeInfo Ver="2"><SlideInfo><AoiInfo XIMAGESIZE="256" YIMAGESIZE="256"/></SlideInfo>'
        '<SlideStitchInfo><ImageInfo AOIScanned="1" AOIIndex="0" NumRows="1" NumCols="2" Width="256" Height="256" '
        f'Pos-X="0" Pos-Y="0">{joint}</ImageInfo></SlideStitchInfo>'
        '<AoiOrigin><AOI0 OriginX="0" OriginY="0"/></AoiOrigin></EncodeInfo>'
    )
    common: dict[str, Any] = {"photometric": "rgb", "metadata": None, "compression": "jpeg"}
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        tiff.write(PIXELS[:300, :100], description="Label Image", rowsperstrip=300, extratags=packet(scan), **common)
        level = "level=0 mag=20 quality=90"
        tiff.write(PIXELS[:256, :512], description=level, tile=(256, 256), extratags=packet(stitch), **common)
    return path


def test_a_vendors_slide_that_openslide_refuses_is_refused_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match=r'ventana, OpenSlide: Bad direction attribute "LEFT"'):
        open_slide(write_bif(tmp_path / "s.bif", "LEFT"))


def test_a_vendors_slide_that_openslide_stitches_is_read(tmp_path: Path) -> None:
    slide = open_slide(write_bif(tmp_path / "s.bif", "RIGHT"))
    assert (slide.reader, slide.bounds.width) == ("openslide", 480)
    slide.close()


@pytest.mark.parametrize("compression", ["webp", "jpegxl"])
def test_a_compression_that_openslide_refuses_in_an_aperio_slide_is_refused(tmp_path: Path, compression: str) -> None:
    with pytest.raises(SlideError, match="aperio, OpenSlide: Unsupported TIFF compression"):
        open_slide(write(tmp_path / "s.svs", compression=compression, description=APERIO))


SCN = '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01"><collection/></scn>'


@pytest.mark.parametrize(
    ("vendor", "options"),
    [
        ("ventana", {"extratags": packet("<iScan></iScan>"), "software": "Ventana"}),
        ("leica", {"description": SCN}),
        ("philips", {"software": "Philips DP v1.0", "description": "<DataObject></DataObject>"}),
        ("trestle", {"software": "MedScan 1.0"}),
        ("hamamatsu", {"extratags": [(65420, "I", 1, 1, True), (271, "s", 0, "Hamamatsu", True)]}),
    ],
)
def test_vendors_whose_geometry_only_openslide_knows_are_to_be_copied_first(
    tmp_path: Path, vendor: str, options: dict[str, Any]
) -> None:
    path = write(tmp_path / "s.tif", **options)
    with pytest.raises(SlideError, match=f"geometry of {vendor} slides.*copy it first"):
        remote(path)


def test_an_aperio_slide_is_the_same_over_the_network(tmp_path: Path) -> None:
    path = tmp_path / "s.svs"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(PIXELS, description=APERIO, **TILED)
        tiff.write(halved(PIXELS, 2), photometric="rgb", metadata=None, rowsperstrip=32)  # its thumbnail
        tiff.write(halved(PIXELS), subfiletype=1, **TILED)  # marked, as some writers do
        tiff.write(tissue_like(350, 450, seed=7), **TILED)  # a label in tiles, which looks like a level
    here, there = open_slide(path), remote(path)
    assert [level.downsample for level in here.levels] == [1.0, 2.0]
    assert here.levels == there.levels
    for level in (0, 1):
        np.testing.assert_array_equal(whole(here, level), whole(there, level))
    assert [size and size.mpp for size in (here.pixel_size, there.pixel_size)] == [0.5, 0.5]
    here.close()
    there.close()


def test_tiles_that_an_aperio_slide_leaves_out_are_openslides_to_fill(tmp_path: Path) -> None:
    path = write_left_out(tmp_path / "s.svs", description=APERIO)
    slide = open_slide(path)
    assert slide.reader == "openslide"
    assert (whole(slide)[:256, 256:512] == 255).all()
    slide.close()
    with pytest.raises(SlideError, match=r"leaves out tiles.*copy it first"):
        remote(path)


def write_left_out(path: Path, **options: Any) -> Path:
    tiles = []
    for y in range(0, 700, 256):
        for x in range(0, 900, 256):
            part = PIXELS[y : y + 256, x : x + 256]
            tiles.append(
                np.pad(part, ((0, 256 - part.shape[0]), (0, 256 - part.shape[1]), (0, 0)), constant_values=255)
            )
    parts = (None if number in LEFT_OUT else tile for number, tile in enumerate(tiles))
    tifffile.imwrite(path, parts, shape=PIXELS.shape, dtype=np.uint8, **{**TILED, **options})
    return path


@pytest.mark.parametrize("ome", [False, True])
@pytest.mark.parametrize("compression", ["deflate", "jpeg", "webp", "jpeg2000", "lzw", "zstd", None])
def test_tiles_that_are_left_out_are_white_wherever_the_file_lies(
    tmp_path: Path, compression: str | None, ome: bool
) -> None:
    options = {"compression": compression, "ome": ome, "metadata": {"axes": "YXS"} if ome else None}
    path = write_left_out(tmp_path / ("s.ome.tif" if ome else "s.tif"), **options)
    truth = PIXELS.copy()
    truth[:256, 256:512] = truth[256:512, 256:512] = truth[512:, 768:] = 255
    for slide in (open_slide(path), remote(path)):
        pixels = whole(slide)
        assert np.abs(pixels.astype(int) - truth).mean() < (8 if compression in ("jpeg", "jpeg2000") else 0.001)
        assert (pixels[:250, 260:500] == 255).all()
        slide.close()


@pytest.mark.parametrize("orientation", [0, 2, 3, 4, 5, 6, 7, 8, 9])
@pytest.mark.parametrize("layout", [{}, {"compression": "jpeg"}, {"tile": None, "rowsperstrip": 64}])
def test_a_turned_tiff_is_refused_by_the_name_of_its_tag(
    tmp_path: Path, orientation: int, layout: dict[str, Any]
) -> None:
    path = write(tmp_path / "s.tif", extratags=[(274, "H", 1, orientation, True)], **layout)
    with pytest.raises(SlideError, match=f"Orientation tag is {orientation},.*write it with Orientation 1"):
        open_slide(path)


def test_an_aperio_slide_that_is_turned_is_refused_too(tmp_path: Path) -> None:
    path = write(tmp_path / "s.svs", description=APERIO, extratags=[(274, "H", 1, 3, True)])
    with pytest.raises(SlideError, match="Orientation tag is 3"):
        open_slide(path)


def test_an_upright_tiff_may_say_so(tmp_path: Path) -> None:
    slide = open_slide(write(tmp_path / "s.tif", extratags=[(274, "H", 1, 1, True)]))
    np.testing.assert_array_equal(whole(slide), PIXELS)
    slide.close()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["s.png", "s.webp", "s.jpg"])
def test_a_photo_is_upright_as_its_exif_says(tmp_path: Path, name: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(PIXELS).save(tmp_path / name, exif=exif, lossless=True, quality=95)
    slide = open_slide(tmp_path / name)
    with Image.open(tmp_path / name) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert expected.shape == ((700, 900, 3) if orientation < 5 else (900, 700, 3))
    np.testing.assert_array_equal(whole(slide), expected)
    slide.close()


@pytest.mark.parametrize("name", ["s.png", "s.jpg", "s.webp"])
@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II"])
def test_damaged_exif_does_not_keep_a_photo_from_being_read(tmp_path: Path, name: str, exif: bytes) -> None:
    Image.fromarray(PIXELS).save(tmp_path / name, exif=exif, lossless=True, quality=95)
    with open_slide(tmp_path / name) as slide:
        assert slide.levels[0].width == 900


@pytest.mark.parametrize("name", ["s.png", "s.jpg"])
def test_what_xmp_says_of_an_orientation_turns_no_photo(tmp_path: Path, name: str) -> None:
    xmp = '<rdf:Description tiff:Orientation="6"/>'
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp)
    Image.fromarray(PIXELS).save(tmp_path / name, pnginfo=text, xmp=xmp.encode())
    with open_slide(tmp_path / name) as slide:
        assert (slide.levels[0].width, slide.levels[0].height) == (900, 700)


def test_a_picture_with_more_text_than_pillow_takes_is_refused_in_a_line(tmp_path: Path) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "x" * (2 << 20), zip=True)
    Image.fromarray(PIXELS).save(tmp_path / "s.png", pnginfo=text)
    with pytest.raises(SlideError, match="Decompressed data too large"):
        open_slide(tmp_path / "s.png")


@pytest.mark.parametrize(
    ("pixels", "bits"),
    [
        pytest.param(PIXELS.astype(np.uint16) * 257, "16-bit", id="colour"),
        pytest.param(PIXELS.astype(np.uint16) * 16, "16-bit", id="12 of 16 bits"),
        pytest.param(PIXELS[..., 0].astype(np.uint16), "16-bit", id="grey"),
        pytest.param(np.dstack([PIXELS[..., 0]] * 2).astype(np.uint16), "16-bit", id="grey and alpha"),
        pytest.param(np.dstack([PIXELS, PIXELS[..., 0]]).astype(np.uint16), "16-bit", id="colour and alpha"),
    ],
)
def test_a_png_of_16_bits_is_refused_by_its_header(tmp_path: Path, pixels: np.ndarray, bits: str) -> None:
    (tmp_path / "s.png").write_bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels)))
    with pytest.raises(SlideError, match=f"{bits}, not 8-bit RGB"):
        open_slide(tmp_path / "s.png")


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_grey_png_of_few_bits_is_refused(tmp_path: Path, bits: int) -> None:
    Image.fromarray(PIXELS[..., 0]).convert("1" if bits == 1 else "L").save(tmp_path / "s.png", bits=bits)
    with pytest.raises(SlideError, match=f"{bits}-bit, not 8-bit RGB"):
        open_slide(tmp_path / "s.png")


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA"])
def test_a_png_of_8_bits_is_read_as_it_is_shown_on_white(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(PIXELS).convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(np.where(PIXELS[..., 1] > 100, 255, 0).astype(np.uint8)))
    image.save(tmp_path / "s.png")
    slide, white = open_slide(tmp_path / "s.png"), Image.new("RGBA", image.size, "white")
    expected = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    np.testing.assert_array_equal(whole(slide), np.asarray(expected))
    slide.close()


def test_a_cmyk_photo_and_an_animation_are_refused(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).convert("CMYK").save(tmp_path / "s.jpg")
    with pytest.raises(SlideError, match="mode CMYK, not 8-bit RGB"):
        open_slide(tmp_path / "s.jpg")
    frames = [Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)]
    for name in ("s.png", "s.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        with pytest.raises(SlideError, match="holds 2 pictures of an animation"):
            open_slide(tmp_path / name)


@pytest.mark.parametrize(
    ("pixels", "options", "reason"),
    [
        pytest.param(PIXELS[..., 0], {"photometric": "palette", "colormap": COLOURS}, "1 channel", id="palette"),
        pytest.param(PIXELS[..., 0] > 100, {"photometric": "minisblack"}, "1-bit, not 8-bit", id="1 bit"),
        pytest.param(PIXELS.astype(np.uint16) * 16, {}, "uint16, not 8-bit", id="12 in 16 bits"),
        pytest.param(PIXELS.view(np.int8), {}, "int8, not 8-bit", id="signed"),
        pytest.param(PIXELS, {"photometric": "cielab"}, "CIELAB, not RGB", id="Lab"),
        pytest.param(PIXELS, {"photometric": "ycbcr"}, "YCBCR, not RGB", id="YCbCr that no decoder converts"),
        pytest.param(FOUR, {"extrasamples": ["unspecified"]}, "fourth channel", id="infrared"),
    ],
)  # fmt: skip
def test_tiff_of_other_colours_and_depths_is_refused(
    tmp_path: Path, pixels: np.ndarray, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(SlideError, match=reason):
        open_slide(write(tmp_path / "s.tif", np.ascontiguousarray(pixels), **options))


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
def test_alpha_is_laid_on_white(tmp_path: Path, kind: str) -> None:
    alpha = np.full(PIXELS.shape[:2], 255, np.uint8)
    alpha[:200], alpha[200:300] = 0, 128
    share = alpha[..., None].astype(float) / 255
    colours = (PIXELS * share).round().astype(np.uint8) if kind == "assocalpha" else PIXELS
    slide = open_slide(write(tmp_path / "s.tif", np.dstack([colours, alpha]), extrasamples=[kind]))
    pixels = whole(slide)
    assert np.abs(pixels - (PIXELS * share + 255 * (1 - share))).max() <= 1
    assert (pixels[:200] == 255).all()
    slide.close()


def test_real_slides_have_no_doubts() -> None:
    if not SLIDES.is_dir():
        pytest.skip("the real slides are not beside this checkout")
    for name in ("CMU-1-Small-Region.svs", "tcga-cr-7395-01a-01-ts1.svs", "boxes.tiff", "striped-no-mpp.tif"):
        slide = open_slide(SLIDES / name)
        assert slide.doubts == ()
        slide.close()


def test_the_overview_in_a_vsi_file_is_not_taken_for_the_slide(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "slide.vsi", np.full((300, 400, 3), 200, np.uint8), photometric="rgb", tile=(128, 128))
    with pytest.raises(SlideError, match=r"overview of the slide.*\.ets"):
        open_slide(tmp_path / "slide.vsi")
