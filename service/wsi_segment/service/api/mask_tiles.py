"""Tiles of class ids out of finished masks."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.mask.mask import Mask
from wsi_segment.inference.mask.probabilities import Probabilities
from wsi_segment.service.api.responses import MaskClass, MaskLevel, TilesOut
from wsi_segment.service.folders.adopted_masks import state_of

TILE = 256
_MOST_OPEN = 32


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

    def tile(self, store: Path, z: int, x: int, y: int) -> bytes | None:
        """Return class ids as a grey PNG, at most 256 x 256 (less on the mask's edge); None outside of the mask."""
        mask = self.opened(store)
        box = _tile_box(mask, z, x, y)
        if box is None:
            return None
        return grey_png(mask.read(z, box))

    def probability_tile(self, store: Path, class_id: int, z: int, *, x: int, y: int) -> bytes | None:
        """Return probability * 255 of a class as a grey PNG, as :meth:`tile`; None where the mask keeps none too."""
        mask, planes = self.opened(store), Probabilities.open(store)
        box = _tile_box(mask, z, x, y)
        if planes is None or box is None or not 0 < class_id < len(mask.classes):
            return None
        return grey_png(planes.read(z, class_id, box))


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


def _tile_box(mask: Mask, z: int, x: int, y: int) -> Box | None:
    """Return the pixels of a tile on its level, or None outside of the mask."""
    if z >= len(mask.levels):
        return None
    whole = Box(0, 0, mask.levels[z].width, mask.levels[z].height)
    box = Box(x * TILE, y * TILE, (x + 1) * TILE, (y + 1) * TILE).intersect(whole)
    return None if box.empty else box


def grey_png(values: NDArray[np.uint8]) -> bytes:
    """Return values (height, width) as a PNG of 8 bits of grey."""
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
