"""Tiles of class ids out of finished masks."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.mask.mask import Mask
from wsi_segment.inference.mask.probabilities import Probabilities
from wsi_segment.service.api.responses import MaskClass, MaskLevel, TilesOut
from wsi_segment.service.folders.adopted_masks import state_of

TILE = 256
MOST_ACROSS = 8
"""Tiles beside each other, and below each other, of which one picture may consist."""
_MOST_OPEN = 32
_PNG_LEVEL = 2


@dataclass(frozen=True, slots=True)
class TileBlock:
    """Tiles of a level beside and below each other, which are answered as one picture: mostly a single one."""

    z: int
    x: int
    y: int
    columns: int = 1
    rows: int = 1

    def pixels_of(self, mask: Mask) -> Box | None:
        """Return the pixels on their level, or None where the first tile lies outside of the mask."""
        if self.z >= len(mask.levels):
            return None
        whole = Box(0, 0, mask.levels[self.z].width, mask.levels[self.z].height)
        x, y = self.x * TILE, self.y * TILE
        box = Box(x, y, x + self.columns * TILE, y + self.rows * TILE).intersect(whole)
        return None if box.empty else box


class MaskTiles:
    """Finished masks; the last few are kept open. Safe to use from several threads."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[Path, str], Mask] = OrderedDict()
        self._lock = threading.Lock()

    def opened(self, store: Path) -> Mask:
        """Return the mask of a store, opened before or now."""
        key = (store, state_of(store))  # an adopted mask may be replaced
        with self._lock:
            if key in self._open:
                self._open.move_to_end(key)
                return self._open[key]
        mask = Mask.open(store)
        with self._lock:
            self._open[key] = mask
            while len(self._open) > _MOST_OPEN:
                self._open.popitem(last=False)
        return mask

    def table(self, store: Path) -> TilesOut:
        """Return what a viewer must know of the tiles of a store."""
        mask = self.opened(store)
        pixels = {area.id: area.pixels for area in mask.areas()}
        return tile_table(mask, pixels, probabilities=Probabilities.open(store) is not None)

    def tiles(self, store: Path, block: TileBlock) -> bytes | None:
        """Return class ids as a grey PNG, 256 px for each tile (less on the mask's edge); None outside of the mask."""
        mask = self.opened(store)
        box = block.pixels_of(mask)
        if box is None:
            return None
        return grey_png(mask.read(block.z, box))

    def probability_tiles(self, store: Path, class_id: int, block: TileBlock) -> bytes | None:
        """Return probability * 255 of a class as a grey PNG, as :meth:`tiles`; None where the mask keeps none too."""
        mask, planes = self.opened(store), Probabilities.open(store)
        box = block.pixels_of(mask)
        if planes is None or box is None or not 0 < class_id < len(mask.classes):
            return None
        return grey_png(planes.read(block.z, class_id, box))


def tile_table(mask: Mask, pixels: Mapping[int, int], probabilities: bool) -> TilesOut:
    """Return what a viewer must know of the tiles of a mask.

    Args:
        mask: Finished, or growing.
        pixels: Of the finest level, by class id.
        probabilities: Whether it keeps them.
    """
    return TilesOut(
        tile_size=TILE,
        levels=[
            MaskLevel(downsample=level.downsample, width=level.width, height=level.height) for level in mask.levels
        ],
        origin=[mask.origin[0] - mask.bounds.x0, mask.origin[1] - mask.bounds.y0],
        slide_width=mask.bounds.width,
        slide_height=mask.bounds.height,
        mpp_x=mask.pixel_size.x,
        mpp_y=mask.pixel_size.y,
        classes=[
            MaskClass(id=entry.id, name=entry.name, color=list(entry.color), pixels=pixels.get(entry.id, 0))
            for entry in mask.classes
        ],
        probabilities=probabilities,
    )


def grey_png(values: NDArray[np.uint8]) -> bytes:
    """Return values (height, width) as a PNG of 8 bits of grey.

    Its lines are not filtered: class ids become no smaller by it, and both sides would compute for each pixel.
    """
    lines = np.ascontiguousarray(values)
    return bytes(imagecodecs.png_encode(lines, level=_PNG_LEVEL, filter=imagecodecs.PNG.FILTER.NONE))
