"""Read what version 0.1.0 left on disks: masks, a run that was killed, and a server's data folder."""

from __future__ import annotations

import json
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from shapely.geometry import shape

import web
from live_server import Served
from synthetic import CLASSES, class_map, files_of
from wsi_segment.inference import Box, Mask
from wsi_segment.inference.mask.geojson import write_geojson
from wsi_segment.inference.mask.verify import verify
from wsi_segment.service.cli.main import main
from wsi_segment.service.jobs.tables import VERSION

MADE = Path(__file__).parent / "data" / "made_by_0_1_0.zip"
OLD_TABLES = "0002"
FINISHED, FAILED, DISMISSED = "6516c702d95a092fb3eb9b96", "d8bf7ee602a5ab893bed01bf", "616a62f8e93bb363211ceee5"
KILLED, WAITING = "e5ff629eb7e18146eb3a3271", "4925f6b40d4ff530942a71f1"
BATCH = "8934dbcc17f400c109f478f9"
"""Of the failed and the dismissed job."""


def unpack(folder: Path) -> Path:
    with zipfile.ZipFile(MADE) as packed:
        packed.extractall(folder)
    return folder


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """All inputs, in a folder of the test's own; see ``data/README.md``."""
    return unpack(tmp_path / "made")


@pytest.fixture(params=["v0_5", "v0_4"])
def store(request: pytest.FixtureRequest, made: Path) -> Path:
    return made / "masks" / f"{request.param}.zarr"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of today on the old data folder, which moved since, and on the old masks."""
    folder = unpack(tmp_path_factory.mktemp("made"))
    with Served(folder, "--worker-threads", 1, "--results", folder / "masks") as served:
        yield served


def result(running: Served, job: str, name: str) -> bytes:
    answer = web.get(f"{running.url}/v1/jobs/{job}/results/{name}")
    assert answer.is_success, answer.text
    return answer.content


def outlines(text: str | bytes) -> dict[str, tuple[Any, ...]]:
    """Class, colour, area and shape of each outline by its id, however its rings wind."""
    return {
        feature["id"]: (
            feature["properties"]["classification"],
            feature["properties"]["measurements"]["Area um^2"],
            shapely.normalize(shape(feature["geometry"])).wkt,
        )
        for feature in json.loads(text)["features"]
    }


def outlines_of_0_1_0(folder: Path) -> dict[str, tuple[Any, ...]]:
    found = outlines((folder / "masks" / "outlines.geojson").read_bytes())
    assert len(found) == 54
    return found


def table_version(file: Path) -> str:
    with closing(sqlite3.connect(file)) as connection:
        found: str = connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]
    return found


def test_verify_finds_both_kinds_of_store_whole(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(store)]) == 0
    assert "whole, 4 regions, 2 levels" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("v0_5.zarr/labels/segmentation/0/c/0/1", "labels/segmentation/0: region 0,1"),
        ("v0_5.zarr/labels/segmentation/1/c/0/0", "labels/segmentation/1"),
        ("v0_5.zarr/0/c/2/0/0", "probabilities of region 0,0"),
        ("v0_5.zarr/1/c/2/0/0", "v0_5.zarr/1"),
        ("v0_5.zarr/labels/segmentation/zarr.json", "labels/segmentation/zarr.json"),
        ("v0_4.zarr/labels/segmentation/0/0/1", "labels/segmentation/0: region 0,1"),
        ("v0_4.zarr/0/0/1", "v0_4.zarr/0: region 0,1"),
        ("v0_4.zarr/OME/METADATA.ome.xml", "OME/METADATA.ome.xml"),
    ],
)
def test_verify_notices_a_flipped_bit(made: Path, capsys: pytest.CaptureFixture[str], file: str, said: str) -> None:
    path = made / "masks" / file
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    assert main(["verify", str(made / "masks" / Path(file).parts[0]), "--quiet"]) == 1
    assert said in capsys.readouterr().err


def test_outlines_of_the_level_of_then_are_those_that_0_1_0_wrote(store: Path, made: Path, tmp_path: Path) -> None:
    """It followed the level of 2 µm per pixel, and smoothed by one pixel of it."""
    write_geojson(tmp_path / "again.geojson", store, simplify_um=2.0, level=1)
    assert outlines((tmp_path / "again.geojson").read_bytes()) == outlines_of_0_1_0(made)


def test_a_mask_opens_with_its_levels_classes_areas_and_provenance(store: Path) -> None:
    mask = Mask.open(store)
    assert [(level.width, level.height, level.downsample) for level in mask.levels] == [(960, 576, 2), (480, 288, 4)]
    named = [(entry.id, entry.name, entry.color) for entry in mask.classes]
    assert named == [(0, "not analysed", (0, 0, 0)), *((i, c.name, c.color) for i, c in enumerate(CLASSES, start=1))]
    assert (mask.origin, mask.bounds, mask.mpp) == ((0, 0), Box(0, 0, 1920, 1152), 1.0)
    assert mask.provenance["versions"]["wsi-segment"] == "0.1.0"
    summary = json.loads(store.with_name(f"{store.stem}.summary.json").read_bytes())
    assert [asdict(area) for area in mask.areas()] == summary["classes"]


def test_a_mask_gives_the_pixels_that_were_written(store: Path) -> None:
    mask = Mask.open(store)
    for index, level in enumerate(mask.levels):
        ids = mask.read(index, Box(0, 0, level.width, level.height))
        assert np.array_equal(ids, class_map(store, index))
    row = class_map(store)[250]
    edges = np.flatnonzero(np.diff(row)) + 1
    assert len(edges) > 5
    for edge in edges.tolist():  # the last and the first pixel on both sides, in level-0 pixels of half the size
        assert (mask.at(2 * edge - 0.5, 500).id, mask.at(2 * edge, 501.5).id) == (row[edge - 1], row[edge])


def test_a_mask_gives_the_outlines_that_0_1_0_wrote_of_its_level(store: Path, made: Path) -> None:
    found = [
        (outline.name, round(outline.area_um2, 2), shapely.normalize(outline.polygon).wkt)
        for outline in Mask.open(store).outlines(simplify_um=2.0, level=1)
    ]
    expected = [(entry[0]["name"], *entry[1:]) for entry in outlines_of_0_1_0(made).values()]
    assert sorted(found) == sorted(expected)


def test_the_database_is_brought_up_to_date_and_the_old_one_kept(running: Served) -> None:
    assert table_version(running.data / "jobs.sqlite") == VERSION
    before = running.data / f"jobs.sqlite.before-{VERSION}"
    assert table_version(before) == OLD_TABLES if VERSION != OLD_TABLES else not before.exists()


def test_finished_masks_are_served_as_results(running: Served, tmp_path: Path) -> None:
    with running.client() as client:
        jobs = {job["id"]: job["status"] for job in client.jobs()}
    adopted = jobs.keys() - {FINISHED, FAILED, DISMISSED, KILLED, WAITING}
    assert [jobs[job] for job in adopted] == ["successful", "successful"]
    summary = json.loads((running.folder / "masks" / "v0_5.summary.json").read_bytes())
    write_geojson(tmp_path / "today.geojson", running.folder / "masks" / "v0_5.zarr")  # their outlines are made today
    today = outlines((tmp_path / "today.geojson").read_bytes())
    for entry in summary["classes"]:
        area = sum(um2 for kind, um2, _ in today.values() if kind["name"] == entry["name"])
        assert area / 1e6 == pytest.approx(entry["area_mm2"], rel=0.005)
    for job in adopted:
        assert outlines(result(running, job, "objects.geojson")) == today
        assert json.loads(result(running, job, "summary.json"))["classes"] == summary["classes"]
        assert json.loads(result(running, job, "provenance.json"))["versions"]["wsi-segment"] == "0.1.0"
        assert len(json.loads(result(running, job, "tiles.json"))["classes"]) == 4
        assert result(running, job, "tiles/0/1/1.png").startswith(b"\x89PNG")


def test_a_finished_job_is_shown_with_the_results_of_then(running: Served, tmp_path: Path) -> None:
    folder = running.data / "results" / FINISHED
    summary = json.loads((folder / "mask.summary.json").read_bytes())
    with running.client() as client:
        assert client.job(FINISHED)["status"] == "successful"
        client.fetch(FINISHED, tmp_path / "fetched.zarr")
    assert files_of(tmp_path / "fetched.zarr") == files_of(folder / "mask.zarr")
    assert verify(tmp_path / "fetched.zarr").damage == ()
    assert outlines(result(running, FINISHED, "objects.geojson")) == outlines_of_0_1_0(running.folder)
    assert json.loads(result(running, FINISHED, "summary.json"))["classes"] == summary["classes"]
    assert result(running, FINISHED, "preview.png") == (folder / "preview.png").read_bytes()


def test_a_failed_job_and_its_batch_still_say_why(running: Served) -> None:
    with running.client() as client:
        job, batch = client.job(FAILED), client.batch(BATCH)
    assert (job["status"], job["slide_name"], job["batch"]) == ("failed", "gone.tiff", BATCH)
    assert "is unknown; GET /v1/slides lists those there are" in job["message"]
    assert batch["jobs"] == 2


@pytest.mark.parametrize("job", [WAITING, KILLED, DISMISSED], ids=["waiting", "killed", "dismissed"])
def test_a_job_that_had_not_finished_runs_to_its_end(running: Served, job: str) -> None:
    """The killed one had one region; where another version began a job, the service begins it again."""
    with running.client() as client:
        if job == DISMISSED:
            assert client.job(job)["status"] == "dismissed"
            client.retry(job)
        kinds: list[Any] = [event["kind"] for event in client.events("jobs", job)]
        assert client.job(job)["status"] == "successful"
    assert (kinds[0], kinds[-1]) == ("accepted", "successful")
    folder = running.data / "results" / job
    assert verify(folder / "mask.zarr").damage == ()
    assert not (folder / "mask.zarr.partial").exists()
    assert (folder / "mask.zarr" / ".zgroup").exists() == (job == WAITING)  # which asked for version 0.4


def go_on(made: Path, *more: str) -> int:
    """Give the command again that was killed when two of four regions were finished."""
    command = [made / "slides" / "tissue.tiff", "--model", made / "models" / "channels", "--out", made / "begun.zarr"]
    return main([*map(str, command), "--overlap", "0.875", "--tissue", "none", "--quiet", *more])


def test_a_run_of_another_version_is_refused_in_a_line_that_names_both(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    partial = made / "begun.zarr.partial"
    kept = files_of(partial)
    assert go_on(made) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "0.1.0" in said
    assert version("wsi-segment") in said
    assert "--overwrite" in said
    assert files_of(partial) == kept


def test_a_run_of_another_version_is_replaced_where_that_is_wanted(made: Path) -> None:
    assert go_on(made, "--overwrite") == 0
    assert verify(made / "begun.zarr").damage == ()
    assert not (made / "begun.zarr.partial").exists()
