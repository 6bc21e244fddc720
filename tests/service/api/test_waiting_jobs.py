"""What is told of jobs that wait: what they were accepted for, their place in the queue, their end, and the reason."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
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
        job = queue.claim()
        assert job is not None
        assert job.id == first
        time.sleep(1)
        queue.end(job, "successful")
        database.close()
        deadline = time.monotonic() + 2 * PLACED_SECONDS
        while (waiting := http.get(f"/v1/jobs/{second}").json())["position"] and time.monotonic() < deadline:
            time.sleep(0.2)
        assert waiting["position"] == 0
        left = (datetime.fromisoformat(waiting["expected_end"]) - datetime.now(UTC)).total_seconds()
        assert 0 < left < 30  # the only job that was done took a second and a bit
        assert http.delete(f"/v1/jobs/{first}/results").is_success
        assert http.get(f"/v1/jobs/{first}").json()["removed"] is not None


def test_a_root_that_is_away_is_named_and_its_jobs_wait_over_a_start_of_the_server(tmp_path: Path) -> None:
    folder = write_slides(tmp_path / "served")
    slides, away = folder / "slides", folder / "away"
    running = Served(folder, "--workers", 1)
    with running, running.client() as client, web.client(base_url=running.url) as http:
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
        running.workers()[0].suspend()  # so that the job still waits when the root goes
        job = http.post("/v1/jobs", json=body).json()["id"]
        slides.rename(away)
        running.stop()
        running.start()  # a share that is not mounted yet at the start of the machine
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
