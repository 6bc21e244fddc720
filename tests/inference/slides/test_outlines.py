"""Outlines in all the ways in which files hold them, and what is said of those that hold none."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from wsi_segment.errors import InputError
from wsi_segment.inference.slides.geojson_features import gather_polygons, read_multipolygon
from wsi_segment.inference.slides.outlines import Outlines, parse_outlines, read_areas, read_outlines

RING = [[100, 100], [300, 100], [300, 200], [100, 200], [100, 100]]
HOLE = [[150, 120], [200, 120], [200, 160], [150, 160], [150, 120]]
POLYGON: dict[str, Any] = {"type": "Polygon", "coordinates": [RING]}
LINE = {"type": "LineString", "coordinates": [[0, 0], [9, 9]]}
POINT = {"type": "Point", "coordinates": [5, 5]}
AREA = 200 * 100


def feature(geometry: Any = POLYGON, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def ring_of(*points: tuple[float, ...]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [[list(point) for point in points]]}


def area_of(outlines: Outlines) -> float:
    return sum(outline.geometry.area for outline in outlines)


STRUCTURES = {
    "a geometry": POLYGON,
    "a feature": feature(),
    "a feature without properties": {"type": "Feature", "geometry": POLYGON},
    "a feature whose properties are null": feature() | {"properties": None},
    "a collection": {"type": "FeatureCollection", "features": [feature()]},
    "features alone": {"features": [feature()]},
    "a list of features": [feature()],
    "a list of geometries": [POLYGON],
    "a list of collections": [{"type": "FeatureCollection", "features": [feature()]}],
    "a multipolygon": {"type": "MultiPolygon", "coordinates": [[RING]]},
    "a geometry collection": {"type": "GeometryCollection", "geometries": [POINT, POLYGON, LINE]},
    "a feature of a nested geometry collection": feature(
        {"type": "GeometryCollection", "geometries": [{"type": "GeometryCollection", "geometries": [POLYGON]}]}
    ),
    "a feature without geometry beside a good one": [feature(None), feature()],
    "an empty polygon beside a good one": [feature({"type": "Polygon", "coordinates": []}), feature()],
    "points and lines beside a good one": [feature(POINT), feature(LINE), feature()],
    "a cell whose nucleus lies within it": feature() | {"nucleusGeometry": ring_of((150, 120), (160, 120), (160, 130))},
    "a cell that has a nucleus only": feature(None) | {"nucleusGeometry": POLYGON},
    "a cell that is a point with its nucleus": feature(POINT) | {"nucleusGeometry": POLYGON},
    "a nucleus among the properties": feature(None, nucleusGeometry=POLYGON),
    "a ring that is not closed": ring_of((100, 100), (300, 100), (300, 200), (100, 200)),
    "heights": ring_of((100, 100, 0), (300, 100, 0), (300, 200, 0), (100, 200, 0), (100, 100, 0)),
    "heights of some points": ring_of((100, 100), (300, 100, 5), (300, 200), (100, 200, 7)),
    "a ring that goes round twice": ring_of(*[(100, 100), (300, 100), (300, 200), (100, 200)] * 2),
    "the same polygon twice in one": {"type": "MultiPolygon", "coordinates": [[RING], [RING]]},
    "a spike": ring_of((100, 100), (300, 100), (300, 200), (100, 200), (100, 400), (100, 200)),
    "clockwise": ring_of((100, 100), (100, 200), (300, 200), (300, 100), (100, 100)),
    "members that QuPath and others add": feature(
        POLYGON | {"plane": {"c": -1, "z": 0, "t": 0}, "isEllipse": False, "bbox": [0, 0, 1, 1]}, isLocked=True
    ),
}


@pytest.mark.parametrize("content", STRUCTURES.values(), ids=STRUCTURES.keys())
def test_one_area_is_read_however_it_is_written(content: Any, tmp_path: Path) -> None:
    (tmp_path / "outlines.geojson").write_text(json.dumps(content))
    outlines = read_areas(tmp_path / "outlines.geojson")
    assert area_of(outlines) == pytest.approx(AREA)
    assert shapely.is_valid([outline.geometry for outline in outlines]).all()
    over_http = parse_outlines(read_multipolygon(tmp_path / "outlines.geojson"))
    assert shapely.union_all([one.geometry for one in over_http]).area == pytest.approx(AREA)


TEXT = json.dumps({"type": "FeatureCollection", "features": [feature(classification="Größe")]}, ensure_ascii=False)
ENCODINGS = {
    "UTF-8": TEXT.encode(),
    "UTF-8 with a mark": TEXT.encode("utf-8-sig"),
    "UTF-16 with a mark": TEXT.encode("utf-16"),
    "UTF-16 without a mark, little end first": TEXT.encode("utf-16-le"),
    "UTF-16 without a mark, big end first": TEXT.encode("utf-16-be"),
    "UTF-32": TEXT.encode("utf-32"),
    "gzip": gzip.compress(TEXT.encode()),
    "gzip of UTF-16": gzip.compress(TEXT.encode("utf-16")),
    "blank lines around": f"\r\n\n {TEXT}\n\n".encode(),
    "a feature per line": f"{json.dumps(feature(classification='Größe'))}\n\n{json.dumps(feature(LINE))}\r\n".encode(),
    "a feature per line after record separators": f"\x1e{json.dumps(feature(classification='Größe'))}\n".encode(),
}


@pytest.mark.parametrize("content", ENCODINGS.values(), ids=ENCODINGS.keys())
@pytest.mark.parametrize("name", ["a.geojson", "a.geojson.gz", "a.json", "a"])
def test_bytes_say_how_a_file_is_packed_and_not_its_name(content: bytes, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    (outline,) = read_outlines(tmp_path / name)
    assert outline.name == "Größe"
    assert outline.geometry.area == AREA


REFUSED = {
    "empty": (b"", "the file is empty"),
    "blank": (b" \n", "the file is empty"),
    "text": (b"outlines", "not GeoJSON: Expecting value"),
    "cut off": (TEXT.encode()[:-20], "not GeoJSON: "),
    "Latin-1": (TEXT.encode("latin-1"), "not GeoJSON in UTF-8 or UTF-16; save it"),
    "gzip cut off": (gzip.compress(TEXT.encode())[:-20], "its gzip is cut off or damaged"),
    "gzip damaged": (gzip.compress(TEXT.encode())[:30] + b"x" * 40, "its gzip is cut off or damaged"),
    "a ZIP archive": (b"PK\x03\x04....", "ZIP archive; unpack it"),
    "XML": (b"\xef\xbb\xbf<?xml version='1.0'?><Annotations/>", "not GeoJSON but XML"),
    "a number": (b"5", "5 stands where a feature or a geometry belongs"),
    "null": (b"null", "None stands where"),
    "an empty object": (b"{}", "a geometry has the type 'None'"),
    "a list of points": (json.dumps(RING).encode(), "100 stands where"),
    "COCO": (b'{"images": [], "annotations": []}', "a geometry has the type 'None'"),
    "TopoJSON": (b'{"type": "Topology", "objects": {}}', "a geometry has the type 'Topology'"),
    "an ellipse": (json.dumps(feature({"type": "Ellipse"})).encode(), "a geometry has the type 'Ellipse'"),
    "a type that is no text": (json.dumps(feature({"type": ["Polygon"]})).encode(), r"type \"\['Polygon'\]\""),
    "a polygon without coordinates": (b'{"type": "Polygon"}', "a Polygon holds no list"),
    "a geometry that is text": (json.dumps(feature("POLYGON ((0 0))")).encode(), "'POLYGON .* stands where a geometry"),
    "coordinates too flat": (json.dumps({"type": "Polygon", "coordinates": RING}).encode(), "outline 1 are not lists"),
    "coordinates too deep": (
        json.dumps({"type": "Polygon", "coordinates": [[RING]]}).encode(), "outline 1 are not lists"
    ),
    "a position of one number": (json.dumps(ring_of((1,), (2,), (3,))).encode(), "outline 1 are not lists"),
    "a position without a number": (
        json.dumps([feature(), feature({"type": "Polygon", "coordinates": [[[0, 0], [1, None], [1, 1]]]})]).encode(),
        "outline 2 are not lists of rings",
    ),
    "not a number": (b'{"type": "Polygon", "coordinates": [[[0, 0], [NaN, 1], [1, 1]]]}', "outline 1 are not lists"),
    "an infinite position": (b'{"type": "Polygon", "coordinates": [[[0, 0], [1e999, 1], [1, 1]]]}', "outline 1"),
    "a huge number": (
        b'{"type": "Polygon", "coordinates": [[[0, 0], [1' + b"0" * 400 + b", 1], [1, 1]]]}", "outline 1"
    ),
    "lists without end": (b"[" * 100_000, "nested too deeply"),
    "no features": (b'{"type": "FeatureCollection", "features": []}', "no outline has an area, it holds nothing"),
    "lines and points": (
        json.dumps([feature(LINE), feature(LINE), feature(POINT), feature(None)]).encode(),
        "it holds only 1 feature without geometry, 2 lines, 1 point; draw an area",
    ),
    "a flat ring": (json.dumps(ring_of((0, 0), (5, 5), (9, 9))).encode(), "it holds only 1 flat outline"),
    "a ring of two points": (json.dumps(ring_of((0, 0), (5, 5))).encode(), "it holds only 1 flat outline"),
    "a hole as large as its shell": (
        json.dumps({"type": "Polygon", "coordinates": [RING, RING]}).encode(), "it holds only 1 flat outline"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("content", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_holds_no_area_is_refused_with_the_file_and_the_reason(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "o.geojson"
    path.write_bytes(content)
    with pytest.raises(InputError, match=reason) as caught:
        read_areas(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.geojson: cannot be read: No such file"):
        read_outlines(tmp_path / "none.geojson")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_outlines(tmp_path)


@pytest.mark.parametrize(
    ("properties", "name", "color"),
    [
        ({"classification": {"name": "Tumor", "color": [1, 2, 3]}}, "Tumor", (1, 2, 3)),
        ({"classification": {"name": "Tumor", "colorRGB": -3670016}}, "Tumor", (200, 0, 0)),
        ({"classification": {"names": ["Tumor", "Positive"], "color": [1, 2, 3]}}, "Tumor: Positive", (1, 2, 3)),
        ({"classification": {"name": "Tumor"}}, "Tumor", None),
        ({"classification": "Tumor"}, "Tumor", None),
        ({"classification": None, "name": "ROI 1"}, "", None),
        ({"classification": {"name": None}}, "", None),
        ({"classification": {"name": "Tumor", "color": "#ff0000"}}, "Tumor", None),
        ({"classification": {"name": "Tumor", "color": [300, 2]}}, "Tumor", None),
        ({}, "", None),
    ],
)
def test_classes_are_objects_or_text(properties: dict[str, Any], name: str, color: Any) -> None:
    (outline,) = parse_outlines(feature(**properties))
    assert (outline.name, outline.color) == (name, color)
    assert outline.title == properties.get("name", "")


def test_holes_and_parts_stay_and_what_is_valid_is_not_touched() -> None:
    island = [[[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]]]
    (outline,) = parse_outlines({"type": "MultiPolygon", "coordinates": [[RING, HOLE], island]})
    assert outline.geometry.area == AREA - 50 * 40 + 81
    assert shapely.to_geojson(outline.geometry) == shapely.to_geojson(
        shapely.from_geojson(json.dumps({"type": "MultiPolygon", "coordinates": [[RING, HOLE], island]}))
    )


def test_a_loop_of_the_pen_belongs_to_what_it_surrounds() -> None:
    square, loop = [(0, 0), (10, 0), (10, 10), (0, 10)], [(0, -2), (2, -2), (2, 2), (-1, 2)]
    (outline,) = parse_outlines(ring_of(*square, *loop))
    assert outline.geometry.contains(shapely.Point(1, 1))  # within both
    (bow,) = parse_outlines(ring_of((0, 0), (10, 10), (10, 0), (0, 10)))
    assert bow.geometry.area == pytest.approx(50)


def turns_around(points: list[tuple[int, int]], x: float, y: float) -> int:
    """How often a ring winds around a place, by its crossings to the right of it."""
    turns = 0
    for (x1, y1), (x2, y2) in zip(points, points[1:] + points[:1], strict=True):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
            turns += 1 if y2 > y1 else -1
    return turns


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=3, max_size=9))
def test_what_a_ring_winds_around_belongs_to_it_and_nothing_else(points: list[tuple[int, int]]) -> None:
    read = shapely.union_all([outline.geometry for outline in parse_outlines(ring_of(*points))])
    for face in shapely.get_parts(shapely.polygonize([shapely.node(shapely.LinearRing(points))])):
        place = shapely.point_on_surface(face)
        if face.area > 1e-6:
            assert shapely.intersects(read, place) == (turns_around(points, place.x, place.y) != 0)


SLIDE = (0.0, 0.0, 400.0, 300.0)


def test_outlines_beside_the_slide_are_refused_with_both_extents(tmp_path: Path) -> None:
    outlines = parse_outlines(ring_of((5000, 100), (6000, 100), (6000, 250.5), (5000, 250.5)))
    with pytest.raises(InputError) as caught:
        outlines.refuse_beside(SLIDE, tmp_path / "o.geojson")
    assert "x 5000 to 6000 and y 100 to 250.5, the slide x 0 to 400 and y 0 to 300" in str(caught.value)
    with pytest.raises(InputError, match="beside"):  # the edge alone is shared
        parse_outlines(ring_of((400, 0), (500, 0), (500, 300))).refuse_beside(SLIDE, tmp_path)
    parse_outlines(ring_of((399, 0), (500, 0), (500, 300))).refuse_beside(SLIDE, tmp_path)
    parse_outlines([]).refuse_beside(SLIDE, tmp_path)


def test_what_is_left_out_is_counted() -> None:
    far = ring_of((5000, 100), (6000, 100), (6000, 200))
    outlines = parse_outlines([feature(), far, feature(LINE), feature(LINE), feature(POINT)])
    assert outlines.describe_left_out() == "2 lines, 1 point, which have no area"
    assert outlines.describe_left_out(SLIDE).endswith("; 1 of 2 outlines, which lies beside the slide")
    assert parse_outlines(feature()).describe_left_out(SLIDE) == ""


def test_outlines_that_reach_far_beyond_the_slide_are_said_with_both_extents() -> None:
    x0, y0, x1, y1 = SLIDE
    box = ring_of((x0, y0), (x1 * 1.05, y0), (x1 * 1.05, y1), (x0, y1))
    assert parse_outlines(box).describe_left_out(SLIDE) == ""
    box = ring_of((x0, y0), (x1 * 4, y0), (x1 * 4, y1), (x0, y1))
    said = parse_outlines(box).describe_left_out(SLIDE)
    assert said.startswith("75 % of the area of the outlines, which reach beyond the slide: they span x 0 to 1600")
    assert said.endswith("the slide x 0 to 400 and y 0 to 300")


def test_a_region_of_a_job_is_one_multipolygon() -> None:
    gathered = gather_polygons(
        {"features": [feature(), feature(LINE), {"type": "MultiPolygon", "coordinates": [[RING]]}]}
    )
    assert gathered == {"type": "MultiPolygon", "coordinates": [[RING], [RING]]}
    with pytest.raises(InputError, match="it holds only 1 line"):
        gather_polygons(feature(LINE))


TRIANGLE = [[0, 0], [9, 0], [9, 9], [0, 0]]


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ({"annotation": {"name": "a", "elements": [{"type": "polyline", "points": [[1, 2, 0]]}]}}, "large_image"),
        ([{"annotation": {"elements": []}}], "large_image"),
        ({"name": "a", "elements": []}, "large_image"),
        ({"version": "5", "shapes": [{"points": TRIANGLE}]}, "labelme"),
        ({"images": [], "annotations": [], "categories": []}, "COCO"),
        ({"mag": 40, "nuc": {"1": {"contour": TRIANGLE}}}, "HoVer-Net"),
        ({"geometryType": "esriGeometryPolygon", "features": [{"geometry": {"rings": [TRIANGLE]}}]}, "Esri JSON"),
        ({"type": "Topology", "objects": {}, "arcs": []}, "TopoJSON"),
    ],
)
def test_json_of_other_programs_is_refused_by_name(content: object, name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"not GeoJSON but .*{name}.*convert"):
        read_outlines(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"type": "FeatureCollection", "features": None}, "features of its FeatureCollection are not a list"),
        ({"colour": "red", "points": TRIANGLE}, "type 'None', not Polygon or MultiPolygon; it holds colour, points"),
        ({"type": "Polygon", "coordinates": TRIANGLE}, "something else stands where a ring or a position belongs"),
        (
            {"type": "MultiPolygon", "coordinates": [TRIANGLE]},
            "something else stands where a ring or a position belongs",
        ),
        ({"type": "Polygon", "coordinates": [[{"x": 1, "y": 2}] * 3]}, "something else stands where"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1e300, 0], [9, 9]]]}, r"1e\+300, farther out than any slide"),
    ],
)
def test_misshapen_geojson_is_refused_in_plain_words(content: object, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=reason):
        read_outlines(path)


def test_a_number_of_more_digits_than_python_reads_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    path.write_text(f'{{"type": "Polygon", "coordinates": [[[0, 0], [{"9" * 5000}, 0], [9, 9]]]}}')
    with pytest.raises(InputError, match=r"not GeoJSON: Exceeds the limit"):
        read_outlines(path)


@pytest.mark.parametrize("ring", [[[False, 0], [9, 0], [9, 9]], [[0, 0], [9, True], [9, 9]]])
def test_true_and_false_are_no_coordinates(ring: list[list[float]]) -> None:
    with pytest.raises(InputError, match="a position is true or false, not a number"):
        parse_outlines({"type": "Polygon", "coordinates": [ring]})


def test_outlines_in_fractions_of_the_slide_are_refused(tmp_path: Path) -> None:
    outlines = parse_outlines({"type": "Polygon", "coordinates": [[[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.1]]]})
    with pytest.raises(InputError, match="no more than a pixel; give them in level-0 pixels"):
        outlines.refuse_beside((0, 0, 500, 400), tmp_path / "o.geojson")


def test_a_ring_beside_the_first_one_is_refused_and_not_lost() -> None:
    beside = [[400, 100], [500, 100], [500, 200], [400, 200], [400, 100]]
    with pytest.raises(InputError, match=r"outline 2 .*a ring after the first one lies beside it.* MultiPolygon"):
        parse_outlines([POLYGON, {"type": "Polygon", "coordinates": [RING, beside]}])
    assert area_of(parse_outlines({"type": "MultiPolygon", "coordinates": [[RING], [beside]]})) == AREA + 100 * 100


def test_a_hole_that_strays_over_the_edge_is_still_a_hole() -> None:
    across = [[290, 120], [310, 120], [310, 140], [290, 140], [290, 120]]
    assert area_of(parse_outlines({"type": "Polygon", "coordinates": [RING, across]})) == AREA - 10 * 20


def test_an_outline_of_what_is_to_be_ignored_is_no_part_of_a_jobs_region(tmp_path: Path) -> None:
    square = {"type": "Polygon", "coordinates": [[[0, 0], [9, 0], [9, 9], [0, 0]]]}
    ignored = {"type": "Feature", "geometry": square, "properties": {"classification": {"name": "Ignore*"}}}
    (tmp_path / "o.geojson").write_text(json.dumps([square, ignored]))
    with pytest.raises(InputError, match=r"an outline of the class Ignore\*; cut it out of the others, or remove it"):
        read_multipolygon(tmp_path / "o.geojson")


def test_cores_of_a_microarray_that_are_marked_missing_are_left_out(tmp_path: Path) -> None:
    square = {"type": "Polygon", "coordinates": [RING]}
    cores = [
        {"type": "Feature", "geometry": square, "properties": {"objectType": "tma_core", "isMissing": missing}}
        for missing in (False, True, True)
    ]
    (tmp_path / "o.geojson").write_text(json.dumps(cores))
    outlines = parse_outlines(cores)
    assert len(outlines.areas) == 1
    assert outlines.describe_left_out() == "2 TMA cores marked as missing"
    assert len(read_multipolygon(tmp_path / "o.geojson")["coordinates"]) == 1
    with pytest.raises(InputError, match="it holds only 1 TMA core marked as missing"):
        gather_polygons(cores[1])
