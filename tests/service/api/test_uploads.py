"""Uploads: removed, too old, too many, left behind; and outlines that are large."""

from __future__ import annotations

import codecs
import json
import os
import socket
import sqlite3
import time
import zipfile
from contextlib import closing
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

import web
from live_server import Served, job_body, longest_wait, problem, write_slides
from synthetic import tissue_like, write_slide
from wsi_segment.service.folders.uploads import Uploads
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.housekeeping import Housekeeping
from wsi_segment.service.jobs.job_rows import Outlines
from wsi_segment.service.jobs.job_table import Jobs, NewJob
from wsi_segment.service.jobs.queue import Queue

MADE = Path(__file__).parents[2] / "data" / "made_by_0_1_0.zip"
WAITING = "4925f6b40d4ff530942a71f1"


def test_an_upload_is_counted_kept_while_a_job_needs_it_and_removed(tmp_path: Path) -> None:
    folder = write_slides(tmp_path / "served")
    content = write_slide(tmp_path / "mine.tiff", tissue_like(300, 300)).read_bytes()
    total = len(content) * 5 // 2
    flags = ["--workers", 0, "--upload-limit", "2MiB", "--uploads-total", total]
    with Served(folder, *flags) as served, web.client(base_url=served.url) as http:

        def post() -> httpx.Response:
            return http.post("/v1/slides", params={"suffix": ".tiff"}, content=content)

        first, second = post().json(), post().json()
        assert problem(post(), 507)["type"] == "urn:wsi-segment:problem:no-room"
        assert f"wsi_segment_uploaded_bytes_total {float(2 * len(content))}" in http.get("/metrics").text
        job = http.post("/v1/jobs", json={"slide": first["id"], "model": "channels"}).json()
        problem(http.delete(f"/v1/slides/{first['id']}"), 409)
        http.delete(f"/v1/jobs/{job['id']}")
        for slide in (first, second):
            assert http.delete(f"/v1/slides/{slide['id']}").status_code == 204
            problem(http.get(f"/v1/slides/{slide['id']}"), 404)
        assert list((served.data / "uploads").iterdir()) == []
        assert post().status_code == 201
        own = http.get("/v1/slides", params={"path": "slides/s0.tiff"}).json()["slides"][0]
        problem(http.delete(f"/v1/slides/{own['id']}"), 409)
        assert (folder / "slides" / "s0.tiff").exists()


def test_old_uploads_and_leftovers_are_removed_and_those_that_jobs_need_stay(tmp_path: Path) -> None:
    database = Database(tmp_path)
    database.migrate()
    folder = tmp_path / "uploads"
    folder.mkdir()
    old = time.time() - 3 * 86400
    for name in ("old.tiff", "new.tiff", ".0123.partial", ".4567.partial"):
        (folder / name).write_bytes(b"x")
        if name in ("old.tiff", ".0123.partial"):
            os.utime(folder / name, (old, old))
    uploads = Uploads(database, tmp_path, 0)
    Housekeeping(database, tmp_path, None, 0, uploads.tidy).tidy()
    assert {file.name for file in folder.iterdir()} == {"old.tiff", "new.tiff", ".4567.partial"}
    Housekeeping(database, tmp_path, 2, 0, uploads.tidy).tidy()
    assert {file.name for file in folder.iterdir()} == {"new.tiff", ".4567.partial"}
    database.close()


def ring(points: int) -> dict[str, object]:
    """A square with many positions on its sides."""
    side = points // 4
    steps = [1000 * number / side for number in range(side)]
    positions = [*([x, 0.0] for x in steps), *([1000.0, y] for y in steps),
                 *([1000 - x, 1000.0] for x in steps), *([0.0, 1000 - y] for y in steps)]  # fmt: skip
    return {"type": "Polygon", "coordinates": [[*positions, [0.0, 0.0]]]}


def test_a_list_of_jobs_with_large_outlines_is_quick(database: Database) -> None:
    region = ring(450_000)
    assert len(json.dumps(region)) > 10_000_000
    jobs = Jobs(database)
    for _ in range(12):
        jobs.accept([NewJob("0" * 24, {"region": Outlines.of(region)})])
    spent = []
    for _ in range(5):
        started = time.perf_counter()
        listed = jobs.listed(None, 50)
        spent.append(time.perf_counter() - started)
    assert len(listed) == 12
    assert listed[0].parameters["region"]["bounds"] == [0.0, 0.0, 1000.0, 1000.0]
    assert min(spent) < 0.1
    claimed = Queue(database, "host/1/a").claim()
    assert claimed is not None
    assert jobs.outlines(claimed.id)["region"] == region


@pytest.mark.parametrize("batch", [False, True], ids=["job", "batch"])
def test_more_than_a_million_positions_are_refused_while_others_are_answered(served: Served, batch: bool) -> None:
    points = [[number % 1000, number // 1000] for number in range(90_000)]
    region = {"type": "Polygon", "coordinates": [points] * 12}
    with served.client() as client:
        wanted = job_body(client, region=region)
    body = json.dumps({"jobs": [wanted]} if batch else wanted, separators=(",", ":"))
    address = f"{served.url}/v1/{'batches' if batch else 'jobs'}"
    send = partial(web.post, address, content=body, headers={"content-type": "application/json"})
    answer, waited = longest_wait(served, send)
    assert "1080000 positions" in problem(answer, 422)["detail"]
    assert waited < 0.3, "nobody waits for what somebody else posts"


def test_large_outlines_are_kept_as_they_came(served: Served) -> None:
    region = ring(90_000)
    with served.client() as client:
        wanted = job_body(client, region=region)
    job = web.post(f"{served.url}/v1/jobs", json=wanted).json()["id"]
    with closing(Database(served.data)) as database:
        assert Jobs(database).outlines(job)["region"] == region


def test_a_job_may_begin_with_a_byte_order_mark(served: Served) -> None:
    with served.client() as client:
        body = codecs.BOM_UTF8 + json.dumps(job_body(client)).encode()
    answer = web.post(f"{served.url}/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 201


def test_a_client_that_goes_away_within_its_body_is_no_failure_of_the_server(served: Served) -> None:
    address = urlsplit(served.url)
    head = (
        f"POST /v1/jobs HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\nContent-Length: 99\r\n"
    )
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(f"{head}\r\n{{".encode())
    deadline = time.monotonic() + 60
    while "POST /v1/jobs 400" not in served.log:
        assert time.monotonic() < deadline, served.log
        time.sleep(0.05)
    assert "the request failed" not in served.log


def test_other_requests_may_have_a_small_body_alone(served: Served) -> None:
    answer = web.post(f"{served.url}/v1/hooks", json={"url": "http://127.0.0.1/", "more": [1] * 40_000})
    assert "larger than the 65536 bytes" in problem(answer, 413)["detail"]


def test_outlines_in_rows_of_an_earlier_version_are_moved_out_of_them(tmp_path: Path) -> None:
    with zipfile.ZipFile(MADE) as packed:
        packed.extractall(tmp_path)
    region = {"type": "Polygon", "coordinates": [[[0, 0], [900, 0], [900, 500], [0, 0]]]}
    with closing(sqlite3.connect(tmp_path / "data" / "jobs.sqlite")) as connection:
        (text,) = connection.execute("SELECT parameters FROM jobs WHERE id = ?", (WAITING,)).fetchone()
        changed = json.dumps(json.loads(text) | {"region": region})
        connection.execute("UPDATE jobs SET parameters = ? WHERE id = ?", (changed, WAITING))
        connection.commit()
    database = Database(tmp_path / "data")
    database.migrate()
    jobs = Jobs(database)
    job = jobs.get(WAITING)
    assert job is not None
    assert job.parameters["region"] == {"bounds": [0.0, 0.0, 900.0, 500.0]}
    assert jobs.outlines(WAITING) == {"region": region}
    assert (job.client, job.inputs) == ("", None)
    database.close()
