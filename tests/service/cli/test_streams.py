"""Standard output of any encoding."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from synthetic import tissue_like, write_model

ENCODINGS = ("gbk", "cp932", "cp949", "cp850", "koi8-r", "ascii", "utf-16")


def run(folder: Path, encoding: str, *arguments: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "wsi_segment.service", *map(str, arguments)]
    environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_help_is_printed_in_every_encoding(encoding: str, tmp_path: Path) -> None:
    done = run(tmp_path, encoding, "--help")
    assert done.returncode == 0, done.stderr
    assert "m per pixel of the slide" in done.stdout.decode(encoding)


def test_a_finished_run_leaves_with_0_and_prints_look_alikes(tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    Image.fromarray(tissue_like(300, 300)).save(tmp_path / "a.png")
    done = run(tmp_path, "ascii", "a.png", "--out", "m.zarr", "--mpp", 1, "--model", "model", "--tissue", "none")
    assert done.returncode == 0, done.stderr
    assert "mm2" in done.stdout.decode("ascii")
    assert "um/px" in done.stdout.decode("ascii")


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux alone")
def test_a_name_that_is_not_text_is_shown_by_its_bytes(tmp_path: Path) -> None:
    for encoding in ("utf-8", "ascii"):
        done = run(tmp_path, encoding, "info", os.fsdecode(b"M\xfcller.png"))
        assert done.returncode == 2
        assert rb"M\xfcller.png" in done.stderr
        assert done.stderr.count(b"\n") == 1
