from __future__ import annotations

import numpy as np
import pytest

from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.grid.region import Region, Regions

WINDOWS = np.array([0, 7, 5, 9, 7, 0], np.int64)
REGIONS = Regions(1300, 700, 512, windows=WINDOWS)


def test_regions_lie_row_by_row_and_end_at_the_masks_edges() -> None:
    boxes = list(Box(0, 0, 1300, 700).tiles(512))
    assert [region.m_box for region in REGIONS] == boxes
    assert [region.key for region in REGIONS] == ["0,0", "0,1", "0,2", "1,0", "1,1", "1,2"]
    assert [region.windows for region in REGIONS] == WINDOWS.tolist()
    assert REGIONS[-1] == Region(1, 2, Box(1024, 512, 1300, 700), 0)
    assert list(REGIONS[1:3]) == [REGIONS[1], REGIONS[2]]
    with pytest.raises(IndexError):
        REGIONS[6]


def test_those_that_are_missing_come_fullest_first_and_alike_ones_in_their_order() -> None:
    missing = REGIONS.without({"1,0", "0,0"}).fullest_first()
    assert [region.key for region in missing] == ["0,1", "1,1", "0,2", "1,2"]
    assert not REGIONS.without({region.key for region in REGIONS}).fullest_first()
