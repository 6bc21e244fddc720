"""The supervisor's talk with its workers, where a worker ends or begins at a bad moment."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import web
from live_server import Served, write_slides
from wsi_segment.service.cli.main import main
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.workers import supervisor as supervisor_module
from wsi_segment.service.workers.supervisor import Supervisor, _Worker
from wsi_segment.service.workers.worker import WorkerConfig

CONFIG = WorkerConfig(
    data="data", database=None, roots=(), models=None, threads=1, memory=1 << 40, device="cpu", min_free=0, log="text"
)


class Closing:
    """An input of a worker; somebody posts a job just when it was closed."""

    def __init__(self, held: Any, supervisor: Supervisor) -> None:
        self._held, self._supervisor = held, supervisor

    def write(self, line: bytes) -> int:
        """Passed on."""
        return int(self._held.write(line))

    def close(self) -> None:
        """Passed on."""
        self._held.close()
        self._supervisor.wake()


def test_a_job_may_come_while_a_worker_that_ended_is_put_away(tmp_path: Path) -> None:
    database = Database(tmp_path)
    database.migrate()
    supervisor = Supervisor(database, CONFIG, 0)
    ended = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.PIPE, bufsize=0)
    ended.wait()
    ended.stdin = Closing(ended.stdin, supervisor)  # type: ignore[assignment]
    supervisor._workers = [_Worker(ended, "host/1/a")]
    supervisor._over.set()  # no pause
    supervisor._replace_ended()
    assert supervisor.alive == 0
    assert ended.stdin is not None
    database.close()


def test_a_worker_that_begins_while_the_service_stops_is_told_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(tmp_path)
    database.migrate()
    supervisor = Supervisor(database, CONFIG, 1)

    def begin_late() -> None:
        assert supervisor._over.wait(120)
        time.sleep(0.2)  # the others were told meanwhile
        late = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, bufsize=0)
        supervisor._workers.append(_Worker(late, "host/1/a"))

    monkeypatch.setattr(supervisor, "_replace_ended", begin_late)
    monkeypatch.setattr(supervisor_module, "STOP_SECONDS", 60.0)
    supervisor.start()
    started = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - started < 20
    assert [worker.process.returncode for worker in supervisor._workers] == [0]
    database.close()


@pytest.mark.parametrize("scheduler", [None, "tcp://127.0.0.1:1"])
def test_a_cluster_counts_as_away_until_a_worker_says_that_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheduler: str | None
) -> None:
    monkeypatch.setattr(supervisor_module, "_PAUSE_SECONDS", 0.0)
    database = Database(tmp_path)
    database.migrate()
    supervisor = Supervisor(database, replace(CONFIG, data=str(tmp_path), scheduler=scheduler), 1)
    for _ in range(2):  # at the start, and after a worker was replaced
        supervisor._replace_ended()
        assert supervisor.cluster_away == (scheduler is not None)
        supervisor.kill()
        supervisor._workers[0].process.wait()
    supervisor._end_all()
    database.close()


def test_a_worker_that_is_told_to_end_while_it_waits_ends_well(tmp_path: Path) -> None:
    with Served(write_slides(tmp_path / "served"), "--workers", 1) as served, served.client() as client:
        assert client.wait(client.submit("slides/s0.tiff", model="channels")["id"])["status"] == "successful"
        (worker,) = served.workers()
        worker.terminate()
        deadline = time.monotonic() + 30
        while "ended:" not in served.log and time.monotonic() < deadline:
            time.sleep(0.05)
        assert f"worker {worker.pid} ended: exit code 0" in served.log
        assert "Fatal Python error" not in served.log


def test_nothing_is_imported_from_the_folder_in_which_a_server_was_started(tmp_path: Path) -> None:
    folder = write_slides(tmp_path / "served")
    for name in ("grp", "bz2", "selectors"):  # of the standard library, imported by many
        (folder / f"{name}.py").write_text("open('imported', 'w').close()\n")
    with Served(folder, "--workers", 1) as served, served.client() as client:
        job = client.wait(client.submit("slides/s0.tiff", model="channels")["id"])
        assert job["status"] == "successful"
        assert web.get(f"{served.url}/v1/slides/{job['slide']}/thumbnail").is_success
    assert not (folder / "imported").exists()


def test_a_port_that_is_taken_is_named_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", "--root", f"a={tmp_path}", "--data", str(tmp_path / "data"), "--port", str(port)]) == 2
    assert f"--port {port}: cannot listen on 127.0.0.1" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()
