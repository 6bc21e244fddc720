"""Processes of an old run that write late: the mask of a new run in its place stays what it is."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from buckets import Bucket, emulated
from synthetic import ChannelNetwork, files_of, make_model, tissue_like, write_slide
from wsi_segment.errors import RunError
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.grid.region import Region, Regions
from wsi_segment.inference.mask.ledger import FinishedRegion
from wsi_segment.inference.mask.partial import Output
from wsi_segment.inference.mask.region_writer import RegionWriter
from wsi_segment.inference.places import bucket_shards, bucket_site
from wsi_segment.inference.places.bucket_folder import ObjectFolder
from wsi_segment.inference.places.bucket_shards import ShardFolder
from wsi_segment.inference.places.ledger_records import run_name, sealed
from wsi_segment.inference.slides.location import slide_location

OLD = SegmentOptions(region_size=512, overlap=0.5, tissue="none", workers=1)
NEW: dict[str, dict[str, Any]] = {
    "other windows": {},
    "empty where the old one was not": {"tissue": "part.geojson"},
    "other regions": {"region_size": 1024},
}
"""By how a new run differs."""
LATE = Regions(1500, 1000, 512, windows=np.ones(6, np.int64))
"""Regions of the old run."""


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("straggler") / "s.tiff", tissue_like(1000, 1500))


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with emulated() as running:
        yield running


@pytest.fixture(params=["folder", "bucket"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "folder":
        yield tmp_path / "m.zarr"
        return
    found: Bucket = request.getfixturevalue("bucket")
    yield slide_location(f"s3://{found.name}/m.zarr")
    for name in found.names():
        found.client.delete_object(Bucket=found.name, Key=name)


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


def new_options(slide: Path, differing: dict[str, Any]) -> SegmentOptions:
    """Of the run that takes the place of the old one; of its tissue only the upper left corner may be left."""
    part = slide.with_name("part.geojson")
    corner = [[0, 0], [200, 0], [200, 200], [0, 200], [0, 0]]
    part.write_text(json.dumps({"type": "Polygon", "coordinates": [corner]}))
    usual: dict[str, Any] = {"region_size": 512, "overlap": 0.0, "tissue": "none", "workers": 1, "overwrite": True}
    given = usual | differing
    return SegmentOptions(**given | ({"tissue": part} if given["tissue"] != "none" else {}))


@pytest.fixture
def straggler(slide: Path, out: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[RegionWriter]:
    """What another process of a run that broke off still writes with."""
    travelled: list[bytes] = []
    begin = Output.begin

    def noted(self: Output, *args: Any) -> RegionWriter:
        writer = begin(self, *args)
        travelled.append(pickle.dumps(writer))
        return writer

    with monkeypatch.context() as noting:
        noting.setattr(Output, "begin", noted)
        with pytest.raises(RunError, match="broken"):
            segment(slide, make_model(), out, OLD, network=Ending(30, break_off))
    writer: RegionWriter = pickle.loads(travelled[0])
    yield writer
    writer.records.close()


def write_late(straggler: RegionWriter, regions: Sequence[Region] = LATE) -> list[FinishedRegion]:
    """Write regions of the old run; return those that were taken."""
    written = []
    for region in regions:
        ids = np.full((region.m_box.height, region.m_box.width), 2, np.uint8)
        with suppress(OSError):
            written.append(straggler.write(region, ids, 3))
    return written


@pytest.mark.parametrize("differing", NEW.values(), ids=NEW.keys())
def test_what_an_old_run_still_writes_is_not_in_a_new_run(
    slide: Path,
    out: Any,
    straggler: RegionWriter,
    differing: dict[str, Any],
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bucket_shards, "TRUSTED_SECONDS", 0.1)
    monkeypatch.setattr(bucket_shards, "_SETTLE_SECONDS", 0.1)
    options = new_options(slide, differing)
    segment(slide, make_model(), tmp_path / "undisturbed.zarr", options, network=ChannelNetwork())
    undisturbed = files_of(tmp_path / "undisturbed.zarr")
    taken: list[list[FinishedRegion]] = []
    network = Ending(0, lambda: taken.append(write_late(straggler)))
    summary = segment(slide, make_model(), out, options, network=network)
    assert taken == [[]]
    assert summary.regions_kept == 0
    assert files(out, request) == undisturbed
    assert write_late(straggler) == []
    assert files(out, request) == undisturbed
    if isinstance(out, Path):
        assert not out.with_name("m.zarr.partial").exists()
    else:
        assert not request.getfixturevalue("bucket").names("m.zarr.partial/")


def test_what_an_old_run_writes_while_a_new_one_takes_its_place_is_not_in_it(
    slide: Path,
    out: Any,
    straggler: RegionWriter,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The old run's process has seen shortly before that it is under way; then the new one waits for it."""
    if isinstance(out, Path):
        pytest.skip("in a folder the store's own name tells of the run")
    options = new_options(slide, NEW["empty where the old one was not"])
    segment(slide, make_model(), tmp_path / "undisturbed.zarr", options, network=ChannelNetwork())
    monkeypatch.setattr(bucket_shards, "TRUSTED_SECONDS", 60.0)
    assert len(write_late(straggler, LATE[:1])) == 1
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        assert len(write_late(straggler)) == len(LATE)

    monkeypatch.setattr(bucket_site, "sleep", wait)
    segment(slide, make_model(), out, options, network=ChannelNetwork())
    assert waited == [60.0]
    assert files(out, request) == files_of(tmp_path / "undisturbed.zarr")


def test_a_shard_that_an_old_run_takes_back_is_not_one_that_the_new_run_relies_on(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both put the same bytes, the new run between the old one's put and its look at which run is under way."""
    monkeypatch.setattr(bucket_shards, "_SETTLE_SECONDS", 0.0)
    place, shard = f"s3://{bucket.name}/same.zarr", {"c/0/0": b"shard"}
    beside = ObjectFolder(f"{place}.partial")
    beside.put({bucket_shards.RUN: sealed(b'{"run": "new"}')})
    old, new = (ShardFolder(place, beside, run_name(b'{"run": "%s"}' % name)) for name in (b"old", b"new"))
    look, put = ShardFolder._is_under_way, list[str]()

    def between(self: ShardFolder) -> bool:
        if self.run == old.run and not put:
            put.append("new")
            new.put(shard)
        return look(self)

    monkeypatch.setattr(ShardFolder, "_is_under_way", between)
    with pytest.raises(OSError, match="another run has been started"):
        old.put(shard)
    assert put
    assert bucket.objects("same.zarr/") == shard
    bucket.client.delete_object(Bucket=bucket.name, Key="same.zarr/c/0/0")
    bucket.client.delete_object(Bucket=bucket.name, Key="same.zarr.partial/run")


def test_a_process_that_has_read_lately_which_run_is_under_way_asks_nobody(bucket: Bucket) -> None:
    """A scheduler may not answer for seconds."""
    place, asked = f"s3://{bucket.name}/asks.zarr", list[int]()
    beside, description = ObjectFolder(f"{place}.partial"), b'{"run": "this"}'
    beside.put({bucket_shards.RUN: sealed(description)})

    def is_held() -> bool:
        asked.append(1)
        return False

    folder = ShardFolder(place, beside, run_name(description), is_held)
    for number in range(3):
        folder.put({f"c/0/{number}": b"shard"})
    assert len(asked) == 1
    beside.delete([bucket_shards.RUN])
    folder.delete([f"c/0/{number}" for number in range(3)])


def test_an_old_store_is_removed_while_processes_of_its_run_write(
    slide: Path, straggler: RegionWriter, out: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not isinstance(out, Path):
        pytest.skip("a bucket has no folders that could not be empty")
    options, remove, taken = new_options(slide, {}), os.rmdir, list[FinishedRegion]()

    def writing(path: Any, **more: Any) -> None:
        if ".probe-" not in str(path):  # of the place, while the old run is still the one
            taken.extend(write_late(straggler))
        remove(path, **more)

    monkeypatch.setattr(os, "rmdir", writing)
    segment(slide, make_model(), out, options, network=ChannelNetwork())
    assert not taken
    assert not out.with_name("m.zarr.partial").exists()
