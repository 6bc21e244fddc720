"""Pixel sizes as files state them, in every unit and place, and what is said where two statements differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from synthetic import tissue_like
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.inference.slides.readers.pixel_size import decide, from_aperio, from_power, microns
from wsi_segment.inference.slides.slide import PixelSize, Slide

PIXELS = tissue_like(300, 400)
TILED = {"photometric": "rgb", "tile": (256, 256), "compression": "deflate"}
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
    [("micron", 2), ("um", 2), ("\\u00B5m", 2), ("nm", 0.002), ("mm", 2000), ("cm", 20_000), ("inch", 50_800)],
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


def test_an_objective_power_is_doubted_only_where_it_is_another_one() -> None:
    power = from_power("40")
    assert power is not None
    size, doubts = decide([PixelSize(0.22, 0.22, "openslide.mpp-x/y"), power])
    assert (size, doubts) == (PixelSize(0.22, 0.22, "openslide.mpp-x/y"), ())
    size, doubts = decide([PixelSize(0.5, 0.5, "openslide.mpp-x/y"), power])
    assert size is not None
    assert "objective power (approximate): 0.25 µm" in size.source
    assert "where that is right give it as `mpp`" in doubts[0].message


def test_no_statement_is_no_size() -> None:
    assert decide([]) == (None, ())
