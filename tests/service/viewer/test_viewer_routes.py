"""Routes for the viewer alone: events of all jobs, probabilities, search, partial masks."""

from __future__ import annotations

import io
import json
import threading

import numpy as np
import pytest
import zarr
from PIL import Image

import web
from live_server import Served, job_body, problem


@pytest.fixture(scope="module")
def with_probabilities(served: Served) -> str:
    """The id of a job that kept probabilities."""
    with served.client() as client:
        job = client.submit("slides/s1.tiff", model="channels", probabilities=True)
        assert client.wait(job["id"])["status"] == "successful"
    return str(job["id"])


def test_tiles_of_probabilities_are_those_of_the_store(served: Served, with_probabilities: str) -> None:
    at = f"{served.url}/v1/jobs/{with_probabilities}/results"
    assert web.get(f"{at}/tiles.json").json()["probabilities"]
    array = zarr.open_group(served.data / "results" / with_probabilities / "mask.zarr", mode="r")["0"]
    assert isinstance(array, zarr.Array)
    answer = web.get(f"{at}/probabilities/2/0/1/1.png")
    assert "immutable" in answer.headers["cache-control"]
    got = np.asarray(Image.open(io.BytesIO(answer.content)))
    np.testing.assert_array_equal(got, np.asarray(array[1, 256:512, 256:512]))
    assert got.max() > 0
    several = web.get(f"{at}/probabilities/2/0/0/1.png?columns=2&rows=8").content
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(several))), np.asarray(array[1, 256:, :512]))
    for path in ("4/0/0/0.png", "1/9/0/0.png", "1/0/9/0.png"):
        problem(web.get(f"{at}/probabilities/{path}"), 404)


def test_a_mask_without_probabilities_has_no_tiles_of_them(served: Served, done: str) -> None:
    at = f"{served.url}/v1/jobs/{done}/results"
    assert not web.get(f"{at}/tiles.json").json()["probabilities"]
    problem(web.get(f"{at}/probabilities/1/0/0/0.png"), 404)


def test_one_answer_has_what_a_viewer_must_know_of_a_mask(served: Served, done: str) -> None:
    at = f"{served.url}/v1/jobs/{done}"
    view, job = web.get(f"{at}/view").json(), web.get(at).json()
    slide = web.get(f"{served.url}/v1/slides/{job['slide']}").json()
    assert view == {"job": job, "slide": slide, "tiles": web.get(f"{at}/results/tiles.json").json()}
    problem(web.get(f"{served.url}/v1/jobs/{'0' * 24}/view"), 404)


def test_the_table_of_tiles_counts_pixels_of_classes(served: Served, done: str) -> None:
    table = web.get(f"{served.url}/v1/jobs/{done}/results/tiles.json").json()
    summary = web.get(f"{served.url}/v1/jobs/{done}/results/summary.json").json()
    assert [entry["pixels"] for entry in table["classes"]][1:] == [entry["pixels"] for entry in summary["classes"]]
    assert (table["mpp_x"], table["mpp_y"]) == (1.0, 1.0)


def test_slides_are_found_by_any_part_of_their_path(served: Served) -> None:
    def names(text: str) -> list[str]:
        found = web.get(f"{served.url}/v1/slides", params={"search": text}).json()["slides"]
        return [slide["name"] for slide in found]

    assert names("S1") == ["s1.tiff"]
    assert names("tif") == ["s0.tiff", "s1.tiff"]
    assert names("nowhere") == []


def test_one_stream_has_the_events_of_all_jobs(idle: Served) -> None:
    seen: list[tuple[str, str]] = []
    started, over = threading.Event(), threading.Event()

    def listen() -> None:
        with web.stream("GET", f"{idle.url}/v1/events") as stream:
            for line in stream.iter_lines():
                if line.startswith("data:"):
                    event = json.loads(line[5:])
                    started.set()
                    seen.append((event["kind"], event.get("job", "")))
                    if event["kind"] == "dismissed":
                        over.set()
                        return

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    assert started.wait(120)
    with idle.client() as client:
        body = job_body(client)
    job = web.post(f"{idle.url}/v1/jobs", json=body).json()["id"]
    web.delete(f"{idle.url}/v1/jobs/{job}")
    assert over.wait(120)
    assert seen[0] == ("now", "")
    assert ("accepted", job) in seen
    assert ("dismissed", job) in seen


def test_a_finished_job_is_read_at_its_partial_address_too(served: Served, done: str) -> None:
    """A page that follows a job may ask for a tile in the moment in which the job ends."""
    at = f"{served.url}/v1/jobs/{done}"
    partial = web.get(f"{at}/partial/tiles/0/0/0.png")
    assert partial.content == web.get(f"{at}/results/tiles/0/0/0.png").content
    assert partial.headers["cache-control"] == "no-store"
    assert web.get(f"{at}/partial/tiles.json").json() == web.get(f"{at}/results/tiles.json").json()
    assert web.get(f"{at}/partial/regions.json").status_code == 204


def test_a_cancelled_job_has_nothing_at_its_partial_address(idle: Served) -> None:
    with idle.client() as client:
        body = job_body(client)
    job = web.post(f"{idle.url}/v1/jobs", json=body).json()["id"]
    view = web.get(f"{idle.url}/v1/jobs/{job}/view").json()
    assert (view["job"]["status"], view["tiles"]) == ("accepted", None)
    assert view["slide"]["width"] > 0
    web.delete(f"{idle.url}/v1/jobs/{job}")
    answer = web.get(f"{idle.url}/v1/jobs/{job}/partial/tiles.json")
    assert answer.status_code in (204, 404)
    assert "dismissed" in problem(web.get(f"{idle.url}/v1/jobs/{job}/view"), 404)["detail"]
