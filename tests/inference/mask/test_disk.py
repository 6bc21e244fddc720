"""A disk that is full, for real: a small file system in memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from synthetic import ChannelNetwork, make_model, write_slide
from wsi_segment.errors import RunError
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a tmpfs is Linux")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs needs more rights than this user has")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_said_and_what_is_finished_is_kept(small_disk: Path, tmp_path: Path) -> None:
    # noise, so that masks do not pack well
    pixels = np.random.default_rng(0).integers(0, 256, (2560, 2560, 3), dtype=np.uint8)
    slide = write_slide(tmp_path / "s.tiff", pixels)
    run = SegmentOptions(region_size=512, tissue="none", workers=1)
    out = small_disk / "m.zarr"
    with pytest.raises(RunError, match=r"the disk is full; what is finished is kept"):
        segment(slide, make_model(1), out, run, network=ChannelNetwork(1))
    assert not out.exists()
    subprocess.run(["mount", "-o", "remount,size=40m", str(small_disk)], check=True)
    summary = segment(slide, make_model(1), out, run, network=ChannelNetwork(1))
    assert summary.regions_kept > 0
    segment(slide, make_model(1), tmp_path / "m.zarr", run, network=ChannelNetwork(1))
    for path in sorted((tmp_path / "m.zarr").rglob("*")):
        if path.is_file():
            assert (out / path.relative_to(tmp_path / "m.zarr")).read_bytes() == path.read_bytes()
