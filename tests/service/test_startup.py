"""A server as a whole: who may reach it, a full disk, a stop."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

import web
from free_ports import free_port
from live_server import Served, job_body, write_slides
from wsi_segment.errors import InputError
from wsi_segment.service import client as client_module
from wsi_segment.service.cli.main import main
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.keys import Keys
from wsi_segment.service.settings import load_settings
from wsi_segment.service.startup import _refuse_open_door


@pytest.mark.parametrize("door", ["--host 0.0.0.0", "--allowed-host lab.example", "--trusted-proxy 10.0.0.1"])
def test_a_server_that_others_reach_needs_a_valid_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], door: str
) -> None:
    data = tmp_path / "my data"
    database = Database(data)
    database.migrate()
    Keys(database).create("expired", ["read"], 1e-9)
    database.close()
    assert main(["serve", *door.split(), "--port", str(free_port()), "--data", str(data)]) == 2
    said = capsys.readouterr().err
    assert door in said
    assert f"wsi-segment keys create NAME --data '{data}'" in said


def test_the_hint_how_to_make_a_key_names_the_database_without_its_password(tmp_path: Path) -> None:
    database = Database(tmp_path)
    database.migrate()
    url = "postgresql://anna:secret@db/wsi?password=secret"
    settings = load_settings({"host": "0.0.0.0", "data": tmp_path, "database": url}, None)
    with pytest.raises(InputError, match="keys create NAME") as refused:
        _refuse_open_door(settings, database)
    database.close()
    assert "--database 'postgresql://anna:***@db/wsi'" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_when_the_disk_is_nearly_full_jobs_wait_and_readiness_says_why(tmp_path: Path) -> None:
    folder = write_slides(tmp_path / "full")
    with Served(folder, "--workers", 1, "--min-free", "1000TiB") as running, running.client() as client:
        job = web.post(f"{running.url}/v1/jobs", json=job_body(client)).json()
        running.wait_for("/health/live")
        time.sleep(4)
        assert client.job(job["id"])["status"] == "accepted"
        answer = web.get(f"{running.url}/health/ready")
        assert answer.status_code == 503
        assert answer.json()["detail"] == "the disk is nearly full; see `min_free`"  # no figure, without a key


def test_a_stopped_server_gives_jobs_back_and_goes_on_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "_TRIES", 40)  # a busy machine may need longer for a start than a client waits
    folder = write_slides(tmp_path / "stopped", height=1100, width=1300)
    running = Served(folder, "--workers", 1, holds=True)
    running.start()
    with running.client() as client:
        with running.held(1):
            job = web.post(f"{running.url}/v1/jobs", json=job_body(client)).json()
            following = threading.Thread(target=client.wait, args=(job["id"],))
            for event in client.events("jobs", job["id"]):
                if event["kind"] == "progress" and event["stage"] == "segment" and event["done"]:
                    break
            following.start()  # an open stream of events does not hold the server up
            started = time.monotonic()
            assert running.stop() == 0
            assert time.monotonic() - started < 20
        running.start()
        following.join(600)
        assert not following.is_alive()
        assert client.job(job["id"])["status"] == "successful"
        kinds = [event["kind"] for event in client.events("jobs", job["id"]) if event["kind"] != "progress"]
        assert kinds == ["accepted", "running", "paused", "running", "successful"]
    assert running.stop() == 0
