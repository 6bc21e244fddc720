"""Masks that are being made: what is finished of them, and nothing else."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from synthetic import ChannelNetwork, class_map, make_model, tissue_like, write_slide
from wsi_segment.errors import Cancelled
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.mask.ledger import FinishedRegion
from wsi_segment.inference.mask.mask import Mask
from wsi_segment.inference.places.ledger_records import sealed
from wsi_segment.inference.progress import Progress
from wsi_segment.service.api.mask_tiles import TileBlock
from wsi_segment.service.api.viewing.growing_masks import GrowingMask, GrowingMasks

SIDE = 2600
OPTIONS = SegmentOptions(region_size=512, workers=1)


@pytest.fixture(scope="module")
def half_done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A slide, and the mask of a run that was stopped in the middle."""
    folder = tmp_path_factory.mktemp("growing")
    slide = write_slide(folder / "s.tiff", tissue_like(SIDE, SIDE))
    stop = threading.Event()

    def report(progress: Progress) -> None:
        if progress.stage == "segment" and progress.done > progress.total // 3:
            stop.set()

    with pytest.raises(Cancelled):
        segment(slide, make_model(), folder / "m.zarr", OPTIONS, report=report, stop=stop, network=ChannelNetwork())
    return slide, folder / "m.zarr"


def test_finished_regions_are_shown_and_others_are_empty(half_done: tuple[Path, Path], tmp_path: Path) -> None:
    slide, store = half_done
    growing = GrowingMasks().of(store)
    assert growing is not None
    assert 0 < len(growing.finished) < 36
    segment(slide, make_model(), tmp_path / "whole.zarr", OPTIONS, network=ChannelNetwork())
    for z in range(len(growing.mask.levels)):
        expected = class_map(tmp_path / "whole.zarr", z)
        finished = np.zeros_like(expected, dtype=bool)
        for place in growing.finished:
            box = growing.box_of(place)
            finished[box.y0 >> z : -(-box.y1 >> z), box.x0 >> z : -(-box.x1 >> z)] = True
        np.testing.assert_array_equal(assembled(growing, z), np.where(finished, expected, 0))


def assembled(growing: GrowingMask, z: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    level = growing.mask.levels[z]
    ids = np.zeros((level.height, level.width), np.uint8)
    for y in range(-(-level.height // 256)):
        for x in range(-(-level.width // 256)):
            tile = growing.tiles(TileBlock(z, x, y))
            assert tile is not None
            ids[y * 256 : y * 256 + tile.shape[0], x * 256 : x * 256 + tile.shape[1]] = tile
    return ids


def test_several_tiles_come_as_one_picture(half_done: tuple[Path, Path]) -> None:
    growing = GrowingMasks().of(half_done[1])
    assert growing is not None
    for z in range(len(growing.mask.levels)):
        ids = assembled(growing, z)
        block = growing.tiles(TileBlock(z, 0, 0, columns=8, rows=3))
        np.testing.assert_array_equal(block, ids[: 3 * 256, : 8 * 256])
    np.testing.assert_array_equal(
        growing.tiles(TileBlock(0, 9, 10, columns=2, rows=8)), assembled(growing, 0)[2560:, 2304:]
    )


def test_a_block_reads_each_finished_region_once(half_done: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    growing = GrowingMasks().of(half_done[1])
    assert growing is not None
    asked: list[Box] = []
    read = Mask.read

    def noted(mask: Mask, z: int, box: Box) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        asked.append(box)
        return read(mask, z, box)

    monkeypatch.setattr(Mask, "read", noted)
    growing.tiles(TileBlock(0, 0, 0, columns=8, rows=8))
    assert len(asked) == len([place for place in growing.finished if max(place) < 4])


def test_counts_are_those_of_the_finished_regions(half_done: tuple[Path, Path]) -> None:
    growing = GrowingMasks().of(half_done[1])
    assert growing is not None
    counted = np.bincount(assembled(growing, 0).ravel(), minlength=4)
    assert growing.pixels()[1:] == counted[1:].tolist()


def test_there_is_no_tile_outside(half_done: tuple[Path, Path]) -> None:
    growing = GrowingMasks().of(half_done[1])
    assert growing is not None
    assert growing.tiles(TileBlock(0, 11, 0)) is None
    assert growing.tiles(TileBlock(0, 0, 11)) is None


def test_a_ledger_that_grew_is_read_again_and_one_that_did_not_is_not(half_done: tuple[Path, Path]) -> None:
    masks = GrowingMasks()
    first = masks.of(half_done[1])
    assert masks.of(half_done[1]) is first
    ledger = half_done[1].with_name("m.zarr.partial") / "ledger.jsonl"
    whole = ledger.read_bytes()
    ledger.write_bytes(whole[: whole.rindex(b"\n", 0, -1) + 1])
    fewer = masks.of(half_done[1])
    assert first is not None
    assert fewer is not None
    assert len(fewer.finished) == len(first.finished) - 1
    ledger.write_bytes(whole)
    again = masks.of(half_done[1])
    assert again is not None
    assert again.finished == first.finished


def test_records_of_places_outside_of_the_mask_count_for_nothing(half_done: tuple[Path, Path]) -> None:
    ledger, first = half_done[1].with_name("m.zarr.partial") / "ledger.jsonl", GrowingMasks().of(half_done[1])
    whole = ledger.read_bytes()
    assert first is not None
    for key in ("0,-1", "0,6", "0,1000000000"):
        ledger.write_bytes(whole + sealed(FinishedRegion(key, (0, 9, 0, 0), 1, "").record))
        again = GrowingMasks().of(half_done[1])
        assert again is not None
        assert again.finished == first.finished
    ledger.write_bytes(whole)


@pytest.mark.parametrize("halvings", [1, 2, 3, 4, 5, 7])
def test_coarse_tiles_are_halved_like_the_finished_mask(half_done: tuple[Path, Path], halvings: int) -> None:
    """Levels that coarse exist on slides only that are too large for a test; their pixels are those of the pyramid."""
    from wsi_segment.inference.mask.pyramid import mode_of_2x2

    growing = GrowingMasks().of(half_done[1])
    assert growing is not None
    place = next(place for place in growing.finished if growing.box_of(place).width == 512)
    box = growing.box_of(place)
    expected = growing.mask.read(0, box)
    for _ in range(halvings):
        expected = mode_of_2x2(expected)
    np.testing.assert_array_equal(growing._reduced(place, halvings), expected)


def test_where_nothing_was_begun_there_is_nothing(tmp_path: Path) -> None:
    assert GrowingMasks().of(tmp_path / "m.zarr") is None
    (tmp_path / "m.zarr.partial").mkdir()
    (tmp_path / "m.zarr.partial" / "ledger.jsonl").write_bytes(b"torn")
    assert GrowingMasks().of(tmp_path / "m.zarr") is None
