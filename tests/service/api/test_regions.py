"""The region of a job over HTTP: every kind of GeoJSON, and what becomes of one that covers nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import web
from live_server import Served, job_body
from synthetic import class_map
from wsi_segment.service.cli.main import main

RING = [[200, 200], [400, 200], [400, 400], [200, 400]]
POLYGON: dict[str, Any] = {"type": "Polygon", "coordinates": [RING], "plane": {"c": -1, "z": 0, "t": 0}}
FEATURE: dict[str, Any] = {"type": "Feature", "geometry": POLYGON, "properties": {"objectType": "annotation"}}
LINE = {"type": "Feature", "geometry": {"type": "LineString", "coordinates": [[0, 0], [9, 9]]}, "properties": None}
REGIONS = {
    "polygon": POLYGON,
    "multipolygon": {"type": "MultiPolygon", "coordinates": [[RING]]},
    "collection of geometries": {"type": "GeometryCollection", "geometries": [LINE["geometry"], POLYGON]},
    "feature": FEATURE,
    "collection": {"type": "FeatureCollection", "features": [LINE, {"type": "Feature", "geometry": None}, FEATURE]},
    "list": [FEATURE, LINE],
}


def only_the_square(store: Path) -> bool:
    ids = class_map(store)
    inside = bool(ids[200:400, 200:400].all())
    ids[180:420, 180:420] = 0
    return inside and not ids.any()


def test_every_kind_of_geojson_limits_a_job(served: Served) -> None:
    with served.client() as client:
        jobs = {}
        for kind, region in REGIONS.items():
            answer = web.post(f"{served.url}/v1/jobs", json=job_body(client, region=region, tissue="none"))
            assert answer.status_code == 201, (kind, answer.text)
            jobs[kind] = answer.json()["id"]
        for kind, job in jobs.items():
            assert client.wait(job)["status"] == "successful", kind
            assert only_the_square(served.data / "results" / job / "mask.zarr"), kind


@pytest.mark.parametrize(
    ("region", "where"),
    [
        ({"type": "Ellipse"}, "body.region.geojson: Input tag 'Ellipse'"),
        ([], "body.region.box"),
        ([{"type": "Feature", "geometry": "Polygon"}], "body.region.features.0.geometry: Input should be"),
        (
            {"type": "FeatureCollection", "features": [FEATURE], "axes": [{"name": "x", "unit": "micrometer"}]},
            "body.region.geojson.FeatureCollection: Value error, its coordinates are in micrometer; give",
        ),
        (
            FEATURE | {"unit": "um"},
            "body.region.geojson.Feature: Value error, its coordinates are in um; give them in level-0",
        ),
    ],
)
def test_what_is_not_geojson_makes_no_job(region: Any, where: str, served: Served) -> None:
    with served.client() as client:
        answer = web.post(f"{served.url}/v1/jobs", json=job_body(client, region=region))
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(where)


@pytest.mark.parametrize(
    ("region", "message"),
    [
        (
            [5000, 0, 5100, 50],
            "its outlines lie beside the slide: they span x 5000 to 5100 and y 0 to 50, the slide x 0",
        ),
        ([0, 0, 40, 40], "no tissue lies within its outlines"),
        (
            {"type": "Polygon", "coordinates": [[[9, 9], [9, 9], [9, 9]]]},
            "no outline has an area, it holds only 1 flat",
        ),
        ([{"type": "Feature", "geometry": {"type": "Polygon"}}], "not GeoJSON: a Polygon holds no list"),
        ([LINE, LINE], "no outline has an area, it holds only 2 lines; draw an area"),
        ({"type": "Feature", "geometry": None}, "no outline has an area, it holds only 1 feature without geometry"),
    ],
)
def test_a_job_whose_region_covers_nothing_fails_and_says_so(region: Any, message: str, served: Served) -> None:
    with served.client() as client:
        job = web.post(f"{served.url}/v1/jobs", json=job_body(client, region=region)).json()
        ended = client.wait(job["id"])
    assert ended["status"] == "failed"
    assert message in ended["message"]
    assert str(served.folder) not in ended["message"]


def test_a_file_of_outlines_is_submitted(served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.geojson").write_bytes(json.dumps([LINE, FEATURE, FEATURE]).encode("utf-16"))
    command = ["submit", "slides/s0.tiff", "--model", "channels", "--region", str(tmp_path / "r.geojson"), "--wait"]
    assert main([*command, "--server", served.url]) == 0
    job = capsys.readouterr().out.split()[0].rstrip(":")
    ids = class_map(served.data / "results" / job / "mask.zarr")
    assert ids.any()
    ids[180:420, 180:420] = 0
    assert not ids.any()
