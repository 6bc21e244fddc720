from __future__ import annotations

import gzip
import json
import math
import uuid
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize
from scipy import ndimage

from synthetic import ChannelNetwork, make_model, tissue_like, write_slide
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.mask.geojson import write_geojson
from wsi_segment.inference.mask.mask import Mask
from wsi_segment.inference.mask.polygons import ClassPolygon, class_polygons, split_large


def class_map(seed: int, height: int, width: int, grain: float = 2.0) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random((4, height, width)), (0, grain, grain))
    ids: np.ndarray = noise.argmax(axis=0).astype(np.uint8)
    return ids


def polygons_of(ids: np.ndarray, tolerance: float | None = 0.0, tile: int = 1024) -> list[ClassPolygon]:
    def read(y: int, x: int, side: int) -> np.ndarray:
        part: np.ndarray = ids[y : y + side, x : x + side]
        return part

    return list(class_polygons(read, ids.shape[0], width=ids.shape[1], tolerance=tolerance, tile=tile))


@settings(max_examples=20)
@given(
    seed=st.integers(0, 10_000),
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    tile=st.sampled_from([16, 23, 64]),
    grain=st.sampled_from([0.5, 1.5, 4.0]),
)
def test_tile_by_tile_equals_the_whole_array(seed: int, height: int, width: int, tile: int, grain: float) -> None:
    ids = class_map(seed, height, width, grain)
    whole, tiled = polygons_of(ids), polygons_of(ids, tile=tile)
    assert all(piece.polygon.is_valid for piece in tiled)

    def key(piece: ClassPolygon) -> tuple[object, ...]:
        return piece.class_id, piece.polygon.area, piece.polygon.bounds

    assert Counter(map(key, tiled)) == Counter(map(key, whole))
    for class_id in range(1, 4):
        assert sum(p.polygon.area for p in tiled if p.class_id == class_id) == np.count_nonzero(ids == class_id)


@pytest.mark.parametrize("tolerance", [0.0, 1.5, None])
def test_a_piece_that_grows_too_large_is_cut_and_nothing_is_lost(tolerance: float) -> None:
    ids = class_map(3, 160, 120, 1.0)
    ids[:, ::7] = 1  # one class is a single piece from the first row to the last

    def read(y: int, x: int, side: int) -> np.ndarray:
        part: np.ndarray = ids[y : y + side, x : x + side]
        return part

    cut = list(class_polygons(read, 160, width=120, tolerance=tolerance, tile=40, most=300))
    whole = list(class_polygons(read, 160, width=120, tolerance=tolerance, tile=40))
    assert len(cut) > len(whole)
    for class_id in range(1, 4):
        pieces = [piece.polygon for piece in cut if piece.class_id == class_id]
        area = sum(piece.polygon.area for piece in whole if piece.class_id == class_id)
        assert all(piece.is_valid for piece in pieces)
        assert sum(piece.area for piece in pieces) == pytest.approx(area)
        assert shapely.union_all(pieces).area == pytest.approx(area)


def test_a_ring_keeps_its_hole_and_its_exact_area() -> None:
    ids = np.zeros((200, 200), np.uint8)
    ids[20:180, 20:180] = 1
    ids[60:140, 60:140] = 2
    ids[90:110, 90:110] = 1
    pieces = polygons_of(ids, tile=50)
    areas = sorted((piece.class_id, piece.polygon.area, len(piece.polygon.interiors)) for piece in pieces)
    assert areas == [(1, 400.0, 0), (1, 160**2 - 80**2, 1), (2, 80**2 - 400, 1)]


@pytest.mark.parametrize("tile", [40, 1024])
def test_neighbours_stay_disjoint_after_simplification(tile: int) -> None:
    pieces = polygons_of(class_map(1, 150, 170), tolerance=2.0, tile=tile)
    polygons = [piece.polygon for piece in pieces]
    assert all(polygon.is_valid for polygon in polygons)
    assert sum(p.area for p in polygons) == pytest.approx(shapely.union_all(polygons).area)
    exact = polygons_of(class_map(1, 150, 170))
    assert sum(len(p.exterior.coords) for p in polygons) < 0.7 * sum(len(p.polygon.exterior.coords) for p in exact)
    assert sum(p.area for p in polygons) == pytest.approx(sum(p.polygon.area for p in exact), rel=0.02)


@settings(max_examples=10)
@given(seed=st.integers(0, 10_000), tile=st.sampled_from([97, 1024]))
def test_by_default_every_class_keeps_its_pixels_and_its_area(seed: int, tile: int) -> None:
    ids = class_map(seed, 300, 330, 9.0)  # large pieces
    ids[40:260, 30:200] = np.where(
        class_map(seed + 1, 220, 170, 3.0) == 3, 5, ids[40:260, 30:200]
    )  # small ones in them
    pieces = polygons_of(ids, tolerance=None, tile=tile)
    polygons = [piece.polygon for piece in pieces]
    assert shapely.is_valid(polygons).all()
    assert sum(p.area for p in polygons) == pytest.approx(shapely.union_all(polygons).area)
    drawn = rasterize([(piece.polygon, piece.class_id) for piece in pieces], ids.shape)
    for class_id in (1, 2, 3, 5):
        pixels = np.count_nonzero(ids == class_id)
        assert np.count_nonzero((drawn == class_id) & (ids == class_id)) >= 0.985 * pixels
        assert sum(p.polygon.area for p in pieces if p.class_id == class_id) == pytest.approx(pixels, rel=0.005)


@settings(max_examples=12)
@given(seed=st.integers(0, 10_000), radius=st.floats(2, 9), tile=st.sampled_from([64, 97, 1024]))
def test_by_default_small_and_thin_pieces_keep_their_area_too(seed: int, radius: float, tile: int) -> None:
    rng, ids = np.random.default_rng(seed), np.zeros((200, 220), np.uint8)
    y, x = np.indices(ids.shape)
    for number in range(25):
        at, size = rng.uniform(0, 200, 2), rng.uniform(0.5, 1) * radius
        ids[(y - at[0]) ** 2 + (x - at[1]) ** 2 < size**2] = 1 + number % 2
    walk = 100 + np.cumsum(rng.integers(-1, 2, (2, 300)), axis=1)
    ids[walk[0] % 200, walk[1] % 220] = 3
    pieces = polygons_of(ids, tolerance=None, tile=tile)
    polygons = [piece.polygon for piece in pieces]
    assert shapely.is_valid(polygons).all()
    assert sum(p.area for p in polygons) == pytest.approx(shapely.union_all(polygons).area)
    for class_id in (1, 2, 3):
        area = sum(p.polygon.area for p in pieces if p.class_id == class_id)
        assert area == pytest.approx(np.count_nonzero(ids == class_id), rel=0.005)


def test_by_default_fewer_corners_are_kept_where_pieces_are_large() -> None:
    def corners(grain: float, tolerance: float | None) -> int:
        pieces = polygons_of(class_map(5, 400, 400, grain), tolerance)
        return int(shapely.get_num_coordinates([piece.polygon for piece in pieces]).sum())

    assert corners(30.0, None) < 0.7 * corners(30.0, 0.0)
    assert corners(2.0, None) > 0.7 * corners(2.0, 0.0)


def test_long_rings_are_cut_without_losing_area() -> None:
    comb = shapely.union_all([shapely.box(0, 0, 400, 1), *(shapely.box(x, 1, x + 1, 50) for x in range(0, 400, 2))])
    assert isinstance(comb, shapely.Polygon)
    parts = list(split_large(comb, most=100))
    assert sum(part.area for part in parts) == pytest.approx(comb.area)
    assert max(len(part.exterior.coords) for part in parts) <= 100
    assert len(parts) > 4


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("geojson")
    slide = write_slide(folder / "s.tiff", tissue_like(1500, 1900), mpp=1.0)
    segment(slide, make_model(), folder / "m.zarr", SegmentOptions(), network=ChannelNetwork())
    path = folder / "m.geojson"
    write_geojson(path, folder / "m.zarr", min_area_um2=200)
    return folder, json.loads(path.read_text())


def test_every_feature_follows_the_rules_of_import(written: tuple[Path, dict[str, Any]]) -> None:
    collection = written[1]
    assert collection["type"] == "FeatureCollection"
    assert len(collection["features"]) > 20
    seen = set()
    for feature in collection["features"]:
        assert uuid.UUID(feature["id"]).version == 5
        seen.add(feature["id"])
        geometry, properties = feature["geometry"], feature["properties"]
        assert geometry["type"] == "Polygon"
        for ring in geometry["coordinates"]:
            assert ring[0] == ring[-1]
            assert 4 <= len(ring) <= 20_000
        polygon = shapely.Polygon(geometry["coordinates"][0], geometry["coordinates"][1:])
        assert polygon.is_valid
        assert polygon.area >= 200 * 0.99
        assert properties["objectType"] == "annotation"
        color = properties["classification"]["color"]
        assert len(color) == 3
        assert all(isinstance(value, int) and 0 <= value <= 255 for value in color)
        assert ":" not in properties["classification"]["name"]
        assert all(math.isfinite(value) for value in properties["measurements"].values())
        assert properties["measurements"]["Area um^2"] == pytest.approx(polygon.area, rel=1e-3)
        assert None not in properties.values()
    assert len(seen) == len(collection["features"])


def test_outlines_and_their_measurements_state_the_areas_of_the_summary(
    written: tuple[Path, dict[str, Any]],
) -> None:
    folder = written[0]
    write_geojson(folder / "all.geojson", folder / "m.zarr")
    of_outlines: defaultdict[str, float] = defaultdict(float)
    stated: defaultdict[str, float] = defaultdict(float)
    for feature in json.loads((folder / "all.geojson").read_text())["features"]:
        rings, properties = feature["geometry"]["coordinates"], feature["properties"]
        of_outlines[properties["name"]] += shapely.Polygon(rings[0], rings[1:]).area / 1e6
        stated[properties["name"]] += properties["measurements"]["Area um^2"] / 1e6
    areas = {area.name: area.area_mm2 for area in Mask.open(folder / "m.zarr").areas()}
    assert min(areas.values()) > 0.02
    assert dict(of_outlines) == pytest.approx(areas, rel=0.005)
    assert dict(stated) == pytest.approx(areas, rel=0.005)


def test_rings_wind_as_rfc_7946_wants_and_ids_do_not_depend_on_it(written: tuple[Path, dict[str, Any]]) -> None:
    holes = 0
    for feature in written[1]["features"]:
        shell, *inner = (shapely.LinearRing(ring) for ring in feature["geometry"]["coordinates"])
        assert shell.is_ccw
        assert not any(ring.is_ccw for ring in inner)
        holes += len(inner)
    assert holes
    mask = Mask.open(written[0] / "m.zarr")
    namespace = uuid.UUID("6d0cbf3c-5d7e-5c1e-9a0b-0d1f6f0a7b11")
    scale = mask.levels[0].downsample
    expected = {
        str(
            uuid.uuid5(
                namespace,
                f"{mask.provenance['slide']['fingerprint']}/{class_id}/"
                + shapely.transform(polygon, lambda points: np.round(points * scale, 2)).wkb_hex,
            )
        )
        for class_id, polygon, _ in mask.pieces(0, 200, None)
    }
    assert {feature["id"] for feature in written[1]["features"]} == expected


def test_annotations_lie_where_the_class_is(written: tuple[Path, dict[str, Any]]) -> None:
    pixels = tissue_like(1500, 1900)
    names = {"red": 0, "green": 1, "blue": 2}
    hits = []
    for feature in written[1]["features"]:
        polygon = shapely.Polygon(feature["geometry"]["coordinates"][0], feature["geometry"]["coordinates"][1:])
        if polygon.area > 3000:
            point = polygon.representative_point()
            patch = pixels[int(point.y) - 4 : int(point.y) + 4, int(point.x) - 4 : int(point.x) + 4].mean(axis=(0, 1))
            hits.append(patch.argmax() == names[feature["properties"]["classification"]["name"]])
    assert len(hits) > 10
    assert np.mean(hits) > 0.9


def test_the_same_mask_gives_the_same_file_packed_or_not(written: tuple[Path, dict[str, Any]]) -> None:
    folder = written[0]
    write_geojson(folder / "again.geojson", folder / "m.zarr", min_area_um2=200)
    assert (folder / "again.geojson").read_bytes() == (folder / "m.geojson").read_bytes()
    for name in ("a.geojson.gz", "b.geojson.gz"):
        write_geojson(folder / name, folder / "m.zarr", min_area_um2=200)
    assert (folder / "a.geojson.gz").read_bytes() == (folder / "b.geojson.gz").read_bytes()
    assert gzip.decompress((folder / "a.geojson.gz").read_bytes()) == (folder / "m.geojson").read_bytes()


def test_outlines_tell_how_far_they_are(written: tuple[Path, dict[str, Any]]) -> None:
    told: list[tuple[int, int]] = []
    write_geojson(
        written[0] / "told.geojson", written[0] / "m.zarr", step=lambda done, total: told.append((done, total))
    )
    assert told[0] == (0, 1500)  # of the finest level
    assert all(0 <= done < total == 1500 for done, total in told)
