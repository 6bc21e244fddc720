"""What operators see: how jobs ended, who asked from where, and figures to alert on."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest
from sqlalchemy import update

import web
from live_server import ROOT, Served, write_slides
from tools import program
from wsi_segment.service.api.observing.job_ends import JobEnds
from wsi_segment.service.api.observing.prometheus import Metrics
from wsi_segment.service.jobs.actions import Actions
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.events import read_events
from wsi_segment.service.jobs.job_table import Jobs, NewJob
from wsi_segment.service.jobs.keys import Keys
from wsi_segment.service.jobs.queue import Queue
from wsi_segment.service.jobs.tables import jobs

Watched = tuple[Served, list[dict[str, Any]], str, str]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """A server that did two jobs; its log, its metrics, and the id of the job that failed."""
    folder = write_slides(tmp_path_factory.mktemp("watched"))
    database = Database(folder / "data")
    database.migrate()
    keys = Keys(database)
    token, scraper = keys.create("anna", ["read", "write"], None), keys.create("prometheus", ["metrics"], None)
    database.close()
    with Served(folder, "--workers", 1, "--log", "json") as served, served.client(token) as client:
        slide = client.find_slide("slides/s0.tiff")["id"]
        far = [1e6, 1e6, 2e6, 2e6]  # beside the slide
        failing = client.submit(slide, model="channels", region=far)["id"]
        assert client.wait(failing)["status"] == "failed"
        done = client.submit(slide, model="channels")["id"]
        assert client.wait(done)["status"] == "successful"
        header = {"Authorization": f"Bearer {scraper}"}
        metrics, deadline = "", time.monotonic() + 60
        while metrics.count("\nwsi_segment_job_seconds_count{") < 2:  # ends are looked for now and then
            assert time.monotonic() < deadline, metrics
            metrics = web.get(f"{served.url}/metrics", headers=header).text
        assert web.get(f"{served.url}/v1/jobs", headers=header).status_code == 403
    lines = [json.loads(line) for line in served.log.splitlines() if line.startswith("{")]
    return served, lines, metrics, failing


def test_the_log_says_how_each_job_ended_and_why_and_who_asked(watched: Watched) -> None:
    _, lines, _, failing = watched
    ends = [line for line in lines if line["logger"] == "wsi_segment.service.jobs"]
    assert [re.split(r"\W+", line["message"])[1] for line in ends] == ["failed", "successful"]
    assert all((line["key"], line["client"]) == ("anna", "127.0.0.1") for line in ends)
    assert ends[0]["job"] == failing
    assert "region" in ends[0]["message"].lower() or "outline" in ends[0]["message"].lower()
    assert [line["job_status"] for line in ends] == ["failed", "successful"]
    assert all(line["worked_s"] >= 0 and line["waited_s"] >= 0 for line in ends)
    posts = [line for line in lines if (line.get("method"), line.get("route")) == ("POST", "/v1/jobs")]
    assert failing in {line["job"] for line in posts}
    assert {line["status"] for line in posts} == {201}
    assert all(f" {line['ms']} ms" in line["message"] for line in posts)


def test_a_refused_request_is_logged_with_its_key(watched: Watched) -> None:
    refused = [line for line in watched[1] if line.get("status") == 403]
    assert [(line["method"], line["key"]) for line in refused] == [("GET", "prometheus")]


def test_metrics_tell_times_of_jobs_and_state_of_the_machine(watched: Watched) -> None:
    metrics = watched[2]
    for name in ("wsi_segment_job_seconds_count", "wsi_segment_job_wait_seconds_count"):
        assert f'{name}{{status="successful"}} 1.0' in metrics
        assert f'{name}{{status="failed"}} 1.0' in metrics
    assert "wsi_segment_queue_age_seconds 0.0" in metrics
    assert "wsi_segment_worker_restarts_total 0.0" in metrics
    free = re.search(r"wsi_segment_disk_free_bytes ([0-9.e+]+)", metrics)
    assert free is not None
    assert float(free[1]) > 1e6
    assert "s0" not in metrics


def promtool(*arguments: object, given: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [program("promtool"), *map(str, arguments)]
    return subprocess.run(command, input=given, capture_output=True, text=True, check=False)


def test_the_metrics_are_as_prometheus_wants_them(watched: Watched) -> None:
    checked = promtool("check", "metrics", given=watched[2])
    assert checked.returncode == 0, checked.stderr + checked.stdout


def test_the_alert_rules_are_sound_and_fire_when_they_should() -> None:
    checked = promtool("check", "rules", ROOT / "deploy" / "alerts.yml")
    assert checked.returncode == 0, checked.stderr + checked.stdout
    tried = promtool("test", "rules", ROOT / "deploy" / "alerts_test.yml")
    assert tried.returncode == 0, tried.stderr + tried.stdout


def test_the_board_and_the_rules_ask_for_metrics_that_there_are(watched: Watched) -> None:
    there = set(re.findall(r"^(wsi_segment_[a-z_]+)", watched[2], re.M))
    asked: set[str] = set()
    for name in ("grafana.json", "alerts.yml"):
        text = (ROOT / "deploy" / name).read_text(encoding="utf-8")
        asked |= set(re.findall(r"wsi_segment_[a-z_]+", text))
    assert asked - there == set()
    board = json.loads((ROOT / "deploy" / "grafana.json").read_text(encoding="utf-8"))
    assert len(board["panels"]) >= 8
    assert Path(ROOT / "deploy" / "alerts.yml").is_file()


def test_a_clock_that_was_set_back_gives_no_times_below_zero(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    database = Database(tmp_path)
    database.migrate()
    posted = Jobs(database).accept([NewJob("0" * 24, {})]).jobs[0]
    queue = Queue(database, "host/1/a")
    job = queue.claim()
    assert job is not None
    queue.end(job, "successful")
    with database.write() as connection:  # as two hosts write whose clocks differ
        connection.execute(update(jobs).values(started=posted.created - 60, finished=posted.created - 120))
    end = next(event for event in read_events(database, 0) if event.kind == "successful")
    caplog.set_level("INFO")
    JobEnds(Jobs(database), Actions(database), create_autospec(Metrics, instance=True)).note(end)
    assert "successful after 0.0 s of waiting and 0.0 s of work" in caplog.text
    database.close()
