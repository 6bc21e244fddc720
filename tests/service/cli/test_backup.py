"""A backup of a running server, and a server that goes on with it elsewhere."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

import web
from live_server import Served, write_slides
from synthetic import files_of
from wsi_segment.service.cli.main import main
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.job_table import Jobs, NewJob
from wsi_segment.service.jobs.keys import Keys
from wsi_segment.service.jobs.leases import owner_name
from wsi_segment.service.jobs.queue import Queue


def test_a_backup_of_a_running_server_is_restored_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_slides(tmp_path / "here", count=2)
    database = Database(folder / "data")
    database.migrate()
    token = Keys(database).create("anna", ["read", "write"], None)
    database.close()
    copy = tmp_path / "copy"
    with Served(folder, "--workers", 1) as served, served.client(token) as client:
        done = client.submit("slides/s0.tiff", model="channels")["id"]
        assert client.wait(done)["status"] == "successful"
        assert main(["backup", "--data", str(served.data), "--out", str(copy)]) == 0
        assert "restore: wsi-segment serve" in capsys.readouterr().out
        later = client.submit("slides/s1.tiff", model="channels")["id"]
        client.wait(later)
        assert main(["backup", "--data", str(served.data), "--out", str(copy)]) == 0
        assert " 0 unchanged" not in capsys.readouterr().out
    elsewhere = tmp_path / "elsewhere"
    for name in ("slides", "models"):
        shutil.copytree(folder / name, elsewhere / name)
    shutil.copytree(copy, elsewhere / "data")
    shutil.rmtree(folder)
    with Served(elsewhere, "--workers", 1) as restored, restored.client(token) as client:
        assert {job["id"]: job["status"] for job in client.jobs()} == {done: "successful", later: "successful"}
        client.fetch(done, tmp_path / "fetched.zarr")
        assert files_of(tmp_path / "fetched.zarr") == files_of(elsewhere / "data" / "results" / done / "mask.zarr")
        assert client.job(done)["slide_name"] == "s0.tiff"  # the secret behind the ids of slides came along
        assert client.find_slide("slides/s0.tiff")["id"] == client.job(done)["slide"]
        again = client.submit("slides/s1.tiff", model="channels")["id"]
        assert client.wait(again)["status"] == "successful"
        assert web.get(f"{restored.url}/v1/jobs").status_code == 401


def test_a_job_that_runs_waits_in_the_copy_though_its_worker_lives(tmp_path: Path) -> None:
    database = Database(tmp_path / "data")
    database.migrate()
    Jobs(database).accept([NewJob("0" * 24, {}, 0)], None)
    running = Queue(database, owner_name(os.getpid(), sys.executable)).claim()
    assert running is not None
    assert main(["backup", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "copy")]) == 0
    copy = Database(tmp_path / "copy")
    assert Jobs(copy).listed(None, 9)[0].status == "accepted"
    assert Queue(copy, "elsewhere/1/x").claim() is not None
    assert Jobs(database).listed(None, 9)[0].status == "running"
    for one in (database, copy):
        one.close()


def test_what_is_no_service_is_not_backed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backup", "--data", str(tmp_path / "none"), "--out", str(tmp_path / "x")]) == 2
    assert "pg_dump" in capsys.readouterr().err
    Database(tmp_path / "data").migrate()
    assert main(["backup", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "data" / "x")]) == 2
    assert "lies in the folder" in capsys.readouterr().err


def test_the_copy_is_for_nobody_else(tmp_path: Path) -> None:
    Database(tmp_path / "data").migrate()
    assert main(["backup", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "copy"), "--database-only"]) == 0
    for path in (tmp_path / "copy", *(tmp_path / "copy").iterdir()):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
