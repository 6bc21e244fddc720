"""A mask that grows beside its final name on a disk."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from filelock import BaseFileLock

from synthetic import ChannelNetwork, make_model, tissue_like, write_slide
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment


def test_a_run_begins_though_another_one_removes_its_folder_at_that_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide, removed = write_slide(tmp_path / "s.tiff", tissue_like(300, 300)), list[Path]()
    acquire = BaseFileLock.acquire

    def late(self: BaseFileLock, *args: Any, **choices: Any) -> Any:
        if not removed and ".partial" in self.lock_file:
            removed.append(Path(self.lock_file).parent)
            shutil.rmtree(removed[0])
            raise FileNotFoundError(self.lock_file)  # as filelock does where the folder goes after it looked for it
        return acquire(self, *args, **choices)

    monkeypatch.setattr(BaseFileLock, "acquire", late)
    segment(slide, make_model(), tmp_path / "m.zarr", SegmentOptions(), network=ChannelNetwork())
    assert removed
    assert (tmp_path / "m.zarr").exists()
