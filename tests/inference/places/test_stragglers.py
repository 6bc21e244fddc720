"""Processes of an old run that write late: the mask of a new run in its place stays what it is."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from buckets import Bucket, emulated
from synthetic import ChannelNetwork, files_of, make_model, tissue_like, write_slide
from wsi_segment.errors import RunError
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.plan import places
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.grid.region import Region
from wsi_segment.inference.mask.partial import Output
from wsi_segment.inference.mask.region_writer import RegionWriter
from wsi_segment.inference.slides.location import slide_location

OLD = SegmentOptions(region_size=512, overlap=0.5, tissue="none", workers=1)
NEW = SegmentOptions(region_size=512, overlap=0.0, tissue="none", workers=1, overwrite=True)


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("straggler") / "s.tiff", tissue_like(1000, 1500))


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with emulated() as running:
        yield running


@pytest.fixture(params=["folder", "bucket"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "folder":
        return tmp_path / "m.zarr"
    return slide_location(f"s3://{request.getfixturevalue('bucket').name}/m.zarr")


class Ending(ChannelNetwork):
    """Calls something after some windows."""

    def __init__(self, windows: int, end: Any) -> None:
        super().__init__()
        self._after, self._end = windows, end

    def __call__(self, windows: np.ndarray) -> np.ndarray:
        if self._after is not None and self.windows >= self._after:
            self._after = None  # type: ignore[assignment]
            self._end()
        return super().__call__(windows)


def break_off() -> None:
    raise RunError("broken")


def files(out: Any, request: pytest.FixtureRequest) -> dict[str, bytes]:
    if isinstance(out, Path):
        return files_of(out)
    found: Bucket = request.getfixturevalue("bucket")
    return found.objects("m.zarr/")


def test_what_an_old_run_still_writes_is_not_in_a_new_run(
    slide: Path, out: Any, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment(slide, make_model(), tmp_path / "undisturbed.zarr", NEW, network=ChannelNetwork())
    undisturbed = files_of(tmp_path / "undisturbed.zarr")
    travelled: list[bytes] = []
    begin = Output.begin

    def noted(self: Output, *args: Any) -> RegionWriter:
        writer = begin(self, *args)
        travelled.append(pickle.dumps(writer))
        return writer

    monkeypatch.setattr(Output, "begin", noted)
    with pytest.raises(RunError, match="broken"):
        segment(slide, make_model(), out, OLD, network=Ending(30, break_off))
    straggler: RegionWriter = pickle.loads(travelled[0])
    late = [Region(*place, 1) for place in places(1500, 1000, 512)]
    written = 0

    def write() -> None:
        nonlocal written
        for region in late:
            with suppress(OSError):
                straggler.write(region, np.full((region.m_box.height, region.m_box.width), 2, np.uint8), 3)
            written += 1

    summary = segment(slide, make_model(), out, NEW, network=Ending(20, write))
    assert written == len(late) == summary.regions
    assert summary.regions_kept == 0
    assert files(out, request) == undisturbed
    write()
    assert files(out, request) == undisturbed
    if isinstance(out, Path):
        assert not out.with_name("m.zarr.partial").exists()
