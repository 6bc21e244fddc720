"""Which picture of a TIFF is the slide, and which of its directories are levels of it."""

from __future__ import annotations

import re
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from synthetic import MPP, Pages, halved, tissue_like, write_pages
from wsi_segment.errors import SlideError
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.slides import candidate as candidate_module
from wsi_segment.inference.slides.candidate import Candidate
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.inference.slides.readers.levels import shows_the_same
from wsi_segment.inference.slides.readers.segments import PageReader
from wsi_segment.inference.slides.slide import Slide

SLIDE = tissue_like(760, 1020)
HALF, QUARTER = halved(SLIDE), halved(SLIDE, 2)
LABEL, OTHER, LOOKALIKE = tissue_like(300, 300, seed=1), tissue_like(500, 600, seed=2), tissue_like(380, 510, seed=3)
REDUCED, STRIPS = {"subfiletype": 1}, {"tile": None, "rowsperstrip": 64}


def write_ome(path: Path, images: list[tuple[NDArray[Any], dict[str, Any], list[NDArray[Any]]]]) -> Path:
    """An OME-TIFF of several images, each with its metadata and its SubIFDs."""
    pages: Pages = []
    for pixels, metadata, below in images:
        pages.append((pixels, {"metadata": {"axes": "YXS", **metadata}, "subifds": len(below)}))
        pages += [(pixels, REDUCED) for pixels in below]
    return write_pages(path, pages, ome=True)


def sizes(slide: Slide) -> list[tuple[int, float]]:
    return [(level.width, level.downsample) for level in slide.levels]


def codes(slide: Slide) -> list[str]:
    return [doubt.code for doubt in slide.doubts]


@pytest.mark.parametrize(
    ("pages", "levels", "doubts"),
    [
        pytest.param([(LABEL, MPP), (SLIDE, MPP), (HALF, REDUCED)], 2, ["images-left-out"], id="label in tiles first"),
        pytest.param([(LABEL, STRIPS), (SLIDE, MPP)], 1, ["images-left-out"], id="label in strips first"),
        pytest.param([(LABEL, {"description": "label"}), (SLIDE, MPP)], 1, [], id="label with a name"),
        pytest.param([(HALF, REDUCED), (QUARTER, REDUCED), (SLIDE, MPP)], 3, [], id="levels before the slide"),
        pytest.param([(SLIDE, MPP), (HALF, {}), (QUARTER, {})], 3, [], id="levels without a mark"),
        pytest.param([(QUARTER, STRIPS), (SLIDE, MPP), (HALF, REDUCED)], 2, [], id="thumbnail in strips first"),
        pytest.param([(OTHER, MPP), (halved(OTHER), REDUCED), (SLIDE, MPP)], 1, ["images-left-out"], id="two areas"),
        pytest.param([(SLIDE, MPP), (SLIDE[::2, ::2], REDUCED)], 2, [], id="level of every second pixel"),
        pytest.param([(SLIDE, MPP), (HALF, {**REDUCED, "compression": "jpeg"})], 2, [], id="level in JPEG"),
        pytest.param([(SLIDE, MPP), (LOOKALIKE, REDUCED)], 1, ["images-left-out"], id="reduced page of another"),
        pytest.param([(SLIDE, MPP), (HALF[::-1], REDUCED)], 1, ["images-left-out"], id="reduced page upside down"),
        pytest.param([(SLIDE, MPP), (HALF * 0 + 240, REDUCED)], 1, ["images-left-out"], id="reduced page of nothing"),
        pytest.param([(tissue_like(1500, 700, 5), {"description": "macro"}), (SLIDE, MPP)], 1, [], id="larger macro"),
    ],
)
def test_the_largest_picture_is_the_slide_with_the_levels_that_show_it(
    tmp_path: Path, pages: list[Any], levels: int, doubts: list[str]
) -> None:
    contiguous: list[Any] = [(np.ascontiguousarray(page), own) for page, own in pages]
    slide = open_slide(write_pages(tmp_path / "s.tif", contiguous))
    np.testing.assert_array_equal(slide.read(0, slide.bounds), SLIDE)
    assert sizes(slide) == [(1020, 1.0), (510, 2.0), (255, 4.0)][:levels]
    assert slide.pixel_size is not None
    assert slide.pixel_size.mpp == 0.5
    assert codes(slide) == doubts
    slide.close()


@pytest.mark.parametrize("name", ["s.tif", "s.svs"])
def test_each_directory_is_parsed_once(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    described = {"description": "Aperio Image Library v10|AppMag = 20|MPP = 0.5"} if name == "s.svs" else {}
    pages: Pages = [(SLIDE, {**MPP, **described}), (HALF, REDUCED), (QUARTER, REDUCED)]
    path = write_pages(tmp_path / name, pages)
    parsed: list[int] = []
    parse = tifffile.TiffPage.__init__

    def counted(page: tifffile.TiffPage, *args: Any, **kwargs: Any) -> None:
        parse(page, *args, **kwargs)
        parsed.append(page.offset)

    monkeypatch.setattr(tifffile.TiffPage, "__init__", counted)
    open_slide(path).close()
    assert len(parsed) == len(set(parsed)) == 3


def test_a_doubt_lists_the_images_and_how_to_choose(tmp_path: Path) -> None:
    slide = open_slide(write_pages(tmp_path / "s.tif", [(OTHER, MPP), (SLIDE, MPP)]))
    slide.close()
    held = "0: 600 x 500 px, 1: 1020 x 760 px"
    said = f"image 1, the largest, is the slide; the file holds {held}; choose another as `image`"
    assert [doubt.message for doubt in slide.doubts] == [said]


@pytest.mark.parametrize(("number", "pixels"), [(0, OTHER), (1, SLIDE)])
def test_an_image_that_is_chosen_comes_with_its_own_levels_and_no_doubt(
    tmp_path: Path, number: int, pixels: NDArray[np.uint8]
) -> None:
    pages: Pages = [(OTHER, {}), (halved(OTHER), REDUCED), (SLIDE, MPP), (HALF, REDUCED)]
    slide = open_slide(write_pages(tmp_path / "s.tif", pages), image=number)
    np.testing.assert_array_equal(slide.read(0, slide.bounds), pixels)
    assert [downsample for _, downsample in sizes(slide)] == [1.0, 2.0]
    assert (slide.pixel_size is None) == (number == 0)
    assert not slide.doubts
    slide.close()


def test_images_of_one_size_are_not_chosen_between(tmp_path: Path) -> None:
    twin = tissue_like(760, 1020, seed=4)
    path = write_pages(tmp_path / "s.tif", [(SLIDE, MPP), (twin, MPP)])
    with pytest.raises(SlideError, match=r"several images of the same size \(0: 1020 x 760 px, 1: .*`image`"):
        open_slide(path)
    slide = open_slide(path, image=1)
    np.testing.assert_array_equal(slide.read(0, slide.bounds), twin)
    slide.close()


@pytest.mark.parametrize("number", [-1, 2])
def test_an_image_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path, number: int) -> None:
    path = write_pages(tmp_path / "s.tif", [(OTHER, MPP), (SLIDE, MPP)])
    with pytest.raises(SlideError, match=rf"`image` is {number}, the file holds 0: 600 x 500 px, 1: 1020 x 760 px"):
        open_slide(path, image=number)


def test_a_picture_is_its_only_image(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "s.tif", SLIDE, photometric="rgb")
    open_slide(tmp_path / "s.tif", image=0).close()
    from PIL import Image

    Image.fromarray(SLIDE).save(tmp_path / "s.png")
    open_slide(tmp_path / "s.png", image=0).close()
    with pytest.raises(SlideError, match="a file of this format is one slide"):
        open_slide(tmp_path / "s.png", image=1)


def test_a_largest_image_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    path = write_pages(tmp_path / "s.tif", [(HALF, MPP), (SLIDE.astype(np.uint16), MPP)])
    with pytest.raises(SlideError, match=r"uint16, not 8-bit RGB.*holds images 0: 510 x 380 px, 1: 1020 x 760 px"):
        open_slide(path)
    open_slide(path, image=0).close()


@pytest.mark.parametrize(
    ("images", "levels", "doubts"),
    [
        pytest.param([(LABEL, {"Name": "label image"}, []), (SLIDE, {"Name": "a"}, [HALF])], 2, [], id="label first"),
        pytest.param([(OTHER, {}, []), (SLIDE, {}, [HALF, QUARTER])], 3, ["images-left-out"], id="two areas"),
        pytest.param([(SLIDE, {}, [LOOKALIKE])], 1, [], id="SubIFD of another picture"),
        pytest.param([(HALF, {}, []), (SLIDE, {}, [])], 1, [], id="half as an image of its own"),
    ],
)
def test_the_largest_image_of_an_ome_tiff_is_the_slide(
    tmp_path: Path,
    images: list[tuple[NDArray[Any], dict[str, Any], list[NDArray[Any]]]],
    levels: int,
    doubts: list[str],
) -> None:
    size = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    other = {"PhysicalSizeX": 3.0, "PhysicalSizeY": 3.0}
    stated = [(pixels, {**(size if pixels is SLIDE else other), **own}, below) for pixels, own, below in images]
    slide = open_slide(write_ome(tmp_path / "s.ome.tif", stated))
    np.testing.assert_array_equal(slide.read(0, slide.bounds), SLIDE)
    assert len(slide.levels) == levels
    assert slide.pixel_size is not None
    assert slide.pixel_size.mpp == 0.5
    assert codes(slide) == doubts
    slide.close()


@pytest.mark.parametrize("options", [{"imagej": True, "metadata": {"axes": "ZYXS"}}, {"photometric": "rgb"}])
def test_a_stack_of_colour_planes_is_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    tifffile.imwrite(tmp_path / "s.tif", np.stack([HALF] * 3), **options)
    with pytest.raises(SlideError, match=r"not an RGB image \(I = 3\)"):
        open_slide(tmp_path / "s.tif")


def test_a_file_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[object] = []

    parse = tifffile.TiffFile

    def counted(*args: Any, **options: Any) -> tifffile.TiffFile:
        parsed.append(args)
        return parse(*args, **options)

    monkeypatch.setattr(tifffile, "TiffFile", counted)
    slide = open_slide(write_pages(tmp_path / "s.tif", [(SLIDE, MPP), (HALF, REDUCED)]))
    slide.read(1, slide.bounds)
    slide.close()
    assert len(parsed) == 1


def test_a_candidate_that_no_reader_took_gives_its_file_back(tmp_path: Path) -> None:
    candidate = Candidate.look(write_pages(tmp_path / "s.tif", [(SLIDE, MPP)]))
    assert len(candidate.images) == 1
    candidate.close()
    assert candidate.tiff is not None
    assert candidate.tiff.filehandle.closed


@pytest.mark.parametrize("thumbnail", [HALF, LABEL])
def test_a_sub_ifd_that_is_larger_than_its_page_is_the_slide(tmp_path: Path, thumbnail: NDArray[np.uint8]) -> None:
    pages: Pages = [(thumbnail, {"subifds": 1}), (SLIDE, MPP), (QUARTER, REDUCED)]
    slide = open_slide(write_pages(tmp_path / "s.tif", pages))
    np.testing.assert_array_equal(slide.read(0, slide.bounds), SLIDE)
    assert slide.pixel_size is not None
    assert slide.pixel_size.mpp == 0.5
    slide.close()


def test_ome_xml_of_other_pixels_than_those_of_its_page_is_refused(tmp_path: Path) -> None:
    path = write_ome(tmp_path / "s.ome.tif", [(SLIDE, {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}, [])])
    with tifffile.TiffFile(path) as tiff:
        xml = str(tiff.ome_metadata).replace('SizeX="1020"', 'SizeX="2040"')
    tifffile.tiffcomment(path, xml.encode())
    with pytest.raises(SlideError, match=r"its OME-XML is about 2040 x 760 px, the picture has 1020 x 760"):
        open_slide(path)


def test_a_physical_size_of_one_axis_counts_for_both(tmp_path: Path) -> None:
    path = write_ome(tmp_path / "s.ome.tif", [(SLIDE, {"PhysicalSizeX": 0.25}, [])])
    slide = open_slide(path)
    assert slide.pixel_size is not None
    assert (slide.pixel_size.x, slide.pixel_size.y, slide.pixel_size.source) == (0.25, 0.25, "OME-XML PhysicalSizeX")
    slide.close()


@pytest.mark.parametrize(
    "said",
    [
        '<TiffData IFD="0"><UUID FileName="other.ome.tif">urn:uuid:b</UUID></TiffData>',
        '<TiffData IFD="0"/></Pixels></Image><BinaryOnly MetadataFile="other.ome.tif"/><Image><Pixels>',
    ],
)
def test_an_ome_tiff_that_leaves_its_image_to_another_file_is_refused(tmp_path: Path, said: str) -> None:
    path = write_ome(tmp_path / "s.ome.tif", [(SLIDE, {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}, [])])
    with tifffile.TiffFile(path) as tiff:
        xml = re.sub(r"<TiffData.*?(/>|</TiffData>)", said, str(tiff.ome_metadata), count=1, flags=re.DOTALL)
    xml = re.sub(r' UUID="urn:uuid:[^"]*"', "", xml, count=1) if "BinaryOnly" not in said else xml
    tifffile.tiffcomment(path, xml.encode())
    with pytest.raises(SlideError, match=r"lies in, other.ome.tif; convert"):
        open_slide(path)


def two_ome_images(path: Path, pages: list[NDArray[np.uint8]], *said: str) -> Path:
    """An OME-TIFF whose XML states each of these images in these words of TiffData, at 0.5 and 0.25 µm."""
    images = ""
    for page, words in zip(pages, said, strict=False):
        mpp = 0.5 if page is SLIDE else 0.25
        size = f'SizeX="{page.shape[1]}" SizeY="{page.shape[0]}" SizeC="3" PhysicalSizeX="{mpp}" PhysicalSizeY="{mpp}"'
        images += f"<Image><Pixels {size}>{words}</Pixels></Image>"
    xml = f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{images}</OME>'
    return write_pages(path, [(page, {"description": xml} if page is pages[0] else {}) for page in pages])


@pytest.mark.parametrize("said", ["", "<TiffData/>", '<TiffData IFD="0"/>'])
def test_images_of_ome_xml_that_begin_in_one_directory_are_refused(tmp_path: Path, said: str) -> None:
    path = two_ome_images(tmp_path / "s.ome.tif", [SLIDE, OTHER], said, said)
    for image in (None, 0, 1):
        with pytest.raises(SlideError, match=r"has 2 images that begin in the same directory \(0\)"):
            open_slide(path, image)


def test_a_directory_that_is_no_number_is_refused(tmp_path: Path) -> None:
    path = two_ome_images(tmp_path / "s.ome.tif", [SLIDE], '<TiffData IFD="first"/>')
    with pytest.raises(SlideError, match=r"its OME-XML names a directory that is no number: .*'first'; write it again"):
        open_slide(path)


def test_planes_that_ome_xml_counts_beyond_the_file_take_no_memory(tmp_path: Path) -> None:
    path = two_ome_images(tmp_path / "s.ome.tif", [SLIDE], '<TiffData IFD="0"/>')
    with tifffile.TiffFile(path) as tiff:
        xml = str(tiff.ome_metadata).replace("<Pixels ", '<Pixels SizeT="1000000000" ')
    tifffile.tiffcomment(path, xml)
    tracemalloc.start()
    with pytest.raises(SlideError, match="T = 1000000000"):
        open_slide(path)
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()


def test_images_of_ome_xml_may_stand_in_another_order_than_their_directories(tmp_path: Path) -> None:
    path = two_ome_images(tmp_path / "s.ome.tif", [OTHER, SLIDE], '<TiffData IFD="0"/>', '<TiffData IFD="1"/>')
    with tifffile.TiffFile(path) as tiff:
        first, second = re.findall("<Image>.*?</Image>", str(tiff.ome_metadata))
    tifffile.tiffcomment(path, f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{second}{first}</OME>')
    for image, pixels, mpp in ((0, SLIDE, 0.5), (1, OTHER, 0.25)):
        with open_slide(path, image) as slide:
            np.testing.assert_array_equal(slide.read(0, slide.bounds), pixels)
            assert slide.pixel_size is not None
            assert slide.pixel_size.mpp == mpp


@pytest.mark.parametrize("first", [LABEL, OTHER])
def test_a_larger_picture_that_ome_xml_does_not_name_is_not_passed_over(
    tmp_path: Path, first: NDArray[np.uint8]
) -> None:
    slide = open_slide(two_ome_images(tmp_path / "s.ome.tif", [first, SLIDE], '<TiffData IFD="0"/>'))
    np.testing.assert_array_equal(slide.read(0, slide.bounds), SLIDE)
    assert (slide.pixel_size, codes(slide)) == (None, ["images-left-out"])
    slide.close()


def test_smaller_copies_that_ome_xml_does_not_name_are_no_other_images(tmp_path: Path) -> None:
    slide = open_slide(two_ome_images(tmp_path / "s.ome.tif", [SLIDE, HALF], '<TiffData IFD="0"/>'))
    assert (slide.bounds.width, codes(slide)) == (1020, [])
    slide.close()


APERIO = "Aperio Image Library v11\n1020x760 [0,0 1020x760] (256x256)|AppMag = 20|MPP = 0.5"


@pytest.mark.parametrize(
    "pages",
    [
        pytest.param([SLIDE, SLIDE[::-1], HALF, HALF[::-1]], id="planes of each size together"),
        pytest.param([SLIDE, HALF, SLIDE[::-1], HALF[::-1]], id="one plane after the other"),
    ],
)
def test_focal_planes_of_an_aperio_slide_are_not_chosen_between(tmp_path: Path, pages: list[NDArray[Any]]) -> None:
    path = write_pages(tmp_path / "s.svs", [(page, {"description": APERIO}) for page in pages])
    with pytest.raises(SlideError, match=r"several images of the same size .*; choose one as `image`"):
        open_slide(path)
    slide = open_slide(path, 1)
    assert sizes(slide) == [(1020, 1.0), (510, 2.0)]
    np.testing.assert_array_equal(slide.read(0, slide.bounds), SLIDE[::-1])
    slide.close()


@pytest.mark.parametrize("alpha", [0, 1])
@pytest.mark.parametrize("planes", [1, 2])
def test_a_picture_that_its_alpha_hides_is_refused(tmp_path: Path, alpha: int, planes: int) -> None:
    pixels = np.dstack([SLIDE, np.full(SLIDE.shape[:2], alpha, np.uint8)])
    options: dict[str, Any] = {"extrasamples": ["unassalpha"]}
    if planes == 2:
        pixels, options = np.moveaxis(pixels, -1, 0), {**options, "planarconfig": "separate"}
    path = write_pages(tmp_path / "s.tif", [(pixels, {**MPP, **options})])
    with pytest.raises(SlideError, match=r"alpha channel hides all of it .* write it without alpha"):
        open_slide(path)


def test_a_hidden_png_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([SLIDE, np.zeros(SLIDE.shape[:2], np.uint8)])).save(tmp_path / "s.png")
    with pytest.raises(SlideError, match=r"s.png: .*alpha channel hides all of it"):
        open_slide(tmp_path / "s.png")


def test_a_small_opaque_part_is_enough(tmp_path: Path) -> None:
    alpha = np.zeros(SLIDE.shape[:2], np.uint8)
    alpha[300:420, 500:640] = 255
    path = write_pages(tmp_path / "s.tif", [(np.dstack([SLIDE, alpha]), {**MPP, "extrasamples": ["unassalpha"]})])
    slide = open_slide(path)
    np.testing.assert_array_equal(slide.read(0, Box(500, 300, 640, 420)), SLIDE[300:420, 500:640])
    slide.close()


def test_very_many_pictures_are_not_all_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def compare(fine: PageReader, coarse: PageReader) -> bool:
        compared.append(coarse)
        return shows_the_same(fine, coarse)

    monkeypatch.setattr(candidate_module, "_MOST_UNLIKE", 6)
    monkeypatch.setattr(candidate_module, "shows_the_same", compare)
    others = [(tissue_like(190, 255, seed=seed), MPP) for seed in range(1, 9)]
    slide = open_slide(write_pages(tmp_path / "many.tiff", [*others, (SLIDE, MPP), (HALF, {})]))
    try:
        assert sizes(slide) == [(1020, 1), (510, 2)]
        assert len(compared) == 1 + 6
    finally:
        slide.close()
