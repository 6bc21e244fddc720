"""Masks of jobs that still run: what is finished of them, as tiles.

A region counts once it is in the ledger; what workers are still writing is never read.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi_segment.errors import OutputError
from wsi_segment.inference.grid.box import Box, ceil_div
from wsi_segment.inference.grid.region import CHUNK
from wsi_segment.inference.mask.ledger import FinishedRegion, Ledger
from wsi_segment.inference.mask.mask import Mask
from wsi_segment.inference.mask.pyramid import mode_of_2x2
from wsi_segment.inference.places.ledger_records import LineRecords
from wsi_segment.inference.places.local_site import growing_store
from wsi_segment.service.api.mask_tiles import TileBlock

_MOST_OPEN = 8
_KEPT_FROM = 4
"""Halvings of a region's coarsest level from which on its picture is kept: 32 x 32 pixels."""


@dataclass(slots=True)
class GrowingMask:
    """What is finished of one mask.

    Memory bound: 1.4 KiB per finished region.
    """

    mask: Mask
    region_size: int
    finished: dict[tuple[int, int], FinishedRegion]
    """Finished regions by row and column, in the order in which they were finished."""
    state: tuple[int, int]
    """Size and time of the records that were read."""
    _small: dict[tuple[int, int], list[NDArray[np.uint8]]] = field(default_factory=dict)

    @property
    def own_levels(self) -> int:
        """How many of the finest levels regions write themselves."""
        return min(len(self.mask.levels), (self.region_size // CHUNK).bit_length())

    def box_of(self, place: tuple[int, int]) -> Box:
        """Return the pixels of a region on the finest level."""
        size, finest = self.region_size, self.mask.levels[0]
        row, column = place
        box = Box(column * size, row * size, column * size + size, row * size + size)
        return box.intersect(Box(0, 0, finest.width, finest.height))

    def pixels(self) -> list[int]:
        """Return the pixels of each class, 0 first, of all finished regions."""
        counts = np.zeros(len(self.mask.classes), np.int64)
        for region in self.finished.values():
            counts += np.asarray(region.pixels, np.int64)
        return [int(count) for count in counts]

    def tiles(self, block: TileBlock) -> NDArray[np.uint8] | None:
        """Return class ids of tiles (height, width), 0 where nothing is finished yet; None outside of the mask."""
        whole = block.pixels_of(self.mask)
        if whole is None:
            return None
        if block.z >= self.own_levels:
            return self._coarse(block.z, whole)
        ids = np.zeros((whole.height, whole.width), np.uint8)
        side = self.region_size >> block.z
        for row in range(whole.y0 // side, -(-whole.y1 // side)):
            for column in range(whole.x0 // side, -(-whole.x1 // side)):
                if (row, column) not in self.finished:
                    continue
                region = Box(column * side, row * side, column * side + side, row * side + side)
                box = region.intersect(whole)
                ids[box.y0 - whole.y0 : box.y1 - whole.y0, box.x0 - whole.x0 : box.x1 - whole.x0] = self.mask.read(
                    block.z, box
                )
        return ids

    def _coarse(self, z: int, box: Box) -> NDArray[np.uint8]:
        halvings = z - self.own_levels + 1
        side = (self.region_size >> (self.own_levels - 1)) >> halvings
        ids = np.zeros((box.height, box.width), np.uint8)
        if side == 0:  # whole regions are smaller than a pixel
            return ids
        for row in range(box.y0 // side, -(-box.y1 // side)):
            for column in range(box.x0 // side, -(-box.x1 // side)):
                if (row, column) not in self.finished:
                    continue
                part = self._reduced((row, column), halvings)
                y, x = row * side - box.y0, column * side - box.x0
                part = part[: box.height - y, : box.width - x]
                ids[y : y + part.shape[0], x : x + part.shape[1]] = part
        return ids

    def _reduced(self, place: tuple[int, int], halvings: int) -> NDArray[np.uint8]:
        kept = self._small.get(place)
        if kept is not None and halvings >= _KEPT_FROM:
            return kept[min(halvings - _KEPT_FROM, len(kept) - 1)]
        last, side = self.own_levels - 1, self.region_size >> (self.own_levels - 1)
        row, column = place
        level = self.mask.levels[last]
        box = Box(column * side, row * side, column * side + side, row * side + side)
        ids = self.mask.read(last, box.intersect(Box(0, 0, level.width, level.height)))
        small = []
        for step in range(1, max(halvings, side.bit_length() - 1) + 1):
            ids = mode_of_2x2(ids)
            if step == halvings and halvings < _KEPT_FROM:
                return ids
            if step >= _KEPT_FROM:
                small.append(ids)
        self._small[place] = small
        return small[min(halvings - _KEPT_FROM, len(small) - 1)]


class GrowingMasks:
    """The growing masks of a service; the last few are kept open. Safe to use from several threads."""

    def __init__(self) -> None:
        self._open: dict[Path, GrowingMask] = {}
        self._lock = threading.Lock()

    def of(self, store: Path) -> GrowingMask | None:
        """Return what is finished of the mask that a run is writing to a store; None if nothing is there yet."""
        folder = store.with_name(f"{store.name}.partial")
        if (state := LineRecords(folder).state()) is None:
            return None
        with self._lock:
            known = self._open.get(folder)
            if known is not None and known.state == state:
                return known
            made = _read(folder, state, known)
            if made is not None:
                self._open.pop(folder, None)
                self._open[folder] = made
                while len(self._open) > _MOST_OPEN:
                    del self._open[next(iter(self._open))]
            return made


def _read(folder: Path, state: tuple[int, int], known: GrowingMask | None) -> GrowingMask | None:
    ledger = Ledger(LineRecords(folder))
    if ledger.started is None:
        return None
    store, size = growing_store(folder, ledger.started.run_id), ledger.started.region_size
    if known is not None and known.mask.path != store:
        known = None
    try:
        mask = Mask.growing(store) if known is None else known.mask
    except (OutputError, OSError):  # its files are being made, or it was published this moment
        return None
    rows, columns = ceil_div(mask.levels[0].height, size), ceil_div(mask.levels[0].width, size)
    finished = {region.place: region for region in ledger.read(rows, columns)}
    small = known._small if known is not None and known.finished.items() <= finished.items() else {}
    return GrowingMask(mask, size, finished, state, _small=small)
