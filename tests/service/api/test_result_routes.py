"""Results over HTTP: the mask, its tiles, outlines and figures."""

from __future__ import annotations

import io
import json
import shutil
import time
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import zarr
from PIL import Image

import web
from live_server import Served, job_body, problem
from synthetic import class_map, files_of
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.mask.geojson import write_geojson
from wsi_segment.inference.mask.ngff import ATTRIBUTE
from wsi_segment.model.card import find_model


def test_zarr_readers_open_the_mask_over_http(served: Served, done: str, store: Path) -> None:
    remote = zarr.open_group(f"{served.url}/v1/jobs/{done}/results/zarr", mode="r")
    array = remote["labels/segmentation/0"]
    assert isinstance(array, zarr.Array)
    assert np.array_equal(np.asarray(array[:]), class_map(store))


def test_files_of_the_mask_have_ranges_and_tags_and_never_leave_it(http: httpx.Client, done: str) -> None:
    at = f"/v1/jobs/{done}/results/zarr/zarr.json"
    whole = http.get(at)
    assert "immutable" in whole.headers["cache-control"]
    part = http.get(at, headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.content) == (206, whole.content[5:10])
    assert part.headers["content-range"] == f"bytes 5-9/{len(whole.content)}"
    same = http.get(at, headers={"If-None-Match": whole.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    assert http.head(at).headers["content-length"] == str(len(whole.content))
    assert http.get(at, headers={"Range": f"bytes={10**9}-"}).status_code == 416
    assert 'href="segmentation"' in http.get(f"/v1/jobs/{done}/results/zarr/labels").text  # a folder is listed
    for path in ("none", "%2e%2e/mask.summary.json", "..%2fmask.summary.json", "%2fetc%2fpasswd", "a%00b"):
        problem(http.get(f"/v1/jobs/{done}/results/zarr/{path}"), 404)


def test_the_mask_comes_as_one_archive(http: httpx.Client, done: str, store: Path, tmp_path: Path) -> None:
    links = {link["rel"]: link["href"] for link in http.get(f"/v1/jobs/{done}/results").json()}
    answer = http.get(links["archive"])
    assert (answer.headers["content-type"], answer.headers["cache-control"]) == ("application/zip", "no-store")
    (tmp_path / "mask.zarr.zip").write_bytes(answer.content)
    with zipfile.ZipFile(tmp_path / "mask.zarr.zip") as archive:
        assert archive.testzip() is None
        assert archive.namelist()[0] == "zarr.json"
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        archive.extractall(tmp_path / "unpacked")
    assert files_of(tmp_path / "unpacked") == files_of(store)
    with zarr.storage.ZipStore(tmp_path / "mask.zarr.zip", mode="r") as zipped:
        array = zarr.open_group(zipped, mode="r")["labels/segmentation/0"]
        assert isinstance(array, zarr.Array)
        assert np.array_equal(np.asarray(array[:]), class_map(store))
    assert http.head(links["archive"]).status_code == 200


def test_every_tile_of_every_level_is_the_masks_own(http: httpx.Client, done: str, store: Path) -> None:
    table = http.get(f"/v1/jobs/{done}/results/tiles.json").json()
    assert table["tile_size"] == 256
    assert (table["slide_width"], table["slide_height"], table["origin"]) == (900, 700, [0.0, 0.0])
    assert [entry["name"] for entry in table["classes"]] == ["not analysed", "red", "green", "blue"]
    for z, level in enumerate(table["levels"]):
        ids = class_map(store, z)
        assert (level["height"], level["width"], level["downsample"]) == (*ids.shape, 2**z)
        seen = np.zeros_like(ids)
        columns, rows = -(-level["width"] // 256), -(-level["height"] // 256)
        for y in range(rows):
            for x in range(columns):
                content = http.get(f"/v1/jobs/{done}/results/tiles/{z}/{x}/{y}.png").content
                with Image.open(io.BytesIO(content)) as tile:
                    assert tile.mode == "L"
                    seen[y * 256 : (y + 1) * 256, x * 256 : (x + 1) * 256] = np.asarray(tile)
        assert np.array_equal(seen, ids)
        for x, y, across, down in ((0, 0, 8, 8), (1, 0, 2, 2), (columns - 1, rows - 1, 1, 3)):
            place = f"{z}/{x}/{y}.png?columns={across}&rows={down}"
            answer = http.get(f"/v1/jobs/{done}/results/tiles/{place}")
            part = ids[y * 256 : (y + down) * 256, x * 256 : (x + across) * 256]
            if part.size:
                assert np.array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), part), (
                    "several as one picture"
                )
            else:
                problem(answer, 404)
        for x, y in ((columns, 0), (0, rows), (columns, rows)):
            problem(http.get(f"/v1/jobs/{done}/results/tiles/{z}/{x}/{y}.png"), 404)
    problem(http.get(f"/v1/jobs/{done}/results/tiles/{len(table['levels'])}/0/0.png"), 404)
    for wrong in ("columns=9", "rows=0", "columns=-1"):
        problem(http.get(f"/v1/jobs/{done}/results/tiles/0/0/0.png?{wrong}"), 422)


def test_outlines_are_those_of_the_command_line_and_can_be_picked(
    http: httpx.Client, done: str, store: Path, tmp_path: Path
) -> None:
    at = f"/v1/jobs/{done}/results/objects.geojson"
    answer = http.get(at)
    assert answer.headers["content-type"].startswith("application/geo+json")
    write_geojson(tmp_path / "m.geojson", store)
    every = answer.json()["features"]
    assert every == json.loads((tmp_path / "m.geojson").read_text())["features"]
    red = http.get(at, params={"class": "red"}).json()["features"]
    assert red == [one for one in every if one["properties"]["name"] == "red"]
    both = http.get(at, params=[("class", "red"), ("class", "blue")]).json()["features"]
    assert len(red) < len(both) < len(every)

    def meets(feature: dict[str, Any], x0: float, y0: float, x1: float, y1: float) -> bool:
        points = np.array(feature["geometry"]["coordinates"][0])
        low, high = points.min(axis=0), points.max(axis=0)
        return bool(low[0] <= x1 and high[0] >= x0 and low[1] <= y1 and high[1] >= y0)

    inside = http.get(at, params={"bbox": "300,250,420.5,300"}).json()["features"]
    assert inside == [one for one in every if meets(one, 300, 250, 420.5, 300)]
    assert 0 < len(inside) < len(every)
    assert http.get(at, params={"bbox": "-9,-9,-5,-5"}).json()["features"] == []
    problem(http.get(at, params={"class": "violet"}), 404)
    problem(http.get(at, params={"bbox": "1,2,3"}), 422)


def test_figures_and_origin_tell_no_file_names(http: httpx.Client, done: str, served: Served) -> None:
    for name in ("summary.json", "provenance.json", "tiles.json", "files.json"):
        text = http.get(f"/v1/jobs/{done}/results/{name}").text
        assert "s0" not in text
        assert str(served.folder) not in text
    summary = http.get(f"/v1/jobs/{done}/results/summary.json").json()
    assert sum(area["percent_of_tissue"] for area in summary["classes"]) == pytest.approx(100, abs=0.01)
    with Image.open(io.BytesIO(http.get(f"/v1/jobs/{done}/results/preview.png").content)) as picture:
        assert picture.width > 900


def test_results_are_removed_when_that_is_asked(http: httpx.Client, served: Served) -> None:
    with served.client() as client:
        job = client.wait(http.post("/v1/jobs", json=job_body(client)).json()["id"])
    assert http.delete(f"/v1/jobs/{job['id']}/results").status_code == 204
    assert not (served.data / "results" / job["id"]).exists()
    assert "removed" in problem(http.get(f"/v1/jobs/{job['id']}/results/summary.json"), 404)["detail"]
    assert http.get(f"/v1/jobs/{job['id']}").json()["status"] == "successful"
    with served.client() as client:
        kinds = [event["kind"] for event in client.events("jobs", job["id"])]  # which ends
    assert kinds[-2:] == ["successful", "removed"]


def test_finished_masks_are_served_without_a_job(served: Served, tmp_path: Path, store: Path) -> None:
    folder = tmp_path / "server"
    (folder / "slides").mkdir(parents=True)
    (folder / "models").mkdir()
    masks = folder / "masks"
    model = find_model(served.folder / "models" / "channels")
    segment(served.folder / "slides" / "s0.tiff", model, masks / "a.zarr", SegmentOptions())
    (masks / "other.zarr").mkdir()
    with Served(folder, "--results", masks, "--workers", 0) as running, running.client() as client:
        (job,) = client.jobs()
        assert (job["status"], job["model"]) == ("successful", "channels")
        assert client.fetch(job["id"], tmp_path / "copy.zarr") > 5
        assert files_of(tmp_path / "copy.zarr") == files_of(store)
        results = f"{running.url}/v1/jobs/{job['id']}/results"
        assert web.get(f"{results}/objects.geojson").json()["features"]
        assert web.get(f"{results}/tiles/0/0/0.png").is_success
        assert web.delete(results).status_code == 409
        running.stop()
        odd: list[Any] = [None, [], {"model": "m", "slide": {}}, {"slide": {"fingerprint": "f"}}]
        for number, provenance in enumerate(odd):
            zarr.create_group(masks / f"odd{number}.zarr").attrs[ATTRIBUTE] = provenance
        (masks / "file.zarr").write_text("no folder")
        running.start()
        assert [one["id"] for one in client.jobs()] == [job["id"]]  # not once more, and none of the odd ones
        deadline = time.monotonic() + 30  # folders are looked into beside the requests
        while running.log.count("is not a mask of wsi-segment") < len(odd) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert running.log.count("is not a mask of wsi-segment") == len(
            odd
        )  # without metadata nothing is a store at all
        (masks / "a.zarr").rename(masks / "b.zarr")
        for path in ("", "/tiles.json", "/provenance.json", "/objects.geojson", "/zarr/zarr.json", "/files.json"):
            assert problem(web.get(results + path), 404)["type"].endswith(":no-result"), path


def test_a_mask_is_served_as_long_as_its_folder_is_named(served: Served, tmp_path: Path, store: Path) -> None:
    folder, masks = tmp_path / "server", tmp_path / "masks"
    (folder / "slides").mkdir(parents=True)
    (folder / "models").mkdir()
    shutil.copytree(store, masks / "a.zarr")
    with Served(folder, "--results", masks, "--workers", 0) as running, running.client() as client:
        (job,) = client.jobs()
        assert web.get(f"{running.url}/v1/jobs/{job['id']}/results/tiles.json").is_success
    with Served(folder, "--workers", 0) as running:
        answer = web.get(f"{running.url}/v1/jobs/{job['id']}/results/tiles.json")
        assert "--results" in problem(answer, 404)["detail"]


def test_results_of_version_04_are_served_too(served: Served, http: httpx.Client) -> None:
    with served.client() as client:
        job = client.wait(http.post("/v1/jobs", json=job_body(client, ome_zarr="0.4", probabilities=True)).json()["id"])
    rels = {link["rel"]: link["href"] for link in job["links"]}
    assert "multiscales" in http.get(rels["mask"]).json()
    assert http.get(f"/v1/jobs/{job['id']}/results/zarr/probabilities/0/.zarray").is_success
