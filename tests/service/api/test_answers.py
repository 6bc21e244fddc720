"""Answers that every client relies on: methods, ranges, listings, the end of events, and what is for nobody else."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
from pathlib import Path

import httpx
import pytest
import zarr

from live_server import ROOT, Served, problem, write_slides


def test_other_methods_are_answered_with_those_that_there_are(http: httpx.Client, done: str) -> None:
    for method, path, allowed in (
        ("PUT", f"/v1/jobs/{done}", "DELETE, GET, HEAD"),
        ("DELETE", "/v1/models", "GET, HEAD"),
        ("PATCH", f"/v1/jobs/{done}/corrections.geojson", "GET, HEAD, PUT"),
        ("POST", "/metrics", "GET, HEAD"),
    ):
        answer = http.request(method, path)
        problem(answer, 405)
        assert answer.headers["allow"] == allowed


@pytest.mark.parametrize(
    ("given", "status"), [("bytes=999999999-", 416), ("bytes=5-2", 400), ("lines=0-1", 400), ("bytes=", 400)]
)
def test_ranges_that_cannot_be_given_are_problems(http: httpx.Client, done: str, given: str, status: int) -> None:
    path = f"/v1/jobs/{done}/results/zarr/zarr.json"
    size = len(http.get(path).content)
    answer = http.get(path, headers={"Range": given})
    assert problem(answer, status)["detail"]
    if status == 416:
        assert answer.headers["content-range"] == f"bytes */{size}"
    assert http.get(path, headers={"Range": "bytes=0-9"}).status_code == 206


def test_readers_find_groups_and_arrays_over_http(served: Served, done: str, store: Path) -> None:
    group = zarr.open_group(f"{served.url}/v1/jobs/{done}/results/zarr", mode="r")
    there = zarr.open_group(str(store), mode="r")
    assert set(group.group_keys()) == set(there.group_keys()) == {"labels"}
    labels, wanted = group["labels/segmentation"], there["labels/segmentation"]
    assert isinstance(labels, zarr.Group)
    assert isinstance(wanted, zarr.Group)
    assert set(labels.array_keys()) == set(wanted.array_keys())


def test_a_listing_leads_out_of_no_store(http: httpx.Client, done: str) -> None:
    page = http.get(f"/v1/jobs/{done}/results/zarr/labels").text
    assert re.findall(r'href="([^"]+)"', page) == ["segmentation", "zarr.json"]
    for path in ("%2e%2e%2f", "labels/%2e%2e%2f%2e%2e", "labels%2f..%2f..%2f.."):
        problem(http.get(f"/v1/jobs/{done}/results/zarr/{path}"), 404)


def test_whoever_has_seen_the_end_is_told_not_to_ask_again(http: httpx.Client, done: str) -> None:
    text = http.get(f"/v1/jobs/{done}/events").text
    last = re.findall(r"^id: (\d+)", text, re.M)[-1]
    answer = http.get(f"/v1/jobs/{done}/events", headers={"Last-Event-ID": last})
    assert (answer.status_code, answer.content) == (204, b"")


def test_what_the_service_writes_is_for_nobody_else(tmp_path: Path) -> None:
    folder = write_slides(tmp_path / "private")
    (folder / "data").mkdir(mode=0o755)
    with Served(folder, "--workers", 1) as served, served.client() as client:
        job = client.submit("slides/s0.tiff", model="channels")["id"]
        assert client.wait(job)["status"] == "successful"
    written = [served.data, *served.data.rglob("*")]
    assert len(written) > 10
    for path in written:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_the_unit_is_sound(tmp_path: Path) -> None:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not installed")
    text = (ROOT / "deploy" / "wsi-segment.service").read_text(encoding="utf-8")
    for line in ("RestartSec=5", "LimitNOFILE=65536", "UMask=0077"):
        assert f"\n{line}\n" in text
    assert re.search(r"^After=.*network-online.*postgresql", text, re.M)
    unit = tmp_path / "wsi-segment.service"
    text = text.replace("/opt/wsi-segment/bin/wsi-segment", "/bin/true").replace("User=wsi-segment", "User=root")
    unit.write_text(text)
    checked = subprocess.run([found, "verify", str(unit)], capture_output=True, text=True, check=False)
    said = [line for line in checked.stderr.splitlines() if unit.name in line]
    assert said == []
