"""A server while its database, its disk, its clock or a worker fails, with the real thing failing."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

import web
from live_server import (
    FAKETIME,
    Served,
    control_postgresql,
    fresh_database,
    job_body,
    problem,
    with_settable_clock,
    write_slides,
)
from tools import absent
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.job_table import Jobs


def wait_until_it_segments(running: Served, job_id: str) -> None:
    with running.client() as client:
        for event in client.events("jobs", job_id):
            if event["kind"] == "progress" and event["stage"] == "segment" and event["done"]:
                return
    raise AssertionError(running.log)


@pytest.mark.skipif(sys.platform != "linux", reason="libfaketime is tried on Linux")
def test_a_clock_that_is_set_three_times_by_a_minute_fails_no_job(tmp_path: Path) -> None:
    if FAKETIME is None:
        absent("libfaketime is not installed; `make tools` brings it")
    folder = write_slides(tmp_path / "clock", height=1100, width=1300)
    running = Served(folder, "--workers", 1, holds=True)
    set_clock = with_settable_clock(running)
    with running, running.client() as client:
        with running.held(1):
            job = web.post(f"{running.url}/v1/jobs", json=job_body(client)).json()
            wait_until_it_segments(running, job["id"])
            for step in (60, 120, 60):
                set_clock(step)
                time.sleep(6)
        assert client.wait(job["id"])["status"] == "successful"
        kinds = [event["kind"] for event in client.events("jobs", job["id"]) if event["kind"] != "progress"]
    assert kinds == ["accepted", "running", "successful"]


@pytest.mark.skipif(sys.platform == "win32", reason="SIGSTOP is a POSIX signal")
def test_a_server_whose_worker_hangs_ends_within_15_seconds_of_sigterm(tmp_path: Path) -> None:
    folder = write_slides(tmp_path / "hangs", height=1100, width=1300)
    running = Served(folder, "--workers", 1, holds=True)
    with running, running.held(1), running.client() as client:
        job = web.post(f"{running.url}/v1/jobs", json=job_body(client)).json()
        wait_until_it_segments(running, job["id"])
        (worker,) = running.workers()
        worker.suspend()
        started = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - started < 15
        database = Database(running.data)
        kept = Jobs(database).get(job["id"])
        database.close()
    assert kept is not None
    assert (kept.status, kept.crashes) == ("accepted", 0)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGSTOP is a POSIX signal")
def test_a_server_whose_decoders_hang_answers_others_and_ends_within_15_seconds_of_sigterm(tmp_path: Path) -> None:
    folder = write_slides(tmp_path / "decoders")
    running = Served(folder, "--workers", 0)
    with running, running.client() as client:
        slide = job_body(client)["slide"]
        assert running.process is not None
        decoders = [one for one in psutil.Process(running.process.pid).children() if "spawn_main" in str(one.cmdline())]
        assert decoders
        for one in decoders:
            one.suspend()

        def look() -> None:
            with suppress(httpx.TransportError):
                web.get(f"{running.url}/v1/slides/{slide}/thumbnail")

        looking = [threading.Thread(target=look) for _ in range(20)]
        for thread in looking:
            thread.start()
        time.sleep(1)
        assert web.get(f"{running.url}/v1/jobs", timeout=30).is_success  # the thumbnails hang for 60
        started = time.monotonic()
        running.stop()
        assert time.monotonic() - started < 15
        for thread in looking:
            thread.join()
        for one in decoders:
            with suppress(psutil.NoSuchProcess):
                one.resume()
        psutil.wait_procs(decoders, timeout=60)
        assert not any(one.is_running() for one in decoders)  # none is left behind


@pytest.mark.skipif(sys.platform == "win32", reason="SIGSTOP is a POSIX signal")
def test_a_job_without_progress_is_taken_from_its_worker_and_done_by_another(tmp_path: Path) -> None:
    folder = write_slides(tmp_path / "stuck", height=1100, width=1300)
    running = Served(folder, "--workers", 1, "--stall-minutes", 0.25, holds=True)
    with running, running.client() as client:
        with running.held(1):
            job = web.post(f"{running.url}/v1/jobs", json=job_body(client)).json()
            wait_until_it_segments(running, job["id"])
            running.workers()[0].suspend()
        assert client.wait(job["id"])["status"] == "successful"
        said = [event.get("message") for event in client.events("jobs", job["id"]) if event["kind"] == "paused"]
    assert said == ["no progress for 0.25 minutes"]


def test_while_the_database_is_away_requests_are_told_and_no_job_is_charged(
    tmp_path: Path, postgresql_url: str
) -> None:
    folder = write_slides(tmp_path / "away", height=1100, width=1300)
    url = fresh_database(postgresql_url, "away")
    running = Served(folder, "--workers", 1, "--database", url, holds=True)
    control = control_postgresql(postgresql_url)
    with running, running.client() as client, web.client(base_url=running.url) as http:
        body = job_body(client)
        with running.held(1):
            job = http.post("/v1/jobs", json=body).json()
            wait_until_it_segments(running, job["id"])
            control("stop")
            try:
                one, slide = f"/v1/jobs/{job['id']}", f"/v1/slides/{job['slide']}"
                for path in ("/v1/jobs", one, "/v1/slides", "/v1/batches", slide):
                    answer = http.get(path)
                    assert problem(answer, 503)["type"] == "urn:wsi-segment:problem:database-away", path
                    assert answer.headers["retry-after"]
                problem(http.post("/v1/jobs", json=body), 503)
                problem(http.get("/health/ready"), 503)
                assert http.get("/health/live").is_success
                metrics = http.get("/metrics")
                assert metrics.is_success
                assert "wsi_segment_database_up 0.0" in metrics.text
                time.sleep(8)
            finally:
                control("start")
        deadline = time.monotonic() + 120
        while http.get(f"/v1/jobs/{job['id']}").status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.3)
        assert client.wait(job["id"])["status"] == "successful"
        database = Database(running.data, url)
        done = Jobs(database).get(job["id"])
        database.close()
        assert done is not None
        assert (done.crashes, done.fence) == (0, 1)
        assert running.log.count("the database is away") == 1
        assert running.log.count("the database is back") == 1
        assert "Traceback" not in running.log


@pytest.mark.skipif(sys.platform != "linux", reason="mounting needs root on Linux")
def test_a_full_disk_is_answered_507_on_posts_and_uploads(tmp_path: Path) -> None:
    folder = write_slides(tmp_path / "full")
    (folder / "data").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "none", str(folder / "data")]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root on Linux")
    try:
        flags = ["--workers", 0, "--upload-limit", "64MiB", "--min-free", "0"]
        with Served(folder, *flags) as running, running.client() as client:
            body = job_body(client)
            upload = web.post(
                f"{running.url}/v1/slides", params={"suffix": ".tiff"}, content=bytes(16 << 20), timeout=60
            )
            assert problem(upload, 507)["type"] == "urn:wsi-segment:problem:disk-full"
            assert list((running.data / "uploads").iterdir()) == []
            for number in range(2000):  # small files, until nothing more fits
                try:
                    (running.data / f"filler{number}").write_bytes(bytes(16384))
                except OSError:
                    break
            answers = [web.post(f"{running.url}/v1/jobs", json=body) for _ in range(60)]
            assert {answer.status_code for answer in answers} <= {201, 507}
            assert problem(answers[-1], 507)["type"] == "urn:wsi-segment:problem:disk-full"
            assert web.get(f"{running.url}/v1/jobs").is_success
            for file in running.data.glob("filler*"):
                file.unlink()
            assert web.post(f"{running.url}/v1/jobs", json=body).status_code == 201
    finally:
        subprocess.run(["umount", "-l", folder / "data"], check=False)
