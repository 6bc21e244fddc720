"""Results as files: one job with its summary, and all of a batch with two tables."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from live_server import Served
from synthetic import files_of
from wsi_segment.service.cli.main import main


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_mask_comes_with_its_summary(served: Served, done: str, tmp_path: Path) -> None:
    assert main(["fetch", done, "--out", str(tmp_path / "m.zarr"), "--server", served.url]) == 0
    summary = json.loads((tmp_path / "m.summary.json").read_text(encoding="utf-8"))
    assert (summary["slide"], summary["out"]) == ("s0.tiff", str(tmp_path / "m.zarr"))
    made = served.data / "results" / done / "mask.summary.csv"
    fetched = rows_of(tmp_path / "m.summary.csv")
    assert [row | {"slide": ""} for row in fetched] == [row | {"slide": ""} for row in rows_of(made)]
    assert {row["slide"] for row in fetched} == {"s0.tiff"}


def test_a_batch_comes_with_a_table_of_areas_and_one_of_failures(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (served.folder / "slides" / "bad.png").write_bytes(b"not a picture")
    table = tmp_path / "t.csv"
    table.write_text("slide,mpp\nslides/s0.tiff,\nslides/s1.tiff,\nslides/s0.tiff,1.5\nslides/bad.png,1\n")
    table.write_text(table.read_text().replace("slide,mpp", "slide,mpp,model").replace("\nslides", "\nslides"))
    lines = [line + ",channels" for line in table.read_text().splitlines()[1:]]
    table.write_text("\n".join(["slide,mpp,model", *lines]) + "\n")
    server = ["--server", served.url]
    assert main(["submit", "--manifest", str(table), "--wait", *server]) == 1
    batch = capsys.readouterr().out.strip()
    out = tmp_path / "masks"
    assert main(["fetch", batch, "--out", str(out), *server]) == 1
    stores = sorted(path.name for path in out.glob("*.zarr"))
    assert len(stores) == 3
    assert "s1.zarr" in stores
    assert [name.partition("-")[0] for name in stores] == ["s0", "s0", "s1.zarr"]
    (failure,) = rows_of(out / "failures.csv")
    assert (failure["slide"], failure["status"]) == ("bad.png", "failed")
    assert failure["reason"]
    areas = rows_of(out / "areas.csv")
    assert {row["slide"] for row in areas} == {"s0.tiff", "s1.tiff"}
    assert len(areas) == sum(len(rows_of(path)) for path in out.glob("*.summary.csv"))
    with served.client() as client:
        job = next(job for job in client.jobs(batch=batch) if job["slide_name"] == "s1.tiff")
    assert files_of(out / "s1.zarr") == files_of(served.data / "results" / job["id"] / "mask.zarr")
    before = (out / "areas.csv").read_bytes()
    capsys.readouterr()
    assert main(["fetch", batch, "--out", str(out), *server]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "3 masks" in said.err
    assert (out / "areas.csv").read_bytes() == before
