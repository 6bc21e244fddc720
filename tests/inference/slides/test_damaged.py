"""Files that are damaged in part are refused, never shown with what a decoder makes up."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageFile

from synthetic import MPP, halved, tissue_like, write_pages
from wsi_segment.errors import SlideError
from wsi_segment.inference.slides.description import describe
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.inference.slides.readers.icc import ColourManaged

PIXELS = tissue_like(700, 900)
JPEG = {"compression": "jpeg", "compressionargs": {"level": 90}}


def tile_of(path: Path, index: int) -> tuple[int, int]:
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        return int(page.dataoffsets[index]), int(page.databytecounts[index])


def test_a_jpeg_tile_that_ends_early_is_not_filled_with_grey(tmp_path: Path) -> None:
    path = write_pages(tmp_path / "s.tif", [(PIXELS, {**MPP, **JPEG})])
    offset, count = tile_of(path, 5)
    content = bytearray(path.read_bytes())
    content[offset + count // 2 : offset + count] = bytes(count - count // 2)
    path.write_bytes(content)
    slide = open_slide(path)
    with pytest.raises(SlideError, match="tile 5 cannot be decoded: its JPEG ends early"):
        slide.read(0, slide.bounds)
    slide.close()


def test_a_jpeg_tile_without_a_mark_of_its_end_is_read(tmp_path: Path) -> None:
    path = write_pages(tmp_path / "s.tif", [(PIXELS, {**MPP, **JPEG})])
    slide = open_slide(path)
    expected = slide.read(0, slide.bounds)
    slide.close()
    offset, count = tile_of(path, 5)
    content = bytearray(path.read_bytes())
    assert content[offset + count - 2 : offset + count] == b"\xff\xd9"
    content[offset + count - 2 : offset + count] = b"\0\0"
    path.write_bytes(content)
    slide = open_slide(path)
    np.testing.assert_array_equal(slide.read(0, slide.bounds), expected)
    slide.close()


def test_a_picture_that_is_cut_off_is_refused_whatever_a_program_has_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # as scripts that train networks like to
    for name in ("whole.png", "whole.jpg"):
        Image.fromarray(PIXELS).save(tmp_path / name)
        open_slide(tmp_path / name).close()
        content = (tmp_path / name).read_bytes()
        (tmp_path / f"cut-{name}").write_bytes(content[: len(content) // 2])
        with pytest.raises(SlideError, match="truncated"):
            open_slide(tmp_path / f"cut-{name}")
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_a_damaged_icc_profile_matters_to_those_alone_who_apply_it(tmp_path: Path) -> None:
    for name, description in (("s.tif", None), ("s.svs", "Aperio Image Library v10|AppMag = 20|MPP = 0.5")):
        form: dict[str, Any] = {"tile": (256, 256), "photometric": "rgb", "metadata": None, "description": description}
        tifffile.imwrite(tmp_path / name, PIXELS, iccprofile=b"\0" * 200, **form)
        with open_slide(tmp_path / name) as slide:
            np.testing.assert_array_equal(slide.read(0, slide.bounds), PIXELS)
            with pytest.raises(SlideError, match="ICC profile cannot be applied"):
                ColourManaged(slide)


def test_a_file_that_ends_within_a_tile_is_cut_off(tmp_path: Path) -> None:
    path = write_pages(tmp_path / "s.tif", [(PIXELS, {**MPP, **JPEG})])
    with tifffile.TiffFile(path, mode="r+") as tiff:  # as if the tile had lain at the end of a longer file
        offsets = list(tiff.pages.first.dataoffsets)
        offsets[5] = path.stat().st_size - 100
        tiff.pages.first.tags["TileOffsets"].overwrite(offsets)
    with pytest.raises(SlideError, match=r"cut off: tile 5 has 100 of its \d+ bytes"), open_slide(path) as slide:
        slide.read(0, slide.bounds)


def test_pages_that_follow_each_other_in_a_circle_are_refused_at_once(tmp_path: Path) -> None:
    path = write_pages(tmp_path / "s.tif", [(PIXELS, MPP), (halved(PIXELS), {"subfiletype": 1})])
    with tifffile.TiffFile(path) as tiff:
        first, last = (page.aspage() for page in tiff.pages)
        following = last.offset + 2 + 12 * len(last.tags)
        back = first.offset
    content = bytearray(path.read_bytes())
    content[following : following + 4] = struct.pack("<I", back)
    path.write_bytes(content)
    with pytest.raises(SlideError, match="its pages follow each other in a circle"):
        open_slide(path)
    assert "circle" in str(describe(path).refused)


@pytest.mark.parametrize(
    ("tag", "value", "message"),
    [
        ("ImageWidth", 0, "claims to have 0 x 700 px"),
        ("ImageWidth", 700, "has 12 tiles, its size asks for 9"),
        ("ImageLength", 100, "has 12 tiles, its size asks for 4"),
    ],
)
@pytest.mark.parametrize("levels", [(), (halved(PIXELS),)], ids=["alone", "before a level"])
def test_a_size_that_its_tiles_contradict_is_refused(
    tmp_path: Path, tag: str, value: int, message: str, levels: tuple[np.ndarray, ...]
) -> None:
    path = write_pages(tmp_path / "s.tif", [(PIXELS, MPP), *((level, {**MPP, "subfiletype": 1}) for level in levels)])
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages.first.tags[tag].overwrite(value)
    with pytest.raises(SlideError, match=message):
        open_slide(path)
    assert message in str(describe(path).refused)


@pytest.mark.parametrize("layout", [{}, {"tile": None, "rowsperstrip": 64}], ids=["tiles", "strips"])
@pytest.mark.parametrize("tag", ["ByteCounts", "Offsets"])
def test_a_list_of_tiles_or_strips_that_ends_early_leaves_nothing_white(
    tmp_path: Path, layout: dict[str, Any], tag: str
) -> None:
    path = write_pages(tmp_path / "s.tif", [(PIXELS, {**MPP, **layout})])
    with tifffile.TiffFile(path) as tiff:
        found = tiff.pages.first.tags[f"{'Strip' if layout else 'Tile'}{tag}"]
        count, place = found.count, found.offset + 4
    content = bytearray(path.read_bytes())
    content[place : place + 4] = struct.pack("<I", count - 3)
    path.write_bytes(content)
    with pytest.raises(SlideError, match=f"says where {count - 3} of its {count} (tiles|strips) lie"):
        open_slide(path)


@pytest.mark.parametrize("layout", [{}, {"tile": None, "rowsperstrip": 64}], ids=["tiles", "strips"])
def test_byte_counts_that_are_missing_are_called_so(tmp_path: Path, layout: dict[str, Any]) -> None:
    path = write_pages(tmp_path / "s.tif", [(PIXELS, {**MPP, **layout})])
    name, kind = ("StripByteCounts", "11 strips") if layout else ("TileByteCounts", "12 tiles")
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages.first.tags[name].offset
    content = bytearray(path.read_bytes())
    content[place : place + 2] = struct.pack("<H", 65000)
    path.write_bytes(content)
    with pytest.raises(SlideError, match=f"lacks {name}, the sizes of its {kind}; write it again"):
        open_slide(path)


@pytest.mark.parametrize("compression", [None, "packbits"])
def test_a_predictor_that_libraries_follow_or_ignore_is_refused(tmp_path: Path, compression: str | None) -> None:
    form: dict[str, Any] = {"tile": None, "rowsperstrip": 64, "compression": compression}
    path = write_pages(tmp_path / "s.tif", [(PIXELS, {**MPP, **form, "extratags": [(65000, "H", 1, 2, True)]})])
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages.first.tags[65000].offset
    content = bytearray(path.read_bytes())
    content[place : place + 2] = struct.pack("<H", 317)
    path.write_bytes(content)
    with pytest.raises(SlideError, match="its Predictor tag is 2"):
        open_slide(path)


def test_a_height_that_leaves_out_strips_is_refused(tmp_path: Path) -> None:
    path = write_pages(tmp_path / "s.tif", [(PIXELS, {**MPP, "tile": None, "rowsperstrip": 64})])
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages.first.tags["ImageLength"].overwrite(100)
    with pytest.raises(SlideError, match="has 11 strips, its size asks for 2"):
        open_slide(path)


def test_a_damaged_label_leaves_the_slide_as_it_is(tmp_path: Path) -> None:
    label = np.random.default_rng(0).integers(0, 255, PIXELS.shape, np.uint8)  # of many bytes
    slide = np.full((1000, 1000, 3), 200, np.uint8)
    form = {"compression": "deflate"}
    path = write_pages(tmp_path / "s.tif", [(slide, {**MPP, **form}), (label, {"description": "label", **form})])
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[1].aspage().tags["ImageWidth"].overwrite(700)
    with open_slide(path) as opened:
        np.testing.assert_array_equal(opened.read(0, opened.bounds), slide)


@pytest.mark.parametrize("name", ["s.tif", "s.svs"])
@pytest.mark.parametrize(("code", "field"), [(256, "imagewidth"), (259, "compression"), (322, "tilewidth")])
def test_several_numbers_where_a_tag_has_one_are_refused(tmp_path: Path, name: str, code: int, field: str) -> None:
    described = {"description": "Aperio Image Library v10|AppMag = 20|MPP = 0.5"} if name == "s.svs" else {}
    path = write_pages(tmp_path / name, [(PIXELS, {**MPP, **described})])
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages.first.tags[code].offset + 4
    content = bytearray(path.read_bytes())
    content[place : place + 8] = struct.pack("<II", 3, 8)
    path.write_bytes(content)
    with pytest.raises(SlideError, match=rf"{field} of directory 0 is \(.*not a number|not a slide that can be read"):
        open_slide(path)


def test_an_aperio_tile_that_openslide_cannot_decode_is_one_line(tmp_path: Path) -> None:
    described = {"description": "Aperio Image Library v10|AppMag = 20|MPP = 0.5"}
    path = write_pages(tmp_path / "s.svs", [(PIXELS, {**MPP, **JPEG, **described})])
    offset, count = tile_of(path, 0)
    content = bytearray(path.read_bytes())
    content[offset + count // 2 : offset + count] = bytes(count - count // 2)
    path.write_bytes(content)
    with open_slide(path) as slide:
        for _ in range(2):  # OpenSlide fails at every question after its first error
            with pytest.raises(SlideError, match=r"cannot be (read|decoded)"):
                slide.read(0, slide.bounds)


@pytest.mark.parametrize(
    ("page", "tag", "value", "message"),
    [
        (0, "ImageLength", 4, "has 12 tiles, its size asks for 4"),
        (0, "PhotometricInterpretation", 30, "colours are 30, not RGB"),
        (0, "PlanarConfiguration", 8, "its PlanarConfiguration is 8"),
        (1, "TileWidth", 1 << 19, "is stored in pieces of"),
    ],
)
def test_a_tag_of_an_aperio_slide_that_is_damaged_is_one_line(
    tmp_path: Path, page: int, tag: str, value: int, message: str
) -> None:
    described = {"description": "Aperio Image Library v10|AppMag = 20|MPP = 0.5"}
    pages = [(PIXELS, {**MPP, **JPEG, **described}), (halved(PIXELS), {**JPEG, "subfiletype": 1})]
    path = write_pages(tmp_path / "s.svs", pages)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[page].aspage().tags[tag].overwrite(value)
    with pytest.raises(SlideError, match=f"{message}|not a slide that can be read"):
        open_slide(path)


def test_a_picture_whose_tiles_all_lack_bytes_is_no_white_slide(tmp_path: Path) -> None:
    path = write_pages(tmp_path / "s.tif", [(PIXELS, MPP)])
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages.first.tags["TileByteCounts"].overwrite([0] * 12)
    with pytest.raises(SlideError, match="holds no pixels: its 12 tiles are said to have 0 bytes"):
        open_slide(path)


def test_colours_that_are_not_multiplied_by_alpha_though_the_file_says_so_are_refused(tmp_path: Path) -> None:
    alpha = np.full(PIXELS.shape[:2], 255, np.uint8)
    alpha[:300] = 128
    path = write_pages(tmp_path / "s.tif", [(np.dstack([PIXELS, alpha]), {**MPP, "extrasamples": ["assocalpha"]})])
    slide = open_slide(path)
    with pytest.raises(SlideError, match="says that its colours are multiplied by alpha"):
        slide.read(0, slide.bounds)
    slide.close()


def test_a_plain_tiff_under_the_name_of_another_format_is_read(tmp_path: Path) -> None:
    path = write_pages(tmp_path / "s.tif", [(PIXELS, MPP), (halved(PIXELS), {"subfiletype": 1})])
    for suffix in (".ndpi", ".scn", ".bif", ".mrxs", ".svs"):
        other = Path(shutil.copy(path, tmp_path / f"s{suffix}"))
        slide = open_slide(other)
        np.testing.assert_array_equal(slide.read(0, slide.bounds), PIXELS)
        assert len(slide.levels) == 2
        slide.close()


@pytest.mark.parametrize("name", ["zarr.json", ".zgroup"])
def test_a_zarr_store_is_called_what_it_is(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{}")
    with pytest.raises(SlideError, match="a Zarr store, such as a mask"):
        open_slide(tmp_path)


@pytest.mark.parametrize("compression", [None, "deflate", "jpeg"])
@pytest.mark.parametrize("stored", [{"tile": (256, 256)}, {"tile": None, "rowsperstrip": 64}])
def test_a_tile_or_strip_that_lies_in_the_header_is_no_picture(
    tmp_path: Path, compression: str | None, stored: dict[str, Any]
) -> None:
    path = write_pages(tmp_path / "s.tif", [(PIXELS, {**MPP, **stored, "compression": compression})])
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tag = tiff.pages.first.tags["TileOffsets" if stored["tile"] else "StripOffsets"]
        tag.overwrite([0 if index == 5 else offset for index, offset in enumerate(tag.value)])
    with pytest.raises(SlideError, match=r"tile 5 lies in the file's header, .* the file is damaged, copy it again"):
        open_slide(path)


@pytest.mark.parametrize("moved", [-1, 1, -100_000])
def test_tiles_without_compression_that_overlap_are_no_picture(tmp_path: Path, moved: int) -> None:
    path = write_pages(tmp_path / "s.tif", [(PIXELS, {**MPP, "compression": None})])
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tag = tiff.pages.first.tags["TileOffsets"]
        tag.overwrite([offset + moved if index == 5 else offset for index, offset in enumerate(tag.value)])
    with pytest.raises(SlideError, match=r"tiles [45] and [56] overlap in the file; it is damaged, copy it again"):
        open_slide(path)


def test_tiles_of_a_level_are_looked_at_too(tmp_path: Path) -> None:
    level = halved(PIXELS), {"subfiletype": 1, "compression": None}
    path = write_pages(tmp_path / "s.tif", [(PIXELS, {**MPP, "compression": None, "subifds": 1}), level])
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tag = tiff.pages.first.pages[0].aspage().tags["TileOffsets"]  # type: ignore[index]
        tag.overwrite([offset + 100 if index == 1 else offset for index, offset in enumerate(tag.value)])
    with pytest.raises(SlideError, match=r"tiles 1 and 2 overlap in the file; it is damaged, copy it again"):
        open_slide(path)


def test_tiles_of_one_picture_may_share_their_bytes(tmp_path: Path) -> None:
    pixels = PIXELS.copy()
    pixels[:, :512] = 240
    path = write_pages(tmp_path / "s.tif", [(pixels, {**MPP, "compression": None})])
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tag = tiff.pages.first.tags["TileOffsets"]
        tag.overwrite([tag.value[0] if index in (1, 5) else offset for index, offset in enumerate(tag.value)])
    with open_slide(path) as slide:
        np.testing.assert_array_equal(slide.read(0, slide.bounds), pixels)
