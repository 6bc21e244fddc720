"""What QuPath's import asks of GeoJSON, of the command line's file and of the service's."""

from __future__ import annotations

import gzip
import json
import math
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import zarr
from numpy.typing import NDArray

import web
from live_server import Served, write_slides
from synthetic import ChannelNetwork, make_model, tissue_like, write_slide
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.mask.geojson import write_geojson
from wsi_segment.model.card import SegmentClass
from wsi_segment.service.workers.outline_index import write_objects

SIDE = 1200
NAMES = ("Tumor: Positive", "holes", "fine grain")
Features = list[dict[str, Any]]


def hard_map() -> NDArray[np.uint8]:
    """Class ids that break rules easily: a ring of 100,000 corners, holes in holes, and single pixels that touch."""
    ids = np.zeros((SIDE, SIDE), np.uint8)
    comb = ids[10:900, 10:900]  # one piece: a spine, and teeth of two pixels on both sides of every rib
    comb[:, :2] = 1
    for y in range(0, 870, 16):
        comb[y + 6 : y + 8] = 1
        comb[y : y + 14, ::4] = comb[y : y + 14, 1::4] = 1
    for step in range(0, 120, 12):  # rings in rings
        ids[920 + step : 1180 - step, 920 + step : 1180 - step] = 2 if step % 24 == 0 else 3
    grain = np.random.default_rng(0).random((100, 300))
    ids[950:1050, 10:310] = np.where(grain < 0.3, 3, np.where(grain < 0.5, 2, 0))
    return ids


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished mask of 4 µm a pixel with the hard map; one class has a colon in its name."""
    folder = tmp_path_factory.mktemp("hard")
    slide = write_slide(folder / "s.tiff", tissue_like(SIDE, SIDE), mpp=4.0)
    model = make_model(mpp=4.0)
    classes = tuple(SegmentClass(name=name, color=(9 * i, 0, 255)) for i, name in enumerate(NAMES))
    card = model.card.model_copy(update={"classes": classes})
    made = folder / "m.zarr"
    segment(slide, type(model)(model.folder, card), made, SegmentOptions(), network=ChannelNetwork())
    array = zarr.open_group(made, mode="r+")["labels/segmentation/0"]
    assert isinstance(array, zarr.Array)
    array[:] = hard_map()
    return made


@pytest.fixture(scope="module", params=["command line", "service"])
def features(request: pytest.FixtureRequest, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Features:
    folder = tmp_path_factory.mktemp("features")
    if request.param == "command line":
        write_geojson(folder / "m.geojson.gz", store)
        content = json.loads(gzip.decompress((folder / "m.geojson.gz").read_bytes()))
    else:
        with Served(write_slides(folder), "--workers", 0, "--results", store.parent) as served:
            job = web.get(f"{served.url}/v1/jobs").json()["jobs"][0]["id"]
            content = web.get(f"{served.url}/v1/jobs/{job}/results/objects.geojson").json()
    assert content["type"] == "FeatureCollection"
    found: Features = content["features"]
    assert len(found) > 1000
    return found


def rings(feature: dict[str, Any]) -> list[list[list[float]]]:
    found: list[list[list[float]]] = feature["geometry"]["coordinates"]
    return found


def has_nothing_null(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(has_nothing_null, value.values()))
    return all(map(has_nothing_null, value)) if isinstance(value, list) else value is not None


def is_color(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(type(part) is int and 0 <= part <= 255 for part in value)


RULES: dict[str, Callable[[dict[str, Any]], bool]] = {
    "it is a feature": lambda one: one["type"] == "Feature",
    "its id is a UUID": lambda one: str(uuid.UUID(one["id"])) == one["id"],
    "it is one part": lambda one: one["geometry"]["type"] == "Polygon",
    "its rings are closed": lambda one: all(ring[0] == ring[-1] and len(ring) >= 4 for ring in rings(one)),
    "its rings have at most 20,000 corners": lambda one: all(len(ring) <= 20_000 for ring in rings(one)),
    "its coordinates are finite": lambda one: all(math.isfinite(v) for ring in rings(one) for xy in ring for v in xy),
    "it does not cross itself": lambda one: bool(shapely.Polygon(rings(one)[0], rings(one)[1:]).is_valid),
    "it has an area": lambda one: bool(shapely.Polygon(rings(one)[0], rings(one)[1:]).area > 0),
    "nothing in it is null": has_nothing_null,
    "it is an annotation": lambda one: one["properties"]["objectType"] == "annotation",
    "its colour is [r, g, b]": lambda one: is_color(one["properties"]["classification"]["color"]),
    "its class has no colon": lambda one: ":" not in one["properties"]["classification"]["name"],
    "its measurements are finite numbers": lambda one: all(
        type(value) in (int, float) and math.isfinite(value) for value in one["properties"]["measurements"].values()
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_every_feature_keeps_the_rule_that(features: Features, rule: str) -> None:
    assert [one["id"] for one in features if not RULES[rule](one)] == []


def test_ids_are_told_apart_and_names_are_kept_but_for_the_colon(features: Features) -> None:
    assert len({one["id"] for one in features}) == len(features)
    names = {one["properties"]["classification"]["name"] for one in features}
    assert names == {"Tumor - Positive", "holes", "fine grain"}


def test_the_map_is_as_hard_as_it_is_meant_to_be(features: Features) -> None:
    of_comb = [one for one in features if one["properties"]["classification"]["name"] == "Tumor - Positive"]
    assert len(of_comb) > 1  # one piece of the map, cut
    assert sum(len(rings(one)[0]) for one in of_comb) > 40_000
    assert any(len(rings(one)) > 1 for one in features)


def test_the_service_and_the_command_line_say_the_same(store: Path, tmp_path: Path) -> None:
    write_geojson(tmp_path / "m.geojson", store)
    count = write_objects(tmp_path, store)
    lines = (tmp_path / "objects.geojsonl").read_text().splitlines()
    assert len(lines) == count
    assert [json.loads(line) for line in lines] == json.loads((tmp_path / "m.geojson").read_text())["features"]


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("its id is a UUID", lambda one: one.update(id="1" * 32)),
        ("it is one part", lambda one: one["geometry"].update(type="MultiPolygon")),
        ("its rings are closed", lambda one: rings(one)[0].pop()),
        ("its coordinates are finite", lambda one: rings(one)[0].append([math.nan, 1])),
        ("it does not cross itself", lambda one: rings(one).__setitem__(0, [[0, 0], [9, 9], [9, 0], [0, 9], [0, 0]])),
        ("nothing in it is null", lambda one: one["properties"].update(name=None)),
        ("its colour is [r, g, b]", lambda one: one["properties"]["classification"].update(color=-12345)),
        ("its measurements are finite numbers", lambda one: one["properties"]["measurements"].update(a=math.inf)),
    ],
)
def test_a_rule_notices_what_breaks_it(rule: str, change: Callable[[dict[str, Any]], Any]) -> None:
    square = [[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]]
    good = {
        "type": "Feature",
        "id": str(uuid.uuid4()),
        "geometry": {"type": "Polygon", "coordinates": [square]},
        "properties": {"classification": {"name": "a", "color": [1, 2, 3]}, "measurements": {"a": 1.0}},
    }
    assert RULES[rule](good)
    change(good)
    assert not RULES[rule](good)
