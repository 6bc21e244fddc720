from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthetic import ChannelNetwork, make_model, tissue_like, write_slide
from wsi_segment.inference.allowance import Allowance
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.slides import open as opening
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.inference.slides.readers.kept_tiles import CACHE_BYTES, KeptTiles
from wsi_segment.inference.slides.readers.segments import PageReader


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[int, int]]:
    """How often each tile was decoded, by the width of its level and its number."""
    counts: Counter[tuple[int, int]] = Counter()
    original = PageReader.decoded

    def counted(self: PageReader, index: int) -> np.ndarray | None:
        counts[self.width, index] += 1
        return original(self, index)

    monkeypatch.setattr(PageReader, "decoded", counted)
    return counts


@given(uses=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 40)), max_size=60))
def test_the_last_tiles_are_kept_within_their_bytes(uses: list[tuple[int, int]]) -> None:
    kept, held = KeptTiles(64), dict[int, int]()
    for key, size in uses:
        if kept.get(key) is None:
            kept.put(key, np.full(size, key, np.uint8))
            held[key] = size
        else:
            held[key] = held.pop(key)
        while sum(held.values()) > 64:
            del held[next(iter(held))]
        assert kept.nbytes == sum(held.values())
        assert [one for one in range(10) if one in kept] == sorted(held)


def test_a_tile_larger_than_all_that_is_kept_drops_none() -> None:
    kept = KeptTiles(64)
    kept.put(1, np.zeros(60, np.uint8))
    kept.put(2, np.zeros(65, np.uint8))
    assert 1 in kept
    assert 2 not in kept


def test_all_slides_together_keep_no_more_than_a_process_may() -> None:
    """The tile that was used longest ago goes first, whichever slide it is of; a closed slide's take no room."""
    allowance = Allowance(100)
    one, other = KeptTiles(64, allowance), KeptTiles(64, allowance)
    for key in range(3):
        one.put(key, np.zeros(20, np.uint8))
    assert one.get(0) is not None
    for key in range(3):
        other.put(key, np.zeros(20, np.uint8))
    assert ([key in one for key in range(3)], other.nbytes) == ([True, False, True], 60)
    del one
    other.put(3, np.zeros(4, np.uint8))
    assert other.nbytes == allowance.nbytes == 64


def test_slides_of_a_process_share_one_allowance() -> None:
    slides = [KeptTiles(CACHE_BYTES) for _ in range(4)]
    for kept in slides:
        kept.put(0, np.empty(CACHE_BYTES, np.uint8))
    assert [kept.nbytes for kept in slides] == [0, 0, CACHE_BYTES, CACHE_BYTES]


def test_a_run_decodes_no_tile_twice(tmp_path: Path, decoded: Counter[tuple[int, int]]) -> None:
    path = write_slide(tmp_path / "s.tiff", tissue_like(1500, 1400), mpp=1.0, levels=3, compression="jpeg")
    options = SegmentOptions(workers=1)
    segment(path, make_model(4), tmp_path / "m.zarr", options, network=ChannelNetwork(4))
    assert max(decoded.values()) == 1
    assert {index for width, index in decoded if width == 1400} == set(range(36))


def test_tiles_that_are_kept_are_those_of_their_level(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_slide(tmp_path / "s.tiff", tissue_like(700, 600), mpp=1.0, levels=2, compression="jpeg")
    monkeypatch.setattr(opening, "CACHE_BYTES", 5 * 256 * 256 * 3)
    with open_slide(path) as plain, open_slide(path, keep_tiles=True) as keeping:
        for level, box in [(0, Box(0, 0, 600, 700)), (1, Box(0, 0, 300, 350)), (0, Box(-9, 200, 300, 800))] * 2:
            np.testing.assert_array_equal(keeping.read(level, box), plain.read(level, box))
