"""Doubts about a result: in the job, its summary and its events; refused where they are not wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import web
from live_server import Served
from wsi_segment.service.cli.main import main

BLANK: dict[str, Any] = {"slide": "slides/blank.png", "model": "channels", "mpp": 1.0}


@pytest.fixture(scope="module")
def blank(served: Served) -> Served:
    Image.fromarray(np.full((600, 600, 3), 255, np.uint8)).save(served.folder / "slides" / "blank.png")
    return served


def test_a_job_lists_its_warnings_as_the_summary_does(blank: Served) -> None:
    with blank.client() as client:
        job = client.submit(**BLANK)
        assert job["warnings"] == []
        *_, last = client.events("jobs", job["id"])
        ended = client.job(job["id"])
    assert ended["status"] == "successful"
    assert [warning["code"] for warning in ended["warnings"]] == ["no-tissue"]
    assert last["warnings"] == ended["warnings"]
    summary = web.get(f"{blank.url}/v1/jobs/{job['id']}/results/summary.json").json()
    assert summary["warnings"] == ended["warnings"]


def test_a_strict_job_fails_instead(blank: Served) -> None:
    with blank.client() as client:
        ended = client.wait(client.submit(**BLANK, strict=True)["id"])
        assert (ended["status"], ended["warnings"]) == ("failed", [])
        assert "no tissue was found" in ended["message"]
        assert "blank.png" not in ended["message"]
        batch = web.post(f"{blank.url}/v1/batches", json={"jobs": [BLANK | {"strict": True}]}).json()
        list(client.events("batches", batch["id"]))
        assert client.batch(batch["id"])["counts"] == {"failed": 1}
    assert not (blank.data / "results" / ended["id"] / "mask.zarr").exists()


def test_submit_passes_strict_on_and_prints_warnings(
    blank: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["submit", BLANK["slide"], "--model", "channels", "--mpp", "1", "--wait", "--server", blank.url]
    assert main([str(word) for word in command]) == 0
    assert "warning: no tissue was found; --tissue none analyses everything" in capsys.readouterr().err
    assert main([*(str(word) for word in command), "--strict"]) == 1
    (tmp_path / "m.csv").write_text("slide;model;mpp;strict\nslides/blank.png;channels;1,0;yes\n", encoding="utf-16")
    assert main(["submit", "--manifest", str(tmp_path / "m.csv"), "--wait", "--server", blank.url]) == 1
    assert ": failed" in capsys.readouterr().err.splitlines()[-1]
    (tmp_path / "o.geojson").write_text('{"type": "Polygon", "coordinates": [[[0,0],[90,0],[90,90],[0,90],[0,0]]]}')
    (tmp_path / "m.csv").write_text("slide,model,mpp,tissue\nslides/blank.png,channels,1,o.geojson\n")
    assert main(["submit", "--manifest", str(tmp_path / "m.csv"), "--wait", "--server", blank.url]) == 0
    assert "warning" not in capsys.readouterr().err


def test_the_command_line_spells_the_remedy_as_a_flag(
    blank: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slide, model = blank.folder / "slides" / "blank.png", blank.folder / "models" / "channels"
    command = [str(slide), "--model", str(model), "--mpp", "1", "--out"]
    assert main([*command, str(tmp_path / "a.zarr")]) == 0
    assert f"warning: {slide}: no tissue was found; --tissue none analyses everything" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "b.zarr"), "--strict"]) == 2
    assert "(refused because of --strict)" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"a.zarr", "a.summary.json", "a.summary.csv"}
