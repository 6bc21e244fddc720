"""Pixel sizes as files state them, in every unit and place, and what is said where two statements differ."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from synthetic import tissue_like
from wsi_segment.errors import SlideError
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.inference.slides.readers.pixel_size import decide, from_aperio, from_power, microns
from wsi_segment.inference.slides.slide import PixelSize, Slide, pixel_size_of

PIXELS = tissue_like(300, 400)
TILED: dict[str, Any] = {"photometric": "rgb", "tile": (256, 256), "compression": "deflate"}
HALF_UM = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}


def opened(path: Path, **options: Any) -> Slide:
    tifffile.imwrite(path, PIXELS, **{"photometric": "rgb", **options})
    slide = open_slide(path)
    slide.close()
    return slide


def per_cm(mpp: float) -> dict[str, Any]:
    return {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}


@pytest.mark.parametrize(
    ("unit", "value"),
    [
        ("Å", 5000.0), ("\u212b", 5000.0), ("pm", 500_000.0), ("nm", 500.0), ("µm", 0.5), ("\u03bcm", 0.5),
        ("mm", 5e-4), ("cm", 5e-5), ("m", 5e-7), ("in", 0.5 / 25_400), ("pt", 0.5 / 352.7778), ("thou", 0.5 / 25.4),
    ],
)  # fmt: skip
def test_every_unit_of_length_is_read(tmp_path: Path, unit: str, value: float) -> None:
    size = {"PhysicalSizeX": value, "PhysicalSizeY": value, "PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    slide = opened(tmp_path / "s.ome.tif", metadata={"axes": "YXS", **size}, **TILED, **per_cm(2.0))
    assert slide.pixel_size is not None
    assert slide.pixel_size.x == pytest.approx(0.5)
    assert slide.pixel_size.source.startswith("OME-XML PhysicalSize")


@pytest.mark.parametrize("unit", ["pixel", "reference frame", "Mm", "furlong", ""])
def test_what_is_no_known_length_states_nothing(unit: str) -> None:
    assert microns(1, unit) is None


@pytest.mark.parametrize("value", ["0", "-0.5", "nan", "inf", "wide", None])
def test_what_is_no_positive_number_states_nothing(value: str | None) -> None:
    assert microns(value, "µm") is None


@pytest.mark.parametrize(("code", "count", "value"), [(3, 2, b"\3\0\3\0"), (2, 3, b"cm\0\0"), (5, 1, b"\x08\0\0\0")])
def test_a_resolution_unit_of_another_type_states_nothing(tmp_path: Path, code: int, count: int, value: bytes) -> None:
    path = tmp_path / "s.tif"
    tifffile.imwrite(path, PIXELS, metadata=None, **TILED, **per_cm(0.5))
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages.first.tags["ResolutionUnit"].offset + 2
    content = bytearray(path.read_bytes())
    content[place : place + 10] = struct.pack("<HI", code, count) + value
    path.write_bytes(content)
    with open_slide(path) as slide:
        assert slide.pixel_size is None


@pytest.mark.parametrize("metadata", [{}, {"PhysicalSizeX": 0.5}, {"PhysicalSizeX": 0.0, "PhysicalSizeY": 0.0}])
def test_an_ome_tiff_that_states_no_size_has_that_of_its_tags(tmp_path: Path, metadata: dict[str, Any]) -> None:
    slide = opened(tmp_path / "s.ome.tif", metadata={"axes": "YXS", **metadata}, **TILED, **per_cm(0.7))
    assert slide.pixel_size is not None
    assert slide.pixel_size.x == pytest.approx(0.7)
    assert slide.pixel_size.source == "TIFF resolution"


def test_tags_of_both_axes_count_before_the_physical_size_of_one_which_is_said(tmp_path: Path) -> None:
    slide = opened(tmp_path / "s.ome.tif", metadata={"axes": "YXS", "PhysicalSizeX": 0.5}, **TILED, **per_cm(0.7))
    assert slide.pixel_size is not None
    assert slide.pixel_size.x == pytest.approx(0.7)
    (doubt,) = slide.doubts
    assert "OME-XML PhysicalSizeX says 0.5" in doubt.message


@pytest.mark.parametrize(
    ("tags", "said", "doubts"),
    [
        (per_cm(0.5), "", 0),
        (per_cm(0.505), "", 0),
        (per_cm(0.52), " (differs from TIFF resolution: 0.52 µm)", 0),
        (per_cm(0.6), " (differs from TIFF resolution: 0.6 µm)", 1),
        ({"resolution": (300, 300), "resolutionunit": "INCH"}, " (differs from TIFF resolution: 84.67 µm)", 1),
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, "", 0),
        ({"resolution": (1, 1), "resolutionunit": "NONE"}, "", 0),
    ],
)
def test_another_statement_is_named_from_2_percent_on_and_doubted_from_10(
    tmp_path: Path, tags: dict[str, Any], said: str, doubts: int
) -> None:
    slide = opened(tmp_path / "s.ome.tif", metadata={"axes": "YXS", **HALF_UM}, **TILED, **tags)
    assert slide.pixel_size is not None
    assert slide.pixel_size.mpp == 0.5
    assert slide.pixel_size.source == f"OME-XML PhysicalSize{said}"
    assert [doubt.code for doubt in slide.doubts] == ["pixel-size-differs"] * doubts


def test_planar_colours_keep_the_size_of_the_xml_and_the_pixels(tmp_path: Path) -> None:
    planes = np.ascontiguousarray(PIXELS.transpose(2, 0, 1))
    for name, layout in (("tiles", {"tile": (256, 256)}), ("strips", {"rowsperstrip": 50})):
        path = tmp_path / f"{name}.ome.tif"
        metadata = {"axes": "SYX", **HALF_UM}
        tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate", metadata=metadata, **layout)
        slide = open_slide(path)
        assert slide.pixel_size is not None
        assert slide.pixel_size.mpp == 0.5
        np.testing.assert_array_equal(slide.read(0, slide.bounds), PIXELS)
        slide.close()


@pytest.mark.parametrize(
    ("unit", "per_unit"),
    [
        ("micron", 2),
        ("um", 2),
        ("\\u00B5m", 2),
        ("\\u00b5m", 2),
        ("nm", 0.002),
        ("mm", 2000),
        ("cm", 20_000),
        ("inch", 50_800),
    ],
)
def test_imagej_keeps_the_unit_in_its_description(tmp_path: Path, unit: str, per_unit: float) -> None:
    metadata = {"unit": unit, "axes": "YXS"}
    slide = opened(tmp_path / "s.tif", imagej=True, resolution=(per_unit, per_unit), metadata=metadata)
    assert slide.pixel_size is not None
    assert slide.pixel_size.x == pytest.approx(0.5)
    assert slide.pixel_size.source == "ImageJ resolution"


def test_an_imagej_picture_in_pixels_states_nothing(tmp_path: Path) -> None:
    metadata = {"unit": "pixel", "axes": "YXS"}
    assert opened(tmp_path / "s.tif", imagej=True, resolution=(1, 1), metadata=metadata).pixel_size is None


def test_a_decimal_comma_is_read_as_openslide_reads_it() -> None:
    stated = from_aperio("Aperio Image Library v10\r\n46000x32914 |AppMag = 20|MPP = 0,4990|Left = 25,6")
    assert [(size.x, size.source) for size in stated] == [
        (0.499, "aperio.MPP"),
        (0.5, "10 / objective power (approximate)"),
    ]
    assert from_aperio("Hamamatsu |MPP = 0.25") == []


@pytest.mark.parametrize("tiles", [{"tile": (240, 240), "compression": "jpeg"}, {"rowsperstrip": 64}])
@pytest.mark.parametrize(
    ("sizes", "used"),
    [
        ("46920x33014 [0,100 400x300] (240x240)", True),
        ("800x600 [0,0 800x600] (240x240)", False),  # a program has halved the picture and kept the text
        ("800x600 [0,0 800x600] (240x240) -> 400x300", False),
        ("800x600 [50,50 400x300] (240x240) JPEG/RGB Q=70;Aperio Image Library v9\r\n900x700 [0,0 800x600]", True),
        ("800x900 [0,0 800x900] (240x240)", True),  # was cut out
        ("420x315 [0,0 412x309] (240x240)", True),
        ("100x75 [0,0 100x75] (240x240)", False),
        ("", True),
    ],
)
def test_an_aperio_description_of_a_picture_of_another_size_states_nothing(
    tmp_path: Path, tiles: dict[str, Any], sizes: str, used: bool
) -> None:
    description = f"Aperio Image Library v11.2.1\r\n{sizes} JPEG/RGB Q=70|AppMag = 20|MPP = 0.5"
    slide = opened(tmp_path / "s.svs", description=description, metadata=None, **tiles)
    if used:
        assert slide.pixel_size is not None
        assert (slide.pixel_size.mpp, slide.doubts) == (0.5, ())
        return
    assert slide.pixel_size is None
    assert [doubt.code for doubt in slide.doubts] == ["pixel-size-differs"]
    with pytest.raises(SlideError, match=r"it is stated of a picture of .* px, and this one has 400 x 300; give it"):
        pixel_size_of(slide, tmp_path / "s.svs", None)
    assert pixel_size_of(slide, tmp_path / "s.svs", 1.0).mpp == 1.0


def test_tags_count_where_an_aperio_description_is_about_another_size(tmp_path: Path) -> None:
    description = "Aperio Image Library v11.2.1\r\n800x600 [0,0 800x600] (240x240)|MPP = 0.5"
    slide = opened(tmp_path / "s.tif", description=description, metadata=None, rowsperstrip=64, **per_cm(1.0))
    assert slide.pixel_size is not None
    assert slide.pixel_size.mpp == pytest.approx(1.0)
    assert slide.pixel_size.source == "TIFF resolution"


def test_an_objective_power_is_doubted_only_where_it_is_another_one() -> None:
    power = from_power("40")
    assert power is not None
    size, doubts = decide([PixelSize(0.22, 0.22, "openslide.mpp-x/y"), power])
    assert (size, doubts) == (PixelSize(0.22, 0.22, "openslide.mpp-x/y"), ())
    size, doubts = decide([PixelSize(0.5, 0.5, "openslide.mpp-x/y"), power])
    assert size is not None
    assert "objective power (approximate): 0.25 µm" in size.source
    assert "where that is right give it as `mpp`" in doubts[0].message


@pytest.mark.parametrize(("mpp", "doubts"), [(0.05, 1), (0.075, 1), (0.115, 0), (0.25, 0), (0.01, 0)])
def test_a_size_that_may_be_a_tenth_of_the_true_one_is_doubted(tmp_path: Path, mpp: float, doubts: int) -> None:
    slide = opened(tmp_path / "s.tif", metadata=None, **TILED, **per_cm(mpp))
    assert slide.pixel_size is not None
    assert slide.pixel_size.mpp == pytest.approx(mpp)
    assert [doubt.code for doubt in slide.doubts] == ["pixel-size-differs"] * doubts
    assert all(f"where that is {10 * mpp:.4g} give it as `mpp`" in doubt.message for doubt in slide.doubts)


@pytest.mark.parametrize(
    ("options", "doubts"),
    [
        ({"metadata": {"axes": "YXS", "PhysicalSizeX": 1.0, "PhysicalSizeY": 1.0}}, 1),
        ({"metadata": {"axes": "YXS", "PhysicalSizeX": 1.0, "PhysicalSizeY": 1.0}, **per_cm(1.0)}, 1),
        ({"metadata": {"axes": "YXS", "PhysicalSizeX": 1.001, "PhysicalSizeY": 1.001}}, 0),
        ({"metadata": {"axes": "YXS"}, **per_cm(1.0)}, 0),
    ],
)
def test_one_micron_of_ome_xml_is_doubted_since_programs_write_it_that_know_no_size(
    tmp_path: Path, options: dict[str, Any], doubts: int
) -> None:
    slide = opened(tmp_path / "s.ome.tif", **TILED, **options)
    assert slide.pixel_size is not None
    assert slide.pixel_size.mpp == pytest.approx(1, abs=0.01)
    assert [doubt.code for doubt in slide.doubts] == ["pixel-size-differs"] * doubts
    assert all("1 µm per pixel" in doubt.message for doubt in slide.doubts)


def test_one_micron_of_imagej_is_doubted_too() -> None:
    _, (doubt,) = decide([PixelSize(1.0, 1.0, "ImageJ resolution")])
    assert "give the true one as `mpp`, 1 if that is right" in doubt.message


def test_no_statement_is_no_size() -> None:
    assert decide([]) == (None, ())
