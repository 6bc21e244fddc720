"""A mask that grows beside its final name on a disk."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from filelock import BaseFileLock, Timeout

from synthetic import ChannelNetwork, make_model, tissue_like, write_slide
from wsi_segment.errors import OutputError
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.places.local_site import LocalSite


@pytest.mark.parametrize("says", [FileNotFoundError, Timeout])
def test_a_run_begins_though_another_one_removes_its_folder_at_that_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: type[Exception]
) -> None:
    slide, removed = write_slide(tmp_path / "s.tiff", tissue_like(300, 300)), list[Path]()
    acquire = BaseFileLock.acquire

    def late(self: BaseFileLock, *args: Any, **choices: Any) -> Any:
        if not removed and ".partial" in self.lock_file:
            removed.append(Path(self.lock_file).parent)
            shutil.rmtree(removed[0])
            raise says(self.lock_file)  # as filelock does where the folder, or the lock in it, goes after it looked
        return acquire(self, *args, **choices)

    monkeypatch.setattr(BaseFileLock, "acquire", late)
    segment(slide, make_model(), tmp_path / "m.zarr", SegmentOptions(), network=ChannelNetwork())
    assert removed
    assert (tmp_path / "m.zarr").exists()


def begun(final: Path) -> LocalSite:
    """A run that has the place."""
    site = LocalSite(final)
    site.acquire("0123456789abcdef")
    site.clear()
    return site


@pytest.mark.parametrize("ends", ["publish", "tidy"])
def test_a_run_that_begins_while_another_one_ends_keeps_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """Whenever the lock is free, which is after the other one has released it."""
    final, begins, sites = tmp_path / "m.zarr", False, list[LocalSite]()
    release = LocalSite.release

    def released(self: LocalSite) -> None:
        nonlocal begins
        release(self)
        if begins:
            begins = False
            sites.append(begun(final))

    monkeypatch.setattr(LocalSite, "release", released)
    first = begun(final)
    begins = ends == "publish"
    first.publish({"zarr.json": b"{}"})
    if ends == "tidy":
        (tmp_path / "m.zarr.partial").mkdir()  # of a run that was cut off after its mask was complete
        begins = True
        LocalSite(final).tidy()
    (second,) = sites
    assert second.holds_store()
    with pytest.raises(OutputError, match="another run is writing"):
        LocalSite(final).acquire("fedcba9876543210")
    second.publish({"zarr.json": b"[]"})
    assert (final / "zarr.json").read_bytes() == b"[]"
    assert not (tmp_path / "m.zarr.partial").exists()


def test_a_run_that_was_cut_off_since_another_one_looked_keeps_what_it_has_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final, acquire = tmp_path / "m.zarr", BaseFileLock.acquire
    begun(final).publish({"zarr.json": b"{}"})
    partial = tmp_path / "m.zarr.partial"
    partial.mkdir()

    def late(self: BaseFileLock, *args: Any, **choices: Any) -> Any:
        (partial / "store-0123456789abcdef").mkdir(exist_ok=True)
        return acquire(self, *args, **choices)

    monkeypatch.setattr(BaseFileLock, "acquire", late)
    LocalSite(final).tidy()
    assert (partial / "store-0123456789abcdef").exists()


def test_looking_whether_a_place_can_be_written_touches_no_folder_of_others(tmp_path: Path) -> None:
    for name in ("m.zarr.probe", "n.zarr.probe"):
        (tmp_path / name).mkdir()
    (tmp_path / "n.zarr.probe" / "file").touch()
    for name in ("m.zarr", "n.zarr"):
        LocalSite(tmp_path / name).probe([])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.zarr.probe", "n.zarr.probe"]
