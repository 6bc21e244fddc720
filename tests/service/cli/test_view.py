"""``view``: one mask in the browser, with nothing set up and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import web
from synthetic import tissue_like, write_model, write_slide
from wsi_segment.service.cli.main import main


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a slide, another one, and the mask of the first, whose suffix is in capitals."""
    folder = tmp_path_factory.mktemp("view")
    write_slide(folder / "s.tiff", tissue_like(600, 700))
    write_slide(folder / "other.tiff", tissue_like(600, 700, seed=5))
    write_model(folder / "model")
    out = str(folder / "m.ZARR")
    assert main([str(folder / "s.tiff"), "--out", out, "--model", str(folder / "model"), "--quiet"]) == 0
    return folder


@pytest.fixture
def viewing(made: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The command, in a process whose environment belongs to another server."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)}
    environment |= {"WSI_SEGMENT_ALLOWED_HOST": "lab.example", "WSI_SEGMENT_DATABASE": "postgresql://nowhere/x"}
    command = [sys.executable, "-P", "-m", "wsi_segment.service", "view", str(made / "m.ZARR"), "--no-browser"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
    )
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


def test_the_mask_is_served_over_its_slide_until_ctrl_c(viewing: subprocess.Popen[str], tmp_path: Path) -> None:
    assert viewing.stdout is not None
    page = viewing.stdout.readline().strip()
    base, _, job = page.partition("/#/view/")
    found = web.get(f"{base}/v1/jobs/{job}").json()
    assert (found["name"], found["slide_name"], found["status"]) == ("m", "s.tiff", "successful")
    assert web.get(f"{base}/v1/slides/{found['slide']}/tiles/0/0/0.jpg").status_code == 200
    assert web.get(f"{base}/v1/jobs/{job}/results/tiles/0/0/0.png").status_code == 200
    assert "<title>" in web.get(base, headers={"Accept": "text/html"}).text
    viewing.send_signal(signal.SIGINT)
    assert viewing.wait(120) == 0
    assert not list(tmp_path.glob("wsi-segment-view-*"))


def test_another_slide_than_the_masks_own_is_refused(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", str(made / "m.ZARR"), "--slide", str(made / "other.tiff")]) == 2
    assert "not the slide that" in capsys.readouterr().err
    assert main(["view", str(made / "m.ZARR"), "--slide", str(made / "nowhere.tiff")]) == 2


def test_what_is_no_mask_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert main(["view", folder]) == 2
    assert "not a mask" in capsys.readouterr().err
