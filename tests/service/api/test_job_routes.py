"""Jobs over HTTP, on a real server with a cheap model."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import httpx

import web
from live_server import Served, job_body, problem, write_large_slide
from synthetic import class_map, files_of
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.model.card import find_model


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
        "mask", "archive", "objects", "tiles", "summary", "provenance", "preview",
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
    for windows, said in (({"window": 172}, "`window` 172"), ({"window": 64, "overlap": 0.5}, "an `overlap`")):
        refused = problem(http.post("/v1/jobs", json=body | windows), 422)
        assert (refused["type"], said in refused["detail"]) == ("urn:wsi-segment:problem:impossible-parameters", True)
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
        threading.Thread(target=lambda: answers.append(web.post(f"{served.url}/v1/jobs", json=body, headers=headers)))
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


def test_cancelling_and_trying_again(http: httpx.Client, served: Served) -> None:
    with served.client() as client:
        body = job_body(client, priority=-10)
        blocking = [http.post("/v1/jobs", json=job_body(client)).json()["id"] for _ in range(2)]
        job = http.post("/v1/jobs", json=body).json()
        http.delete(f"/v1/jobs/{job['id']}")
        assert client.wait(job["id"])["status"] == "dismissed"
        problem(http.get(f"/v1/jobs/{job['id']}/results"), 404)
        assert http.post(f"/v1/jobs/{job['id']}/retry").json()["status"] in ("accepted", "running")
        assert client.wait(job["id"])["status"] == "successful"
        problem(http.post(f"/v1/jobs/{job['id']}/retry"), 409)
        assert http.delete(f"/v1/jobs/{job['id']}").json()["status"] == "successful"
        for one in blocking:
            client.wait(one)


def test_a_running_job_ends_soon_after_it_is_cancelled(http: httpx.Client, served: Served) -> None:
    write_large_slide(served.folder / "slides" / "large.tiff", 6000)
    try:
        with served.client() as client:
            job = http.post("/v1/jobs", json=job_body(client, "large.tiff", overlap=0.9)).json()
            for event in client.events("jobs", job["id"]):
                if event["kind"] == "progress" and event["stage"] == "segment" and event["done"]:
                    break
            http.delete(f"/v1/jobs/{job['id']}")
            started = time.monotonic()
            assert client.wait(job["id"])["status"] == "dismissed"
            assert time.monotonic() - started < 30  # the whole job takes minutes
    finally:
        (served.folder / "slides" / "large.tiff").unlink()
