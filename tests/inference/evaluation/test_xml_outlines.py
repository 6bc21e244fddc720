"""Outlines in XML of ImageScope and HALO: holes, ellipses, and what has no area."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from wsi_segment.errors import DatasetError
from wsi_segment.inference.evaluation.annotations import read_annotations
from wsi_segment.inference.slides.outlines import Outlines

SQUARE = ((100, 100), (500, 100), (500, 500), (100, 500))
HOLE = ((200, 200), (400, 200), (400, 400), (200, 400))
ISLAND = ((250, 250), (350, 250), (350, 350), (250, 350))


def region(points: tuple[tuple[float, float], ...], vertex: str = "Vertex", **attributes: str) -> str:
    stated = " ".join(f'{name}="{value}"' for name, value in attributes.items())
    vertices = "".join(f'<{vertex} X="{x}" Y="{y}"/>' for x, y in points)
    return f"<Region {stated}><Attributes/><Vertices>{vertices}</Vertices></Region>"


def read(folder: Path, *regions: str, suffix: str = ".xml") -> Outlines:
    path = folder / f"a{suffix}"
    layer = f'<Annotation Id="1" Name="tumour"><Regions>{"".join(regions)}</Regions></Annotation>'
    path.write_text(f'<Annotations MicronsPerPixel="0.5">{layer}</Annotations>')
    return read_annotations(path)


def areas(outlines: Outlines) -> list[float]:
    return [round(outline.geometry.area) for outline in outlines]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_negative_region_is_a_hole_wherever_it_stands(tmp_path: Path, order: tuple[int, int]) -> None:
    both = region(SQUARE, NegativeROA="0"), region(HOLE, NegativeROA="1")
    found = read(tmp_path, *(both[index] for index in order))
    assert areas(found) == [160_000 - 40_000]
    assert [outline.name for outline in found] == ["tumour"]


def test_an_island_in_a_hole_stays(tmp_path: Path) -> None:
    found = read(tmp_path, region(SQUARE), region(HOLE, NegativeROA="1"), region(ISLAND))
    assert areas(found) == [120_000, 10_000]


def test_a_hole_of_no_outline_is_counted(tmp_path: Path) -> None:
    found = read(tmp_path, region(ISLAND), region(((900, 900), (950, 900), (950, 950)), NegativeROA="1"))
    assert areas(found) == [10_000]
    assert "1 hole of no outline" in found.describe_left_out()


@pytest.mark.parametrize(
    ("points", "attributes"),
    [
        pytest.param(((300, 100), (500, 200), (300, 300), (100, 200)), {"GeoShape": "Ellipse"}, id="ends of its axes"),
        pytest.param(((100, 100), (500, 100), (500, 300), (100, 300)), {"Type": "2"}, id="corners of its box"),
        pytest.param(((100, 100), (500, 300)), {"Type": "Ellipse"}, id="two corners"),
    ],
)
def test_an_ellipse_is_no_diamond_and_no_box(
    tmp_path: Path, points: tuple[tuple[float, float], ...], attributes: dict[str, str]
) -> None:
    found = read(tmp_path, region(points, **attributes))
    assert areas(found)[0] == pytest.approx(math.pi * 200 * 100, rel=0.002)
    assert found.extent == pytest.approx((100, 100, 500, 300), abs=0.1)


def test_a_drawn_ellipse_of_many_points_is_what_was_drawn(tmp_path: Path) -> None:
    assert areas(read(tmp_path, region((*SQUARE, (50, 300)), Type="2"))) == [160_000 + 10_000]


def test_outlines_of_halo_are_read(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        region(SQUARE, "V", Type="Polygon", NegativeROA="0"),
        region(HOLE, "V", Type="Polygon", NegativeROA="1"),
        region(((10, 10), (60, 50)), "V", Type="Rectangle", NegativeROA="0"),
        region(((10, 10), (60, 50), (80, 20)), "V", Type="Ruler", NegativeROA="0"),
        region(((10, 10),), "V", Type="Pin", NegativeROA="0"),
        suffix=".annotations",
    )
    assert areas(found) == [120_000, 2_000]
    assert found.describe_left_out() == "1 pin, 1 ruler, which have no area"


@pytest.mark.parametrize(("root", "program"), [("ASAP_Annotations", "ASAP"), ("annotations", "NDP.view")])
def test_xml_of_another_program_is_named(tmp_path: Path, root: str, program: str) -> None:
    (tmp_path / "a.xml").write_text(f"<{root}><Annotations/></{root}>")
    with pytest.raises(DatasetError, match=rf"a.xml: not ImageScope XML .*{program}.* as GeoJSON"):
        read_annotations(tmp_path / "a.xml")
