"""The HTTP interface, on a real server with a cheap model."""

from __future__ import annotations

import io
import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import zarr
from PIL import Image

from live_server import Served, job_body
from synthetic import class_map, files_of, tissue_like, write_slide
from wsi_segment.errors import InputError, RunError
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.mask.geojson import write_geojson
from wsi_segment.inference.mask.ngff import ATTRIBUTE
from wsi_segment.model.card import find_model
from wsi_segment.service.cli.commands import submit
from wsi_segment.service.cli.main import main


@pytest.fixture
def http(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def store(served: Served, done: str) -> Path:
    return served.data / "results" / done / "mask.zarr"


def connected(served: Served) -> socket.socket:
    """A bare connection, for what no client would send."""
    url = httpx.URL(served.url)
    return socket.create_connection((url.host, url.port), timeout=60)


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["status"] == status
    assert found["type"].startswith("urn:wsi-segment:problem:")
    return found


def test_the_mask_of_a_job_is_that_of_the_command_line(served: Served, store: Path, tmp_path: Path) -> None:
    model = find_model(served.folder / "models" / "channels")
    segment(served.folder / "slides" / "s0.tiff", model, tmp_path / "m.zarr", SegmentOptions())
    assert files_of(store) == files_of(tmp_path / "m.zarr")


def test_a_job_is_posted_followed_and_described(http: httpx.Client, served: Served) -> None:
    with served.client() as client:
        answer = http.post("/v1/jobs", json=job_body(client))
        assert answer.status_code == 201
        job = answer.json()
        assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
        assert (job["status"], job["progress"], job["model"]) == ("accepted", 0, "channels")
        seen = list(client.events("jobs", job["id"]))
    assert [event["kind"] for event in seen if event["kind"] != "progress"] == ["accepted", "running", "successful"]
    ended = http.get(f"/v1/jobs/{job['id']}").json()
    assert (ended["status"], ended["progress"]) == ("successful", 100)
    assert ended["created"] <= ended["started"] <= ended["finished"]
    assert job["slide_name"] == ended["slide_name"] == "s0.tiff"
    assert ended["slide_name"] in {listed["slide_name"] for listed in http.get("/v1/jobs").json()["jobs"]}
    rels = {link["rel"]: link["href"] for link in ended["links"]}
    assert http.get(rels["mask"]).is_success
    assert {link["rel"] for link in http.get(rels["http://www.opengis.net/def/rel/ogc/1.0/results"]).json()} == {
        "mask", "objects", "tiles", "summary", "provenance", "preview",
    }  # fmt: skip


def test_events_are_replayed_after_the_last_one_that_was_seen(http: httpx.Client, done: str) -> None:
    def numbers(after: int) -> list[int]:
        headers = {"Last-Event-ID": str(after)} if after else {}
        text = http.get(f"/v1/jobs/{done}/events", headers=headers).text
        return [int(line[4:]) for line in text.splitlines() if line.startswith("id: ")]

    every = numbers(0)
    assert every == sorted(every)
    assert len(every) >= 3
    assert numbers(every[0]) == every[1:]
    assert numbers(every[-1]) == []


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
    for path in ("labels", "none", "%2e%2e/mask.summary.json", "..%2fmask.summary.json", "%2fetc%2fpasswd", "a%00b"):
        problem(http.get(f"/v1/jobs/{done}/results/zarr/{path}"), 404)


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
        for x, y in ((columns, 0), (0, rows), (columns, rows)):
            problem(http.get(f"/v1/jobs/{done}/results/tiles/{z}/{x}/{y}.png"), 404)
    problem(http.get(f"/v1/jobs/{done}/results/tiles/{len(table['levels'])}/0/0.png"), 404)


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


def test_a_region_limits_a_job(served: Served, http: httpx.Client) -> None:
    ring = [[200, 200], [400, 200], [400, 400], [200, 400], [200, 200]]
    with served.client() as client:
        body = job_body(client, region={"type": "Polygon", "coordinates": [ring]}, tissue="none")
        job = http.post("/v1/jobs", json=body).json()
        assert client.wait(job["id"])["status"] == "successful"
    ids = class_map(served.data / "results" / job["id"] / "mask.zarr")
    assert ids[200:400, 200:400].all()
    outside = ids.copy()
    outside[180:420, 180:420] = 0
    assert not outside.any()


def test_a_region_may_be_a_box(served: Served, http: httpx.Client) -> None:
    with served.client() as client:
        body = job_body(client, region=[400, 200, 200, 400.0], tissue="none")  # any two corners
        job = http.post("/v1/jobs", json=body).json()
        assert client.wait(job["id"])["status"] == "successful"
    ids = class_map(served.data / "results" / job["id"] / "mask.zarr")
    assert ids[200:400, 200:400].all()
    ids[180:420, 180:420] = 0
    assert not ids.any()
    for wrong in ([1, 2, 3], [1, 2, 3, 4, 5], ["1", 2, 3, 4], [1, 2, 3, 1e10], {"type": "Box"}):
        problem(http.post("/v1/jobs", json=body | {"region": wrong}), 422)
    (example,) = (
        one["region"] for one in http.get("/openapi.json").json()["components"]["schemas"]["JobRequest"]["examples"]
        if "region" in one
    )  # fmt: skip
    assert len(example) == 4


def test_a_slide_is_described_shown_and_tiled(http: httpx.Client, served: Served) -> None:
    (slide,) = http.get("/v1/slides", params={"path": "slides/s0.tiff"}).json()["slides"]
    assert (slide["name"], slide["width"], slide["height"], slide["mpp"]) == ("s0.tiff", 900, 700, 1.0)
    assert http.get("/v1/slides", params={"path": str(served.folder / "slides" / "s0.tiff")}).json()["slides"] == [
        slide
    ]
    at = f"/v1/slides/{slide['id']}"
    assert http.get(at).json() == slide
    with Image.open(io.BytesIO(http.get(f"{at}/thumbnail", params={"size": 200}).content)) as thumbnail:
        assert thumbnail.size == (200, 156)
    with Image.open(io.BytesIO(http.get(f"{at}/tiles/0/3/2.jpg").content)) as tile:
        assert tile.size == (900 - 3 * 256, 700 - 2 * 256)
    problem(http.get(f"{at}/tiles/0/4/0.jpg"), 404)
    problem(http.get(f"{at}/tiles/9/0/0.jpg"), 404)
    assert 'Width="900" Height="700"' in http.get(f"{at}/slide.dzi").text
    with Image.open(io.BytesIO(http.get(f"{at}/slide_files/10/3_2.jpg").content)) as same:
        assert same.size == (900 - 3 * 256, 700 - 2 * 256)
    with Image.open(io.BytesIO(http.get(f"{at}/slide_files/9/0_0.jpg").content)) as half:
        assert half.size == (256, 256)
        expected = tissue_like(700, 900).reshape(350, 2, 450, 2, 3).mean(axis=(1, 3))[:256, :256]
        assert np.abs(np.asarray(half) - expected).mean() < 6  # JPEG


def test_the_longest_paths_that_are_allowed_are_answered(served: Served) -> None:
    """In pieces, as a network brings them: a request that arrives whole is never too long."""
    character = "%F0%9F%94%AC"
    line = f"GET /v1/slides?prefix={character * 4096}&path={character * 4096} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with connected(served) as connection:
        for start in range(0, len(line), 20_000):
            connection.sendall(line[start : start + 20_000].encode())
            time.sleep(0.05)
        assert connection.recv(100).startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize(
    "sent", ["no HTTP at all", "GET /v1/slides HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer \x0b"]
)
def test_what_is_no_request_is_a_problem_too(served: Served, sent: str) -> None:
    with connected(served) as connection:
        connection.sendall(f"{sent}\r\n\r\n".encode())
        head, _, body = b"".join(iter(lambda: connection.recv(4096), b"")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/problem+json" in head
    assert json.loads(body)["type"] == "urn:wsi-segment:problem:malformed-request"


def test_a_body_that_is_torn_after_the_answer_ends_the_connection(served: Served) -> None:
    with connected(served) as connection:
        connection.sendall(
            b"GET /v1/slides?page_size=1 HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"no chunk\r\n")
        while connection.recv(4096):
            pass
    assert "LocalProtocolError" not in served.log


def test_slides_are_listed_by_pages(http: httpx.Client) -> None:
    first = http.get("/v1/slides", params={"page_size": 1}).json()
    assert [slide["name"] for slide in first["slides"]] == ["s0.tiff"]
    second = http.get("/v1/slides", params={"page_size": 1, "page_token": first["next_page_token"]}).json()
    assert [slide["name"] for slide in second["slides"]] == ["s1.tiff"]
    assert second["next_page_token"] == ""
    assert [one["name"] for one in http.get("/v1/slides", params={"prefix": "s1"}).json()["slides"]] == ["s1.tiff"]
    problem(http.get("/v1/slides", params={"root": "none"}), 404)


def test_what_cannot_be_a_job_is_refused_with_the_reason(http: httpx.Client, served: Served) -> None:
    with served.client() as client:
        body = job_body(client)
    assert "901 there" in problem(http.post("/v1/jobs", json=body | {"width": 901, "height": 700}), 409)["detail"]
    assert http.post("/v1/jobs", json=body | {"width": 900, "height": 700}).status_code == 201
    problem(http.post("/v1/jobs", json=body | {"slide": "0" * 24}), 404)
    assert "channels" in problem(http.post("/v1/jobs", json=body | {"model": "none"}), 404)["detail"]
    for wrong in (
        {"mpp": 0.0},
        {"overlap": 0.95},
        {"priority": 11},
        {"colour": 1},
        {"probabilities": "yes"},
        {"mpp": "1"},
    ):
        problem(http.post("/v1/jobs", json=body | wrong), 422)
    problem(http.post("/v1/jobs", content=b"{", headers={"content-type": "application/json"}), 422)
    (served.folder / "slides" / "text.svs").write_text("no slide")
    try:
        with served.client() as client:
            found = client.find_slide("slides/text.svs")
            assert "not a slide" in found["error"]
            assert str(served.folder) not in found["error"]
        assert "not a slide" in problem(http.post("/v1/jobs", json=body | {"slide": found["id"]}), 422)["detail"]
    finally:
        (served.folder / "slides" / "text.svs").unlink()


def test_pages_batches_and_regions_have_limits(http: httpx.Client) -> None:
    for path in ("slides", "jobs", "batches"):
        assert "page_size" in problem(http.get(f"/v1/{path}", params={"page_size": 1001}), 422)["detail"]
    problem(http.post("/v1/batches", json={"jobs": [{"slide": "x"}] * 50_001}), 422)
    region = {"type": "Polygon", "coordinates": [[[0, 0]] * 100_001]}
    problem(http.post("/v1/jobs", json={"slide": "0" * 24, "region": region}), 422)


def test_the_same_key_gives_the_same_answer_and_one_job(http: httpx.Client, served: Served) -> None:
    with served.client() as client:
        body = job_body(client)
    headers = {"Idempotency-Key": "one-of-mine"}
    answers: list[httpx.Response] = []
    threads = [
        threading.Thread(target=lambda: answers.append(httpx.post(f"{served.url}/v1/jobs", json=body, headers=headers)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert "another body" in problem(http.post("/v1/jobs", json=body | {"priority": 1}, headers=headers), 422)["detail"]


def test_a_batch_is_accepted_whole_or_not_at_all(http: httpx.Client, served: Served) -> None:
    before = len(http.get("/v1/jobs", params={"page_size": 1000}).json()["jobs"])
    rows = [{"slide": f"slides/s{index}.tiff", "model": "channels"} for index in (0, 1)]
    wrong = problem(
        http.post("/v1/batches", json={"jobs": [*rows, {"slide": "slides/x"}, {"slide": "/etc/passwd"}]}), 404
    )
    assert [error["row"] for error in wrong["errors"]] == [3, 4]
    manifest = "slide,mpp,model\nslides/s0.tiff,,channels\nslides/x.tiff,,\nslides/s1.tiff,abc,channels\n"
    wrong = problem(http.post("/v1/batches", content=manifest, headers={"content-type": "text/csv"}), 422)
    assert [error["row"] for error in wrong["errors"]] == [2, 3]  # a path, and a number
    bad = {"jobs": [rows[0], {"slide": "slides/x"}, {"slide": "slides/s1.tiff", "mpp": "a"}, {"colour": 1}, 5]}
    wrong = problem(http.post("/v1/batches", json=bad), 422)
    assert [error["row"] for error in wrong["errors"]] == [2, 3, 4, 5]
    assert len(http.get("/v1/jobs", params={"page_size": 1000}).json()["jobs"]) == before
    answer = http.post("/v1/batches", json={"name": "week 12", "jobs": rows})
    assert answer.status_code == 201
    batch = answer.json()
    assert (batch["jobs"], batch["counts"], batch["name"]) == (2, {"accepted": 2}, "week 12")
    with served.client() as client:
        seen = list(client.events("batches", batch["id"]))
    assert sum(event["kind"] == "successful" for event in seen) == 2
    ended = http.get(answer.headers["location"]).json()
    assert (ended["status"], ended["progress"], ended["counts"]) == ("successful", 100, {"successful": 2})
    assert len(http.get("/v1/jobs", params={"batch": batch["id"]}).json()["jobs"]) == 2
    problem(http.post("/v1/batches", content=b"x", headers={"content-type": "text/plain"}), 415)
    assert batch["id"] in [one["id"] for one in http.get("/v1/batches").json()["batches"]]


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ("slide,mpp\n" + "slides/s0.tiff,\n" * 50_001, "50001 rows; give 1 to 50000"),
        ("slide,mpp\n", "0 rows"),
        ("slide,window\nslides/s0.tiff,512\n", "'window' is unknown"),
        ("path\nslides/s0.tiff\n", "'slide' is missing"),
        ('slide,mpp\n"slides/s0.tiff,\n', "not CSV"),
        ("slide,mpp\nslides/s0.tiff,0.5,7\n", "more cells than columns"),
        ("slide,mpp\nslides/s0.tiff,1e9\n", "mpp: "),
        ("slide,mpp\nslides/s0.tiff,nan\n", "mpp: "),
    ],
)
def test_a_manifest_that_cannot_be_read_as_meant_is_refused(http: httpx.Client, manifest: str, said: str) -> None:
    answer = http.post("/v1/batches", content=manifest, headers={"content-type": "text/csv"})
    assert said in problem(answer, 422)["detail"]


def test_columns_of_a_manifest_may_be_spelt_as_people_do(http: httpx.Client, served: Served) -> None:
    manifest = "\ufeffSlide, MPP ,model\r\nslides/s0.tiff, 0.9, channels\r\n".encode()
    batch = http.post("/v1/batches", content=manifest, headers={"content-type": "text/csv"}).json()
    (job,) = http.get("/v1/jobs", params={"batch": batch["id"]}).json()["jobs"]
    with served.client() as client:
        assert client.wait(job["id"])["status"] == "successful"
    assert http.get(f"/v1/jobs/{job['id']}/results/summary.json").json()["mpp"] == 0.9


def test_cancelling_and_trying_again(http: httpx.Client, served: Served) -> None:
    with served.client() as client:
        body = job_body(client, priority=-10)
        blocking = [http.post("/v1/jobs", json=job_body(client)).json()["id"] for _ in range(2)]
        job = http.post("/v1/jobs", json=body).json()
        ended = http.delete(f"/v1/jobs/{job['id']}").json()
        assert ended["status"] == "dismissed"
        problem(http.get(f"/v1/jobs/{job['id']}/results"), 404)
        assert http.post(f"/v1/jobs/{job['id']}/retry").json()["status"] == "accepted"
        assert client.wait(job["id"])["status"] == "successful"
        problem(http.post(f"/v1/jobs/{job['id']}/retry"), 409)
        assert http.delete(f"/v1/jobs/{job['id']}").json()["status"] == "successful"
        for one in blocking:
            client.wait(one)


def test_a_running_job_ends_soon_after_it_is_cancelled(http: httpx.Client, served: Served) -> None:
    write_slide(served.folder / "slides" / "large.tiff", tissue_like(6000, 6000))
    try:
        with served.client() as client:
            job = http.post("/v1/jobs", json=job_body(client, "large.tiff", overlap=0.9)).json()
            for event in client.events("jobs", job["id"]):
                if event["kind"] == "progress" and event["stage"] == "segment" and event["done"]:
                    break
            http.delete(f"/v1/jobs/{job['id']}")
            started = time.monotonic()
            assert client.wait(job["id"])["status"] == "dismissed"
            assert time.monotonic() - started < 10
    finally:
        (served.folder / "slides" / "large.tiff").unlink()


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


def test_a_slide_is_uploaded_under_a_name_of_the_servers(http: httpx.Client, served: Served, tmp_path: Path) -> None:
    content = write_slide(tmp_path / "mine.tiff", tissue_like(300, 300)).read_bytes()
    slide = http.post("/v1/slides", params={"suffix": ".tiff"}, content=content).json()
    assert (slide["root"], slide["width"]) == ("uploads", 300)
    assert "mine" not in slide["name"]
    job = http.post("/v1/jobs", json={"slide": slide["id"], "model": "channels"})
    assert job.status_code == 201
    problem(http.post("/v1/slides", params={"suffix": ".exe"}, content=content), 422)
    problem(http.post("/v1/slides", params={"suffix": ".tiff"}, content=b"x" * (2 << 20) + b"x"), 413)
    assert "not a slide" in problem(http.post("/v1/slides", params={"suffix": ".tiff"}, content=b"text"), 422)["detail"]
    assert [path.suffix for path in (served.data / "uploads").iterdir()] == [".tiff"]


def test_models_health_metrics_and_pages(http: httpx.Client) -> None:
    models = http.get("/v1/models").json()
    assert models["default"] == "colorectal-biopsy"
    assert {model["name"] for model in models["models"]} == {"colorectal-biopsy", "channels"}
    assert http.get("/v1/models/channels").json()["classes"][0]["name"] == "red"
    problem(http.get("/v1/models/none"), 404)
    assert http.get("/health/live").json() == {"status": "alive"}
    assert http.get("/health/ready").json() == {"status": "ready"}
    metrics = http.get("/metrics").text
    assert 'wsi_segment_jobs{status="successful"}' in metrics
    assert "s0" not in metrics
    page = http.get("/docs").text
    assert "http" not in page.replace("wsi-segment", "")  # nothing is loaded from elsewhere
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "start.js", "favicon-32x32.png"):
        assert f"/docs/{name}" in page
        assert http.get(f"/docs/{name}").is_success
    problem(http.get("/nowhere"), 404)
    assert problem(http.put("/v1/jobs"), 405)["detail"]


def test_the_commands_talk_to_a_server(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ["--server", served.url]
    assert main(["submit", "slides/s0.tiff", "--model", "channels", "--wait", *server]) == 0
    job = capsys.readouterr().out.splitlines()[0]
    out, outlines = tmp_path / "m.zarr", tmp_path / "m.geojson"
    arguments = ["fetch", job, "--out", str(out), "--geojson", str(outlines), "--preview", str(tmp_path / "p.png")]
    assert main([*arguments, *server]) == 0
    assert files_of(out) == files_of(served.data / "results" / job / "mask.zarr")
    assert json.loads(outlines.read_text())["features"]
    assert main(["status", job, "--json", *server]) == 0
    assert json.loads(capsys.readouterr().out.partition("\n{")[2].join(["{", ""]))["status"] == "successful"
    (tmp_path / "m.csv").write_text("slide,mpp,model\nslides/s0.tiff,,channels\nslides/s1.tiff,,channels\n")
    assert main(["submit", "--manifest", str(tmp_path / "m.csv"), "--wait", *server]) == 0
    capsys.readouterr()
    assert main(["status", *server]) == 0
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()[:2]] == ["s1.tiff", "s0.tiff"]
    assert main(["status", job, "--cancel", *server]) == 0
    assert capsys.readouterr().out.rstrip().endswith("s0.tiff  had ended before")
    for bad, said in (
        (["submit", "slides/none.tiff"], "path map"),
        (["fetch", "0" * 24, "--out", str(tmp_path / "n.zarr")], "unknown"),
        (["status", "0" * 24], "unknown"),
        (["fetch", job, "--out", str(out)], "already exists"),
    ):
        assert main([*bad, *server]) == 2
        assert said in capsys.readouterr().err


def test_flags_that_a_manifest_would_drop_are_refused(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.csv").write_text("slide\nslides/s0.tiff\n")
    (tmp_path / "r.json").write_text('{"type": "Polygon", "coordinates": []}')
    flags = (("model", "channels"), ("mpp", "1"), ("overlap", "0"), ("priority", "1"), ("region", tmp_path / "r.json"))
    for name, value in flags:
        command = ["submit", "--manifest", str(tmp_path / "m.csv"), f"--{name}", str(value), "--server", served.url]
        assert main(command) == 2
        said = capsys.readouterr()
        assert f"--{name} is not for rows of --manifest" in said.err
        assert said.out == ""


def test_who_interrupts_waiting_is_told_where_the_job_goes_on(
    served: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(client: object, posted: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(submit, "_wait", interrupted)
    command = ["submit", "slides/s0.tiff", "slides/s1.tiff", "--model", "channels", "--wait", "--server", served.url]
    assert main(command) == 130
    said = capsys.readouterr()
    job = said.out.split()[-1]
    assert f"{job} goes on at the server, as do 1 before it; see wsi-segment status {job}" in said.err
    assert "same command" not in said.err


def test_a_copy_that_was_cut_off_is_gone_on_with_for_the_same_job_only(
    served: Served, done: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = next(one for one in served.data.joinpath("results").iterdir() if one.name != done)
    out = tmp_path / "m.zarr"
    with served.client() as client:
        (tmp_path / f"m.zarr.{other.name}.partial").mkdir()
        whole = (served.data / "results" / done / "mask.zarr" / "zarr.json").read_bytes()
        (tmp_path / f"m.zarr.{other.name}.partial" / "zarr.json").write_bytes(b"x" * len(whole))
        client.fetch(done, out)
        assert files_of(out) == files_of(served.data / "results" / done / "mask.zarr")
        monkeypatch.setattr(client, "_call", lambda *_, **more: {"files": [{"path": "../../x", "size": 1}]})
        with pytest.raises(RunError, match="outside of the mask"):
            client.fetch(done, tmp_path / "n.zarr")


def test_a_client_without_a_server_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from wsi_segment.service import client

    monkeypatch.setattr(client, "_TRIES", 1)
    assert main(["status", "--server", "http://127.0.0.1:9"]) == 1
    assert "is wsi-segment serve running" in capsys.readouterr().err
    with client.Client("nonsense") as wrong, pytest.raises(InputError, match="not an address"):
        wrong.job("x")


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
        assert httpx.get(f"{results}/objects.geojson", timeout=60).json()["features"]
        assert httpx.get(f"{results}/tiles/0/0/0.png").is_success
        assert httpx.delete(results).status_code == 409
        running.stop()
        odd: list[Any] = [None, [], {"model": "m", "slide": {}}, {"slide": {"fingerprint": "f"}}]
        for number, provenance in enumerate(odd):
            zarr.create_group(masks / f"odd{number}.zarr").attrs[ATTRIBUTE] = provenance
        (masks / "file.zarr").write_text("no folder")
        running.start()
        assert [one["id"] for one in client.jobs()] == [job["id"]]  # not once more, and none of the odd ones
        assert running.log.count("is no mask of wsi-segment") == 1 + 6
        (masks / "a.zarr").rename(masks / "b.zarr")
        for path in ("", "/tiles.json", "/provenance.json", "/objects.geojson", "/zarr/zarr.json", "/files.json"):
            assert problem(httpx.get(results + path), 404)["type"].endswith(":no-result"), path


def test_a_mask_is_served_as_long_as_its_folder_is_named(served: Served, tmp_path: Path, store: Path) -> None:
    folder, masks = tmp_path / "server", tmp_path / "masks"
    (folder / "slides").mkdir(parents=True)
    (folder / "models").mkdir()
    shutil.copytree(store, masks / "a.zarr")
    with Served(folder, "--results", masks, "--workers", 0) as running, running.client() as client:
        (job,) = client.jobs()
        assert httpx.get(f"{running.url}/v1/jobs/{job['id']}/results/tiles.json").is_success
    with Served(folder, "--workers", 0) as running:
        answer = httpx.get(f"{running.url}/v1/jobs/{job['id']}/results/tiles.json")
        assert "--results" in problem(answer, 404)["detail"]


def test_results_of_version_04_are_served_too(served: Served, http: httpx.Client) -> None:
    with served.client() as client:
        job = client.wait(http.post("/v1/jobs", json=job_body(client, ome_zarr="0.4", probabilities=True)).json()["id"])
    rels = {link["rel"]: link["href"] for link in job["links"]}
    assert "multiscales" in http.get(rels["mask"]).json()
    assert http.get(f"/v1/jobs/{job['id']}/results/zarr/probabilities/0/.zarray").is_success
