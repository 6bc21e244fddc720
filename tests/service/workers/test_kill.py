"""Servers and workers killed at random moments under a stream of jobs: nothing is lost, doubled or different."""

from __future__ import annotations

import os
import random
import signal
import statistics
import sys
import threading
import time
import uuid
from collections import Counter
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

import web
from live_server import FileEvent, Served, fresh_database, job_body, write_slides
from synthetic import files_of
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.model.card import find_model
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.events import read_events
from wsi_segment.service.jobs.job_table import Job, Jobs

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is a POSIX signal")

KILLS = int(os.environ.get("WSI_SEGMENT_KILLS", "10"))
WORKERS, SLIDES, WAITING = 2, 3, 6
OVERLAP = 0.75
PATIENCE_SECONDS = 300


class Stream:
    """Posts jobs in a thread, so that some always wait; a request without an answer is sent again until it has one."""

    def __init__(self, url: str, bodies: list[dict[str, object]]) -> None:
        self.accepted: dict[str, int] = {}
        """Jobs with the number of their slide."""
        self._url, self._bodies, self._over = url, bodies, threading.Event()
        self._thread = threading.Thread(target=self._post)

    def __enter__(self) -> Stream:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _post(self) -> None:
        number = 0
        with web.client(base_url=self._url) as http:
            while not self._over.is_set():
                with suppress(httpx.TransportError):
                    waiting = http.get("/v1/jobs", params={"status": "accepted"}).json()["jobs"]
                    if len(waiting) < WAITING:
                        slide = number % SLIDES
                        self.accepted[self._post_one(http, self._bodies[slide])] = slide
                        number += 1
                        continue
                time.sleep(0.3)

    @staticmethod
    def _post_one(http: httpx.Client, body: dict[str, object]) -> str:
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        while True:
            with suppress(httpx.TransportError):
                answer = http.post("/v1/jobs", json=body, headers=headers)
                assert answer.status_code == 201, answer.text
                return str(answer.json()["id"])
            time.sleep(0.1)


def wait_a_while(running: Served, table: Jobs, rng: random.Random) -> None:
    """Wait until some more jobs have ended, which may be none, and one runs; and then a moment more.

    Were kills much denser than jobs are long, most jobs would be given up after three crashes.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    enough = table.counts().get("successful", 0) + rng.randint(0, 3)
    while (counts := table.counts()).get("successful", 0) < enough or not counts.get("running"):
        assert time.monotonic() < deadline, running.log
        time.sleep(0.1)
    time.sleep(rng.uniform(0, 1.5))


def kill_one(running: Served, rng: random.Random) -> str:
    """Kill the server or a worker; which."""
    workers = running.workers()
    assert running.process is not None
    if not workers or rng.random() < 1 / 3:
        running.stop(signal.SIGKILL)
        return "server"
    with suppress(psutil.NoSuchProcess):
        rng.choice(workers).kill()
    return "worker"


def wait_for_all(running: Served, table: Jobs, jobs: set[str]) -> int:
    """Wait until all jobs are done; how many were given up after three crashes and had to be tried again."""
    deadline, again = time.monotonic() + PATIENCE_SECONDS, 0
    while time.monotonic() < deadline:
        states = {job.id: job for job in table.listed(None, 1_000_000)}
        if all(states[one].status == "successful" for one in jobs):
            return again
        for job in states.values():
            if job.status == "failed":
                assert "the worker ended 3 times" in job.message, job.message
                web.post(f"{running.url}/v1/jobs/{job.id}/retry")
                again += 1
        time.sleep(0.5)
    raise AssertionError({one: states[one].status for one in jobs if states[one].status != "successful"})


def times_computed(noted: list[FileEvent], job: Job) -> Counter[str]:
    """How often each region of a job was written at full size."""
    mine = [one.path for one in noted if one.kind == "rename" and f"/{job.id}/" in one.path]
    return Counter(path for path in mine if "/labels/segmentation/0/c/" in path)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_whatever_is_killed_each_accepted_job_is_done_once_and_its_mask_is_the_same(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    kills = KILLS // 2 + (KILLS % 2 if kind == "sqlite" else 0)
    url = None if kind == "sqlite" else fresh_database(request.getfixturevalue("postgresql_url"), "kills")
    folder = write_slides(tmp_path / "served", SLIDES, height=1100, width=1300)
    model = find_model(folder / "models" / "channels")
    for index in range(SLIDES):
        segment(
            folder / "slides" / f"s{index}.tiff", model, tmp_path / f"{index}.zarr", SegmentOptions(overlap=OVERLAP)
        )
    expected = [files_of(tmp_path / f"{index}.zarr") for index in range(SLIDES)]

    flags = ["--workers", WORKERS, "--worker-threads", 1, *(["--database", url] if url else [])]
    running = Served(folder, *flags, spied_on=True)
    rng, killed, restarts = random.Random(), Counter[str](), []
    with running, running.client() as client:
        bodies = [job_body(client, f"s{index}.tiff", overlap=OVERLAP) for index in range(SLIDES)]
        with Stream(running.url, bodies) as stream:
            database = Database(running.data, url)
            for _ in range(kills):
                wait_a_while(running, Jobs(database), rng)
                which = kill_one(running, rng)
                killed[which] += 1
                if which == "server":
                    restarts.append(time.time())
                    running.start()
        again = wait_for_all(running, Jobs(database), set(stream.accepted))

    noted = running.noted()
    jobs = {job.id: job for job in Jobs(database).listed(None, 1_000_000)}
    events = read_events(database, 0, limit=10_000_000)
    ends = Counter(event.job for event in events if event.kind == "successful")
    database.close()
    redone = 0
    assert jobs.keys() == stream.accepted.keys()  # none lost, and none from a request that was sent again
    for name, slide in stream.accepted.items():
        results = running.data / "results" / name
        assert files_of(results / "mask.zarr") == expected[slide]
        assert not (results / "mask.zarr.partial").exists()
        assert (results / "preview.png").exists()
        assert ends[name] == 1
        assert [one.path for one in noted if one.kind == "rename"].count(str(results / "mask.zarr")) == 1
        more = sum(count - 1 for count in times_computed(noted, jobs[name]).values())
        assert more <= jobs[name].fence - 1, "a worker that is killed has one region in flight"
        redone += more
    regions = sum(len(times_computed(noted, job)) for job in jobs.values())
    begun = [min(one.time for one in noted if one.time > moment and one.path.endswith("ledger.jsonl")) - moment
             for moment in restarts]  # fmt: skip
    freed = [event for event in events if event.kind == "paused" and event.data["message"] == "it was stopped"]
    assert bool(freed) or not restarts  # by the next server's start, and not by the end of a lease
    print(f"{kind}: {dict(killed)}, {len(jobs)} jobs, {sum(job.fence - 1 for job in jobs.values())} cut off, {again} "
          f"tried again after three crashes, {regions} regions, {redone} redone, first region after a restart: "
          f"median {statistics.median(begun or [0]):.1f} s, longest {max(begun, default=0):.1f} s")  # fmt: skip
