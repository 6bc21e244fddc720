"""Outlines for `tissue` and `region`: what of them counts, and whether they lie on tissue as they stand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthetic import write_slide
from wsi_segment.errors import InputError
from wsi_segment.inference.engine.tissue import TissueMask, find_tissue
from wsi_segment.inference.progress import Step, no_step
from wsi_segment.inference.slides.frame import mask_frame
from wsi_segment.inference.slides.open import open_slide

WIDTH, HEIGHT, MPP = 1600, 1000, 0.5
TISSUE = 1000, 100, 1500, 400
"""x0, y0, x1, y1: nowhere in the middle, and not as high as wide."""


def ring(x0: float, y0: float, x1: float, y1: float) -> list[list[float]]:
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]


def feature(points: list[list[float]], name: str = "") -> dict[str, Any]:
    properties = {"classification": {"name": name}} if name else {}
    return {
        "type": "Feature", "geometry": {"type": "Polygon", "coordinates": [points]}, "properties": properties,
    }  # fmt: skip


def found(
    folder: Path,
    field: str,
    *features: dict[str, Any],
    method: Any = "otsu",
    tissue: tuple[int, int, int, int] = TISSUE,
    hole: tuple[int, int, int, int] = (0, 0, 0, 0),
    step: Step = no_step,
    **members: Any,
) -> TissueMask:
    """What is found with a file of these features."""
    outlines = folder / "o.geojson"
    outlines.write_text(json.dumps({"type": "FeatureCollection", "features": features, **members}))
    pixels = np.full((HEIGHT, WIDTH, 3), 243, np.uint8)
    x0, y0, x1, y1 = tissue
    pixels[y0:y1, x0:x1] = (200, 120, 170)
    pixels[hole[1] : hole[3], hole[0] : hole[2]] = 243
    with open_slide(write_slide(folder / "s.tiff", pixels, mpp=MPP, levels=3)) as slide:
        frame = mask_frame(slide, MPP, MPP)
        method, region = (outlines, None) if field == "tissue" else (method, outlines)
        return find_tissue(slide, frame, mask_mpp=MPP, method=method, step=step, region=region)


INSIDE = ring(1050, 150, 1450, 350)


@pytest.mark.parametrize("field", ["tissue", "region"])
@pytest.mark.parametrize("name", ["Ignore*", "ignore", "Excluded", "Exclusion"])
def test_what_is_named_to_be_ignored_is_taken_out_of_the_others(tmp_path: Path, field: str, name: str) -> None:
    hole = ring(1150, 200, 1350, 300)
    whole = found(tmp_path, field, feature(INSIDE, "Tumor"))
    part = found(tmp_path, field, feature(hole, name), feature(INSIDE, "Tumor"))
    cells = part.cell * part.cell
    assert whole.cells.sum() * cells == pytest.approx(400 * 200, rel=0.4)
    assert (whole.cells.sum() - part.cells.sum()) * cells == pytest.approx(200 * 100, rel=0.4)
    assert not part.cells[250 // part.cell, 1250 // part.cell]
    (doubt,) = part.doubts
    assert doubt.code == "outlines-left-out"
    assert f"`{field}`: what lies within 1 outline of the class {name}, also" in doubt.message
    assert whole.doubts == ()


@pytest.mark.parametrize("field", ["tissue", "region"])
def test_outlines_that_are_all_to_be_ignored_are_refused(tmp_path: Path, field: str) -> None:
    with pytest.raises(InputError, match=rf"`{field}` .*o.geojson: all its outlines are of the class Ignore\*"):
        found(tmp_path, field, feature(INSIDE, "Ignore*"))


def test_other_classes_with_an_asterisk_are_outlines_like_any(tmp_path: Path) -> None:
    assert found(tmp_path, "region", feature(INSIDE, "Region*")).doubts == ()


@pytest.mark.parametrize(
    ("points", "said"),
    [
        pytest.param([[x, HEIGHT - y] for x, y in INSIDE], "y were counted from the bottom", id="flipped"),
        pytest.param([[x * MPP, y * MPP] for x, y in INSIDE], "they were µm", id="microns"),
        pytest.param([[x / 16, y / 10] for x, y in INSIDE], "they were per cent of the slide", id="per cent"),
    ],
)
def test_outlines_that_would_lie_on_tissue_if_read_in_another_way_are_doubted(
    tmp_path: Path, points: list[list[float]], said: str
) -> None:
    (doubt,) = found(tmp_path, "tissue", feature(points)).doubts
    assert doubt.code == "outlines-off-tissue"
    assert f"the outlines of `tissue` is tissue, and 100 % would be if {said}" in doubt.message


def test_columns_and_rows_may_be_swapped(tmp_path: Path) -> None:
    swapped = [[y, x] for x, y in ring(520, 120, 930, 380)]
    (doubt,) = found(tmp_path, "tissue", feature(swapped), tissue=(500, 100, 950, 400)).doubts
    assert "100 % would be if x and y were swapped" in doubt.message


def test_a_level_may_be_what_outlines_were_drawn_on(tmp_path: Path) -> None:
    tissue = 900, 500, 1500, 900
    (doubt,) = found(tmp_path, "tissue", feature(ring(235, 130, 370, 220)), tissue=tissue).doubts
    assert "100 % would be if they were pixels of a level of 400 x 250 px" in doubt.message


@pytest.mark.parametrize("field", ["tissue", "region"])
def test_a_small_outline_in_a_hole_of_the_tissue_is_no_matter_of_doubt(tmp_path: Path, field: str) -> None:
    tissue, hole = (300, 250, 1300, 750), (420, 620, 560, 740)  # flipped either way it would lie on tissue
    assert found(tmp_path, field, feature(ring(440, 640, 540, 720)), tissue=tissue, hole=hole).doubts == ()


def test_where_nearly_all_is_tissue_no_place_is_doubted(tmp_path: Path) -> None:
    tissue, hole = (0, 0, WIDTH, HEIGHT), (0, 0, 1000, 400)
    assert found(tmp_path, "tissue", feature(ring(0, 0, 1000, 400)), tissue=tissue, hole=hole).doubts == ()


def refuse(done: int, total: int) -> None:
    raise AssertionError("the slide is read")


def test_a_large_slide_without_a_coarse_level_is_not_read_for_a_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flipped = feature([[x, HEIGHT - y] for x, y in INSIDE])
    with pytest.raises(AssertionError, match="the slide is read"):
        found(tmp_path, "tissue", flipped, step=refuse)
    monkeypatch.setattr("wsi_segment.inference.engine.tissue._CHEAP", 1000)
    assert found(tmp_path, "tissue", flipped, step=refuse).doubts == ()


def test_outlines_are_read_before_the_slide(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="its coordinates are in um"):
        found(tmp_path, "tissue", feature(INSIDE), step=refuse, unit="um")


def test_a_region_that_holds_less_tissue_than_it_would_flipped_is_doubted(tmp_path: Path) -> None:
    tissue, flipped = (500, 120, 1500, 560), ring(520, 500, 1450, 840)
    (doubt,) = found(tmp_path, "region", feature(flipped), tissue=tissue).doubts
    assert "of `region` is tissue, and 100 % would be if y were counted from the bottom" in doubt.message
    assert found(tmp_path, "region", feature(flipped), tissue=tissue, method="none").doubts == ()  # not looked for


@pytest.mark.parametrize("box", [TISSUE, (900, 0, 1600, 1000), (0, 0, WIDTH, HEIGHT), (1400, 300, 1600, 600)])
@pytest.mark.parametrize("field", ["tissue", "region"])
def test_outlines_around_tissue_and_glass_are_no_matter_of_doubt(tmp_path: Path, field: str, box: Any) -> None:
    assert found(tmp_path, field, feature(ring(*box))).doubts == ()


@pytest.mark.parametrize(
    "members",
    [
        {"axes": [{"name": "x", "unit": "micrometer"}, {"name": "y", "unit": "micrometer"}]},
        {"multiscale": {"axes": [{"name": "x", "type": "space", "unit": "micrometer"}]}},
        {"unit": "µm"},
        {"units": "Microns"},
    ],
)
def test_coordinates_that_state_a_length_are_refused(tmp_path: Path, members: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"its coordinates are in .*; give them in level-0 pixels"):
        found(tmp_path, "region", feature(INSIDE), **members)


def test_coordinates_that_state_pixels_are_read(tmp_path: Path) -> None:
    axes = [{"name": "x", "unit": "pixel"}, {"name": "y", "unit": "pixel"}, {"name": "z", "unit": "micrometer"}]
    assert found(tmp_path, "region", feature(INSIDE), axes=axes).cells.any()
