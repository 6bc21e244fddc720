"""What is told of jobs that wait: what they were accepted for, their place in the queue, their end, and the reason."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

import web
from live_server import ROOT, Served, job_body, problem, write_slides
from wsi_segment.model.card import find_model
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.queue import Queue

PLACED_SECONDS = 6
"""Places in the queue are told as they were at most so long ago."""


def test_a_waiting_job_tells_its_inputs_its_place_and_its_end(tmp_path: Path) -> None:
    folder = write_slides(tmp_path / "served")
    with (
        Served(folder, "--workers", 0) as served,
        served.client() as client,
        web.client(base_url=served.url) as http,
    ):
        body = job_body(client)
        slide = http.get(f"/v1/slides/{body['slide']}").json()
        first, second = (http.post("/v1/jobs", json={**body, "overlap": 0.5}).json()["id"] for _ in range(2))
        waiting = http.get(f"/v1/jobs/{second}").json()
        card = find_model(folder / "models" / "channels").card
        assert (waiting["position"], waiting["expected_end"], waiting["removed"]) == (1, None, None)
        assert waiting["slide_fingerprint"] == slide["fingerprint"]
        assert (waiting["model"], waiting["model_version"]) == (card.name, card.version)
        assert len(waiting["model_sha256"]) == 64
        assert waiting["parameters"]["overlap"] == 0.5
        assert {"tissue", "ome_zarr", "window", "strict"} <= waiting["parameters"].keys()
        assert waiting["windows"] > 0

        database = Database(served.data)
        queue = Queue(database, "elsewhere/1/a")
        begun = datetime.now(UTC)
        job = queue.claim()
        assert job is not None
        assert job.id == first
        time.sleep(1)
        ending = datetime.now(UTC)
        queue.end(job, "successful")
        database.close()
        took = (datetime.now(UTC) - begun).total_seconds()
        deadline = time.monotonic() + 10 * PLACED_SECONDS
        while (waiting := http.get(f"/v1/jobs/{second}").json())["position"]:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        looked = datetime.now(UTC)
        expected = datetime.fromisoformat(waiting["expected_end"])  # by the only job that was done
        assert ending < expected < looked + timedelta(seconds=took + 1)
        assert http.delete(f"/v1/jobs/{first}/results").is_success
        assert http.get(f"/v1/jobs/{first}").json()["removed"] is not None


def test_a_root_that_is_away_is_named_and_its_jobs_wait_over_a_start_of_the_server(tmp_path: Path) -> None:
    folder = write_slides(tmp_path / "served")
    slides, away = folder / "slides", folder / "away"
    with Served(folder, "--workers", 0) as idle, idle.client() as client, web.client(base_url=idle.url) as http:
        body = job_body(client)
        slides.rename(away)
        wait_until_ready(http, ready=False)
        assert "root slides" in problem(http.get("/health/ready"), 503)["detail"]
        answer = http.get("/v1/slides", params={"root": "slides"})
        assert problem(answer, 503)["type"] == "urn:wsi-segment:problem:root-away"
        assert answer.headers["retry-after"]
        problem(http.post("/v1/jobs", json=body), 503)
        away.rename(slides)
        wait_until_ready(http, ready=True)
        job = http.post("/v1/jobs", json=body).json()["id"]
        slides.rename(away)
    again = Served(folder, "--workers", 1)  # a share that is not mounted yet at the start of the machine
    with again, again.client() as client, web.client(base_url=again.url) as http:
        assert "root slides" in problem(http.get("/health/ready"), 503)["detail"]
        time.sleep(3)
        assert http.get(f"/v1/jobs/{job}").json()["status"] == "accepted"
        away.rename(slides)
        assert client.wait(job)["status"] == "successful"


def wait_until_ready(http: httpx.Client, ready: bool) -> None:
    """Wait until a server says that it starts jobs, or that it does not."""
    deadline = time.monotonic() + 60
    while http.get("/health/ready").is_success != ready:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_the_health_check_of_the_image_tells_whether_the_server_answers(served: Served) -> None:
    text = (ROOT / "deploy" / "Containerfile").read_text(encoding="utf-8")
    found = re.search(r"^HEALTHCHECK[^\[]*(\[.*\])$", text, re.M)
    assert found is not None
    program, *arguments = json.loads(found[1])
    assert program == "python"
    for port, expected in ((served.port, 0), (9, 1)):
        command = [sys.executable, *(one.replace(":8000", f":{port}") for one in arguments)]
        assert subprocess.run(command, capture_output=True, check=False).returncode == expected
