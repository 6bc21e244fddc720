"""What clients are told of an error."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

import web
from live_server import Served, write_slides
from wsi_segment.service.redaction import without_paths


@pytest.mark.parametrize("name", ["Meier_Anna.svs", "Meier Anna.svs", "Meier: Anna's (2).svs"])
def test_messages_for_clients_hold_no_paths(tmp_path: Path, name: str) -> None:
    slide = tmp_path / "slides" / name
    said = without_paths(
        f"{slide}: cannot be read: {tmp_path}/my data/x y ('{slide}'), {name} is cut", [tmp_path], slide
    )
    assert said == "the slide: cannot be read: a file of the server's('the slide'), the slide is cut"


@pytest.mark.parametrize(
    "message",
    [
        "Slidedat.ini: names a file in another folder",
        "Data0003.dat is missing beside Meier_Anna.mrxs",
        "cannot read MEIER-2024-113.dcm (of 4)",
        "Couldn't open /slides/Meier_Anna/Index.dat",
        "folder Meier_Anna has no index",
    ],
)
def test_messages_for_clients_hold_no_names_of_companions(message: str) -> None:
    slide = Path("/slides/Meier_Anna.mrxs")
    files = [slide, Path("/slides/Meier_Anna/Slidedat.ini"), Path("/slides/Meier_Anna/Index.dat")]
    said = without_paths(message, [Path("/slides")], slide, files)
    for name in ("Meier", "MEIER", "Slidedat", ".dat", ".ini", ".dcm", "/slides"):
        assert name not in said, said


def test_a_failure_of_the_server_tells_nothing(tmp_path: Path) -> None:
    folder = write_slides(tmp_path / "broken")
    with Served(folder, "--workers", 0) as running:
        slides = web.get(f"{running.url}/v1/slides").json()["slides"]
        with sqlite3.connect(running.data / "jobs.sqlite") as connection:
            connection.execute("DROP TABLE jobs")
        connection.close()
        answer = web.post(f"{running.url}/v1/jobs", json={"slide": slides[0]["id"], "model": "channels"})
        assert answer.status_code == 500
        assert answer.headers["content-type"] == "application/problem+json"
        assert "sqlite" not in answer.text.lower()
        assert str(folder) not in answer.text
        assert web.get(f"{running.url}/health/live").is_success
        ready = web.get(f"{running.url}/health/ready")
        assert (ready.status_code, ready.json()["detail"]) == (503, "the database does not answer")
        with sqlite3.connect(running.data / "jobs.sqlite") as connection:
            connection.execute("DROP TABLE keys")  # which every request looks at, before any route
        connection.close()
        for headers in ({}, {"Authorization": "Bearer x"}):
            answer = web.get(f"{running.url}/v1/models", headers=headers)
            assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
            assert len(answer.headers["x-request-id"]) == 16
            assert "sqlite" not in answer.text.lower()
    assert "sqlite" in running.log.lower()  # of a server that has ended: the answer comes before the log's line


def test_outlines_that_a_client_sent_are_named_by_their_parameter() -> None:
    said = without_paths("`region` /data/results/ab/region.geojson: no tissue lies within", [Path("/data")])
    assert said == "`region`: no tissue lies within"


def test_messages_for_clients_hold_no_addresses_of_machines() -> None:
    said = "worker tcp://10.0.0.7:41231: 8 regions take about 900 MiB; the last was tls://[fe80::1]:8786; look"
    expected = "a worker of the cluster: 8 regions take about 900 MiB; the last was a worker of the cluster; look"
    assert without_paths(said, []) == expected
