"""Finished masks that no job made, while they are replaced, come and go under a running server."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import web
from live_server import Served, problem, write_slides
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.model.card import find_model


def eventually(seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_masks_that_are_replaced_come_and_go_are_followed_without_a_restart(tmp_path: Path) -> None:
    folder = write_slides(tmp_path / "served", count=2)
    model = find_model(folder / "models" / "channels")
    masks, made = folder / "masks", tmp_path / "made"
    for index in range(2):
        segment(folder / "slides" / f"s{index}.tiff", model=model, out=made / f"{index}.zarr", options=SegmentOptions())

    def put(index: int, name: str) -> None:
        shutil.rmtree(masks / f"{name}.zarr", ignore_errors=True)
        shutil.copytree(made / f"{index}.zarr", masks / f"{name}.zarr")
        shutil.copy(made / f"{index}.summary.json", masks / f"{name}.summary.json")

    put(0, "a")
    with (
        Served(folder, "--results", masks, "--workers", 0) as served,
        web.client(base_url=served.url) as http,
    ):

        def listed() -> dict[str, str]:
            return {job["name"]: job["id"] for job in http.get("/v1/jobs").json()["jobs"]}

        first = listed()["a"]
        slide = http.get("/v1/slides", params={"path": "slides/s0.tiff"}).json()["slides"][0]
        eventually(lambda: http.get(f"/v1/jobs/{first}").json()["slide"] == slide["id"])
        assert http.get(f"/v1/jobs/{first}").json()["slide_fingerprint"] == slide["fingerprint"]
        parts = ("tiles/0/0/0.png", "objects.geojson", "summary.json")
        before = {part: http.get(f"/v1/jobs/{first}/results/{part}") for part in parts}
        assert "immutable" not in before["tiles/0/0/0.png"].headers["cache-control"]

        put(1, "a")
        for part in parts:
            problem(http.get(f"/v1/jobs/{first}/results/{part}"), 404)  # at once, and nothing of both
        eventually(lambda: listed().get("a", first) != first)
        second = listed()["a"]
        for part in parts:
            answer = http.get(f"/v1/jobs/{second}/results/{part}")
            assert answer.is_success
            assert answer.content != before[part].content, part

        put(0, "b")
        eventually(lambda: listed().keys() == {"a", "b"})
        shutil.rmtree(masks / "a.zarr")
        eventually(lambda: listed().keys() == {"b"})
        assert http.get(f"/v1/jobs/{second}").json()["removed"] is not None


def test_a_mask_of_a_region_is_listed_as_others_are(tmp_path: Path) -> None:
    folder, outline = write_slides(tmp_path / "served"), tmp_path / "region.geojson"
    square = [[200, 200], [800, 200], [800, 800], [200, 800], [200, 200]]
    outline.write_text(json.dumps({"type": "Polygon", "coordinates": [square]}))
    model, options = find_model(folder / "models" / "channels"), SegmentOptions(region=outline)
    segment(folder / "slides" / "s0.tiff", model=model, out=folder / "masks" / "a.zarr", options=options)
    with Served(folder, "--results", folder / "masks", "--workers", 0) as served:
        (job,) = web.get(f"{served.url}/v1/jobs").json()["jobs"]
    assert job["parameters"]["region"].startswith("geojson ")
    assert job["region"] is None
