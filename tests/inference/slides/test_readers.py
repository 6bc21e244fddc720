from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image, ImageCms

from synthetic import tissue_like, write_ome_tiff, write_slide
from wsi_segment.errors import SlideError
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.slides.candidate import Candidate
from wsi_segment.inference.slides.fingerprint import slide_fingerprint
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.inference.slides.readers.canvas import exact_downsample
from wsi_segment.inference.slides.readers.icc import ColourManaged
from wsi_segment.inference.slides.readers.image import ImageSlide
from wsi_segment.inference.slides.readers.openslide import OpenSlideReader
from wsi_segment.inference.slides.readers.segments import PageReader
from wsi_segment.inference.slides.readers.tiles import TileSlide
from wsi_segment.inference.slides.slide import PixelSize, Slide, pixel_size_of
from wsi_segment.inference.slides.slide_files import slide_files

PIXELS = tissue_like(700, 900)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("readers") / "made.tiff", PIXELS, mpp=0.5, levels=3)


def test_what_was_not_scanned_is_white(monkeypatch: pytest.MonkeyPatch, made: Path) -> None:
    slide = OpenSlideReader(made)
    sparse = Image.new("RGBA", (6, 4), (0, 0, 0, 0))
    monkeypatch.setattr(openslide.OpenSlide, "read_region", lambda self, *args: sparse)
    assert (slide.read(0, Box(0, 0, 6, 4)) == 255).all()
    slide.close()


def test_stated_downsamples_mean_whole_numbers() -> None:
    assert exact_downsample(46000 / 11499, 11499) == 4.0
    assert exact_downsample(4.2, 1000) == 4.2


@pytest.mark.parametrize("kind", ["tiff", "vendor", "png"])
def test_a_slide_is_closed_by_with_and_may_be_closed_again(made: Path, tmp_path: Path, kind: str) -> None:
    if kind == "png":
        Image.fromarray(PIXELS).save(tmp_path / "roi.png")
        opened: Slide = open_slide(tmp_path / "roi.png")
    else:
        opened = OpenSlideReader(made) if kind == "vendor" else open_slide(made)
    with opened as slide:
        before = slide.read(0, Box(0, 0, 6, 4))
    slide.close()
    if kind == "png":  # which is held in memory
        assert np.array_equal(slide.read(0, Box(0, 0, 6, 4)), before)
        return
    with pytest.raises(SlideError, match="the slide is closed"):
        slide.read(0, Box(0, 0, 6, 4))


def test_a_box_without_pixels_gives_none(made: Path) -> None:
    with open_slide(made) as slide:
        assert slide.read(0, Box(5, 5, 1, 1)).shape == (0, 0, 3)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "missing/s.tiff"])
def test_names_that_nothing_has_are_refused_in_a_line(name: str) -> None:
    with pytest.raises(SlideError, match=r"no such file|cannot be read: File name too long"):
        open_slide(name)


def test_an_ordinary_picture_opens(tmp_path: Path) -> None:
    path = tmp_path / "roi.png"
    Image.fromarray(PIXELS).save(path)
    slide = open_slide(path)
    assert slide.reader == "pillow"
    np.testing.assert_array_equal(slide.read(0, Box(0, 0, 900, 700)), PIXELS)
    with pytest.raises(SlideError, match="`mpp`"):
        pixel_size_of(slide, path, None)
    assert pixel_size_of(slide, path, 0.5) == PixelSize(0.5, 0.5, "given by the user")


def write_tiff(path: Path, pixels: np.ndarray, **options: object) -> Path:
    tifffile.imwrite(path, pixels, **options)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize(
    ("pixels", "options", "message"),
    [
        (np.zeros((600, 600), np.uint16), {"photometric": "minisblack"}, "uint16, not 8-bit RGB"),
        (np.zeros((600, 600), np.uint8), {"photometric": "minisblack"}, "not an RGB image"),
        (np.zeros((4, 600, 600), np.uint8), {"ome": True, "metadata": {"axes": "CYX"}}, "C = 4"),
        (np.zeros((5, 600, 600, 3), np.uint8), {"ome": True, "metadata": {"axes": "ZYXS"}}, "Z = 5"),
    ],
    ids=["16-bit", "grey", "fluorescence", "z-stack"],
)
def test_other_kinds_of_image_are_refused(
    tmp_path: Path, pixels: np.ndarray, options: dict[str, object], message: str
) -> None:
    path = write_tiff(tmp_path / "other.ome.tif", pixels, tile=(256, 256), **options)
    with pytest.raises(SlideError, match=message):
        open_slide(path)


@pytest.mark.parametrize(("x", "y", "message"), [(352.78, 352.78, "implausible"), (0.5, 0.6, "not square")])
def test_unusable_pixel_sizes_are_refused_with_the_values(x: float, y: float, message: str) -> None:
    slide = ImageSlide(PIXELS, PixelSize(x, y, "test"))
    with pytest.raises(SlideError, match=rf"{message}.*`mpp`"):
        pixel_size_of(slide, Path("s.tiff"), None)
    assert pixel_size_of(slide, Path("s.tiff"), 0.5).source == "given by the user"


def test_a_dicom_folder_is_all_of_its_files(slides: Path) -> None:
    folder = slides / "dicom-cmu-1"
    assert len(slide_files(folder)) == 4
    assert slide_files(folder) == slide_files(next(folder.glob("*.dcm")))
    slide = open_slide(folder)
    assert (slide.levels[0].width, slide.levels[0].height) == (2220, 2967)
    slide.close()


def test_a_folder_of_two_dicom_slides_is_refused_and_each_can_be_named(slides: Path, tmp_path: Path) -> None:
    for file in (slides / "dicom-cmu-1").iterdir():
        content = file.read_bytes()
        at = content.index(b"\x20\x00\x0e\x00UI") + 20
        changed = content[:at] + (b"7" if content[at : at + 1] != b"7" else b"8") + content[at + 1 :]
        (tmp_path / f"a{file.name}").write_bytes(content)
        (tmp_path / f"b{file.name}").write_bytes(changed)
    with pytest.raises(SlideError, match="holds 2 DICOM slides"):
        open_slide(tmp_path)
    for letter in "ab":
        one = next(tmp_path.glob(f"{letter}*"))
        assert {file.name[0] for file in slide_files(one)} == {letter}
        slide = open_slide(one)
        assert (slide.levels[0].width, slide.levels[0].height) == (2220, 2967)
        slide.close()


@pytest.mark.parametrize("compression", ["jpeg", "deflate"])
def test_tiles_are_read_directly_only_where_every_pixel_is_openslides(tmp_path: Path, compression: str) -> None:
    path = write_slide(tmp_path / "s.tiff", PIXELS, levels=3, compression=compression)
    slide = open_slide(path)
    plain = OpenSlideReader(path)
    assert slide.reader == "tifffile"
    for index, level in enumerate(slide.levels):
        box = Box(-10, -10, level.width + 10, level.height + 10)
        np.testing.assert_array_equal(slide.read(index, box), plain.read(index, box))
    slide.close()
    plain.close()


def test_tiles_that_differ_are_left_to_openslide(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PageReader, "decoded", lambda self, index: np.zeros((256, 256, 3), np.uint8))
    slide = OpenSlideReader(made)
    candidate = Candidate.look(made)
    assert TileSlide.over(slide, candidate) is None
    candidate.close()
    slide.close()


def test_a_tile_that_cannot_be_decoded_is_named(slides: Path, tmp_path: Path) -> None:
    content = bytearray((slides / "CMU-1-Small-Region.svs").read_bytes())
    path = tmp_path / "cut.svs"
    path.write_bytes(content)
    slide = open_slide(path)
    assert isinstance(slide, TileSlide)
    page = slide.readers[0].page
    at = page.dataoffsets[30]
    content[at : at + 40] = b"\0" * 40
    path.write_bytes(content)
    with pytest.raises(SlideError, match=r"cut.svs: tile 30 cannot be decoded"):
        slide.read(0, Box(0, 0, 2220, 2967))
    slide.close()


def test_an_icc_profile_is_recorded(slides: Path) -> None:
    slide = open_slide(slides / "tcga-cr-7395-01a-01-ts1.svs")
    assert slide.icc_profile is not None
    assert len(slide.icc_profile) == 3144
    slide.close()


def test_an_icc_profile_is_applied_when_told() -> None:
    # sRGB with red and blue exchanged: a profile whose effect is known
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for old, new in ((b"rXYZ", b"????"), (b"bXYZ", b"rXYZ"), (b"????", b"bXYZ")):
        profile = profile.replace(old, new, 1)
    plain = ImageSlide(PIXELS, icc_profile=profile)
    box = Box(100, 100, 300, 260)
    managed = ColourManaged(plain).read(0, box).astype(int)
    assert np.abs(managed - plain.read(0, box)[..., ::-1]).max() <= 2
    assert (ColourManaged(plain).read(0, Box(-10, -10, 0, 0)) >= 254).all()


def test_applying_no_icc_profile_is_an_error() -> None:
    with pytest.raises(SlideError, match="no ICC profile"):
        ColourManaged(ImageSlide(PIXELS))


@pytest.mark.parametrize("layout", [{"rowsperstrip": 64}, {"tile": (64, 64)}])
def test_colours_other_than_rgb_are_refused(tmp_path: Path, layout: dict[str, Any]) -> None:
    path = tmp_path / "cmyk.tiff"
    tifffile.imwrite(path, np.zeros((128, 128, 4), np.uint8), photometric="separated", **layout)
    with pytest.raises(SlideError, match="SEPARATED, not RGB"):
        open_slide(path)


def test_a_file_that_must_be_decoded_in_huge_pieces_is_refused_before_it_is(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tiff"
    tifffile.imwrite(
        path, np.zeros((8192, 8192, 3), np.uint8), rowsperstrip=8192, compression="zlib", photometric="rgb"
    )
    assert path.stat().st_size < 1 << 20
    with pytest.raises(SlideError, match="pieces of 192 MiB"):
        open_slide(path)


@pytest.mark.parametrize("name", ["s.svs", "s.png"])
def test_an_empty_file_is_said_to_be_empty(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(SlideError, match=r"s\.\w+: the file is empty"):
        open_slide(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with names")
def test_a_thing_that_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.svs")
    with pytest.raises(SlideError, match="not a file"):
        open_slide(tmp_path / "pipe.svs")


def test_an_image_that_is_spread_over_several_files_is_refused(tmp_path: Path) -> None:
    parts = "".join(f'<TiffData IFD="0"><UUID FileName="p{i}.tif">urn:uuid:{i}</UUID></TiffData>' for i in range(2))
    xml = f'<OME UUID="urn:uuid:0"><Image><Pixels>{parts}</Pixels></Image></OME>'
    path = write_tiff(tmp_path / "p0.tif", PIXELS, photometric="rgb", tile=(256, 256), description=xml, metadata=None)
    with pytest.raises(SlideError, match="spread over several files; convert it"):
        open_slide(path)
    path = write_ome_tiff(tmp_path / "whole.ome.tif", PIXELS, 1.0)
    renamed = path.rename(tmp_path / "renamed.ome.tif")
    open_slide(renamed).close()


@pytest.mark.parametrize("format_", ["EPS", "PPM"])
def test_a_picture_of_another_kind_than_its_name_says_is_not_decoded(tmp_path: Path, format_: str) -> None:
    Image.fromarray(PIXELS[:64, :64]).save(tmp_path / "p.png", format_)
    with pytest.raises(SlideError, match="cannot identify"):
        open_slide(tmp_path / "p.png")


def test_a_picture_too_large_to_be_held_is_refused_by_its_header(tmp_path: Path) -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 9000, 9000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (tmp_path / "p.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I4sI", 0, b"IDAT", 0))
    with pytest.raises(SlideError, match="9000 x 9000 px is too large"):
        open_slide(tmp_path / "p.png")


def test_a_fluorescence_slide_of_many_files_is_refused_for_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "slide.mrxs"
    path.write_bytes(b"\xff\xd8")
    path.with_suffix("").mkdir()
    facts = path.with_suffix("") / "Slidedat.ini"
    facts.write_text("[GENERAL]\nSLIDE_TYPE = SLIDE_TYPE_FLUORESCENCE\n", encoding="utf-8-sig")
    with pytest.raises(SlideError, match="fluorescence slide; only bright-field"):
        open_slide(path)
    facts.write_text("[GENERAL]\nSLIDE_TYPE = SLIDE_TYPE_BRIGHTFIELD\n", encoding="utf-8-sig")
    with pytest.raises(SlideError, match="not a slide that can be read"):
        open_slide(path)


@pytest.mark.parametrize("folder", ["", "sub/"])
def test_the_images_that_a_key_file_names_are_part_of_the_slide(tmp_path: Path, folder: str) -> None:
    """Without them another slide of the same size would have the same fingerprint: a run would go on with it."""
    keys = (
        "NoLayers=1",
        "NoJpegColumns=1",
        "NoJpegRows=1",
        f"ImageFile = {folder}i.jpg",
        "MapFile=map.jpg",
        "SourceLens=10",
    )
    size = "PhysicalWidth=512000\nPhysicalHeight=512000"
    path = tmp_path / "slide.vms"
    (tmp_path / folder).mkdir(exist_ok=True)
    path.write_text("\n".join(("[Virtual Microscope Specimen]", *keys, size, "")))
    found = []
    for seed in (0, 1):
        pixels = tissue_like(512, 512, seed=seed)
        for name, part in ((f"{folder}i.jpg", pixels), ("map.jpg", pixels[::8, ::8].copy())):
            Image.fromarray(part).save(tmp_path / name, quality=90, subsampling=0, restart_marker_blocks=8)
        open_slide(path).close()
        (tmp_path / "beside.jpg").write_bytes(bytes([seed]))
        assert {file.name for file in slide_files(path)} == {"slide.vms", "i.jpg", "map.jpg"}
        found.append(slide_fingerprint(slide_files(path)))
    assert found[0] != found[1]
