"""Standard streams as they come: of any encoding, closed, without a reader, full, of no width."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from synthetic import tissue_like, write_model
from wsi_segment.inference.mask.verify import verify

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


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two small slides and a model."""
    folder = tmp_path_factory.mktemp("work")
    write_model(folder / "model")
    for name in ("a", "b"):
        Image.fromarray(tissue_like(200, 200)).save(folder / f"{name}.png")
    return folder


def segment(folder: Path, out: Path, **choices: Any) -> subprocess.CompletedProcess[bytes]:
    """Segment both slides, which prints a table after each."""
    words = ("a.png", "b.png", "--out", out, "--mpp", 1, "--model", "model", "--tissue", "none")
    command = [sys.executable, "-m", "wsi_segment.service", *map(str, words)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | choices.pop("more", {})
    if "shell" in choices:
        command = ["sh", "-c", f'exec "$0" "$@" {choices.pop("shell")}', *command]
    return subprocess.run(command, cwd=folder, env=environment, check=False, **choices)


def masks(out: Path) -> list[str]:
    return sorted(path.stem for path in out.glob("*.zarr") if verify(path).damage == ())


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell that closes streams")
@pytest.mark.parametrize("shell", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_lose_no_mask_and_take_none(shell: str, work: Path, tmp_path: Path) -> None:
    done = segment(work, tmp_path, shell=shell, capture_output=True)
    assert (done.returncode, masks(tmp_path)) == (0, ["a", "b"])
    assert b"Error" not in done.stdout + done.stderr


def test_a_reader_that_ends_does_not_end_a_batch(work: Path, tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = segment(work, tmp_path, stdout=write, stderr=write)
    os.close(write)
    assert (done.returncode, masks(tmp_path)) == (0, ["a", "b"])


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs a device that is always full")
def test_output_that_cannot_be_written_is_said_when_all_is_computed(work: Path, tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = segment(work, tmp_path, stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, masks(tmp_path)) == (1, ["a", "b"])
    assert b"standard output cannot be written: No space left on device" in done.stderr


@pytest.mark.parametrize("columns", ["0", "1"])
def test_a_terminal_of_no_width_shows_all(columns: str, work: Path, tmp_path: Path) -> None:
    done = segment(work, tmp_path, more={"COLUMNS": columns}, capture_output=True)
    assert done.returncode == 0
    assert b"tissue" in done.stdout


def test_without_assertions_zarr_is_not_used(work: Path, tmp_path: Path) -> None:
    done = segment(work, tmp_path, more={"PYTHONOPTIMIZE": "1"}, capture_output=True)
    assert (done.returncode, masks(tmp_path)) == (1, [])
    assert b"Python runs with -O (PYTHONOPTIMIZE)" in done.stderr
