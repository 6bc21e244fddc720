"""What can be taken along from a result: each file that the page offers, opened and compared."""

from __future__ import annotations

import csv
import io
import json
import shlex
import zipfile
from pathlib import Path

import pytest

import web
from browser import Watched
from live_server import Served
from synthetic import tissue_like, write_slide
from wsi_segment.inference.mask.mask import Mask


def test_every_download_is_the_results_own(watched: Watched, gallery: Served, result: str, result_store: Path) -> None:
    page = watched.open(f"view/{result}", "view")
    page.click("details[data-panel='downloads'] summary")
    saved: dict[str, bytes] = {}
    for link in page.locator("[data-panel='downloads'] a").all():
        with page.expect_download() as waiting:
            link.click()
        saved[waiting.value.suggested_filename] = Path(waiting.value.path()).read_bytes()
    names = ["areas.csv", "geojson", "provenance.json", "summary.json", "zarr.zip"]
    assert sorted(saved) == [f"small.{name}" for name in names]
    at = f"{gallery.url}/v1/jobs/{result}/results"
    for name, path in {"geojson": "objects.geojson", "summary.json": "summary.json"}.items():
        assert json.loads(saved[f"small.{name}"]) == web.get(f"{at}/{path}").json()
    assert json.loads(saved["small.geojson"])["features"]
    assert json.loads(saved["small.provenance.json"])["model"]
    with zipfile.ZipFile(io.BytesIO(saved["small.zarr.zip"])) as archive:
        assert archive.read("zarr.json") == (result_store / "zarr.json").read_bytes()
    rows = list(csv.DictReader(saved["small.areas.csv"].decode().splitlines()))
    areas = Mask.open(result_store).areas()
    assert [(int(row["class_id"]), row["class"], int(row["pixels"])) for row in rows] == [
        (area.id, area.name, area.pixels) for area in areas
    ]
    for row, area in zip(rows, areas, strict=True):
        assert float(row["area_mm2"]) == pytest.approx(area.area_mm2, abs=1e-6)
        assert float(row["percent_of_tissue"]) == pytest.approx(area.percent_of_tissue, abs=1e-3)
    watched.clean()


def test_a_picture_is_among_the_downloads(watched: Watched, result: str) -> None:
    page = watched.open(f"view/{result}", "view")
    watched.drawn()
    page.click("details[data-panel='downloads'] summary")
    with page.expect_download() as waiting:
        page.click("[data-panel='downloads'] button:has-text('Picture')")
    assert waiting.value.suggested_filename == "small.png"
    watched.clean()


def test_the_address_of_the_mask_is_that_of_its_store(watched: Watched, result: str, result_store: Path) -> None:
    page = watched.open(f"view/{result}", "view")
    page.click("details[data-panel='downloads'] summary")
    address = page.input_value("#zarr-address")
    for name in ("zarr.json", "0/zarr.json"):
        answer = web.get(f"{address}/{name}")
        assert answer.content == (result_store / name).read_bytes()
    assert page.input_value("#zarr-command") == f"wsi-segment fetch {result} --out small.zarr"
    watched.clean()


def test_a_command_to_copy_holds_any_name_of_a_slide(watched: Watched, gallery: Served) -> None:
    write_slide(gallery.folder / "slides" / "Anna's $(echo) slide.tiff", tissue_like(600, 700))
    with gallery.client() as client:
        job = client.submit("slides/Anna's $(echo) slide.tiff", model="channels")["id"]
        assert client.wait(job)["status"] == "successful"
    page = watched.open(f"view/{job}", "view")
    page.click("details[data-panel='downloads'] summary")
    command = page.input_value("#zarr-command")
    assert shlex.split(command) == ["wsi-segment", "fetch", job, "--out", "Anna's $(echo) slide.zarr"]
    assert command.endswith(" 'Anna'\\''s $(echo) slide.zarr'"), "a shell puts nothing in the place of a part"
    watched.clean()
