"""A service whose jobs' regions run on a real Dask cluster."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import web
from job_bench import Bench
from live_cluster import LiveCluster, kill_tree
from live_server import Served, write_slides
from synthetic import files_of, tissue_like, write_slide
from wsi_segment.inference.engine.cluster import connection
from wsi_segment.inference.engine.cluster.facts import facts_here
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.model.card import find_model
from wsi_segment.service.jobs.job_table import Job, NewJob
from wsi_segment.service.jobs.queue import MOST_CRASHES
from wsi_segment.service.workers.cluster_link import ClusterLink

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are killed by POSIX signals")
distributed = pytest.importorskip("distributed")

SECONDS = 300.0


def until(condition: Callable[[], Any], said: Callable[[], str]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, said()
        time.sleep(0.2)


def test_jobs_run_on_the_cluster_and_wait_in_the_queue_while_it_is_away(tmp_path: Path) -> None:
    folder = write_slides(tmp_path / "served", count=2, height=1500, width=1500)
    model = find_model(folder / "models" / "channels")
    segment(folder / "slides" / "s0.tiff", model, tmp_path / "local.zarr", SegmentOptions())
    with (
        LiveCluster(tmp_path / "cluster") as live,
        Served(folder, "--scheduler", live.address, "--workers", "1") as running,
        running.client() as client,
    ):
        for _ in range(2):
            live.add_worker(live.watched(pause=0.1))
        first = client.submit("slides/s0.tiff", model="channels")["id"]
        until(lambda: live.windows() > 20, lambda: running.log)
        assert live.scheduler is not None
        kill_tree(live.scheduler)
        live.kill_workers()
        until(lambda: client.job(first)["status"] == "accepted", lambda: running.log)
        assert client.job(first)["message"] == "the cluster is away; the job goes on when it is back"
        assert f"given back: the cluster is away; the job goes on when it is back job={first}" in running.log
        live.start_scheduler()
        for _ in range(2):
            live.add_worker(live.watched(pause=0.1, name="again"))
        until(lambda: client.job(first)["status"] == "successful", lambda: running.log)
        [mask] = (running.data / "results").glob("*/mask.zarr")
        assert files_of(mask) == files_of(tmp_path / "local.zarr")

        second, before = client.submit("slides/s1.tiff", model="channels")["id"], live.windows()
        until(lambda: live.windows() > before + 5, lambda: running.log)
        client.cancel(second)
        until(lambda: client.job(second)["status"] == "dismissed", lambda: running.log)
        client.retry(second)
        until(lambda: client.job(second)["status"] == "successful", lambda: running.log)


def test_readiness_and_log_say_that_the_cluster_is_away_or_has_no_workers(tmp_path: Path) -> None:
    folder = write_slides(tmp_path / "served")
    with (
        LiveCluster(tmp_path / "cluster") as live,
        Served(folder, "--scheduler", live.address, "--workers", "1") as running,
        running.client() as client,
    ):

        def away() -> bool:
            answer = web.get(f"{running.url}/health/ready")
            return (
                answer.status_code == 503 and "the cluster cannot compute; jobs wait for it" in answer.json()["detail"]
            )

        assert web.get(f"{running.url}/health/ready").status_code == 503  # before anybody looked, too
        until(away, lambda: running.log)
        until(lambda: f"jobs wait for the cluster: {live.address} has no workers" in running.log, lambda: running.log)
        live.add_worker(live.watched(hold=20))
        running.wait_for("/health/ready")
        assert "the cluster is there" in running.log
        job = client.submit("slides/s0.tiff", model="channels")["id"]
        until(lambda: live.windows() >= 20, lambda: running.log)
        live.kill_workers()
        until(lambda: f"waits for workers job={job}" in running.log, lambda: running.log)
        live.add_worker()
        until(lambda: client.job(job)["status"] == "successful", lambda: running.log)
        assert f"ended (successful) job={job}" in running.log
        [ended] = running.workers()
        ended.kill()
        until(lambda: [one for one in running.workers() if one != ended], lambda: running.log)
        running.wait_for("/health/ready")  # where the first look of the new one finds it there
        assert live.scheduler is not None
        kill_tree(live.scheduler)
        until(away, lambda: running.log)


def test_a_job_that_kills_its_workers_again_and_again_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workers are the cluster's, and the service's own process lives; the job counts as crashing all the same."""
    monkeypatch.setattr("wsi_segment.inference.engine.cluster.feeding.DEATHS", 1)  # each costs seconds
    with LiveCluster(tmp_path / "cluster") as live:
        link = ClusterLink(live.address)
        bench = Bench(tmp_path / "served", link)
        write_slide(bench.folder / "slides" / "small.tiff", tissue_like(400, 500))
        catalogue = bench.runner._catalogue
        small = catalogue.by_path("slides/small.tiff")
        catalogue.remember([small])
        live.add_worker(live.watched(die="512,512"))
        until(link.is_there, lambda: live.log("scheduler.log"))
        deadly = bench.post()
        harmless = bench.jobs.accept([NewJob(small.id, {"model": "channels"})]).jobs[0].id
        ended = dict[str, Job]()
        for _ in range(MOST_CRASHES + 1):
            job = bench.do()
            ended[job.id] = job
        assert ended[harmless].status == "successful"
        assert ended[deadly].status == "failed"
        assert f"the worker ended {MOST_CRASHES} times while it was at work on this slide" in ended[deadly].message
        assert "region 1,1: the workers that had it died" in ended[deadly].message
        until(link.is_there, lambda: live.log("scheduler.log"))  # the last worker that died is being started again
        link.close()


def test_jobs_wait_without_blame_while_a_worker_has_another_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp://", dashboard_address="127.0.0.1:0"
    ) as local:
        link = ClusterLink(local.scheduler_address)
        bench = Bench(tmp_path, link)
        bench.post()
        assert link.is_there()
        pauses = list[float]()
        with monkeypatch.context() as other:
            ours = replace(facts_here("cpu"), versions={"zarr": "1.0"})
            other.setattr(connection, "facts_here", lambda device: ours)
            for _ in range(3):  # as often as a job may crash
                job = bench.do()
                pauses.append(link._pause)
        assert (job.status, job.crashes) == ("accepted", 0)
        assert job.message == "a machine of the cluster cannot take part; the job goes on when it is mended"
        assert not link.is_there()
        assert "jobs wait for the cluster: worker tcp://" in caplog.text
        monkeypatch.setattr(link, "_unfit_until", 0.0)
        assert link.is_there()
        pauses.append(link._pause)
        assert bench.do().status == "successful"
        assert [*pauses, link._pause] == [20.0, 40.0, 80.0, 80.0, 10.0]
        for _ in range(9):
            link.refuse("unfit")
        assert link._pause == 300.0
