"""Tiles of class ids out of finished masks."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from PIL import Image

from wsi_segment.inference.mask import ngff
from wsi_segment.inference.mask.ngff import ATTRIBUTE
from wsi_segment.service.api.responses import MaskClass, MaskLevel, TilesOut

TILE = 256
_MOST_OPEN = 32


@dataclass(frozen=True, slots=True)
class OpenMask:
    """The pyramid of a finished mask."""

    levels: tuple[zarr.Array[Any], ...]
    table: TilesOut


class MaskTiles:
    """Finished masks; the last few are kept open. Safe to use from several threads."""

    def __init__(self) -> None:
        self._open: OrderedDict[Path, OpenMask] = OrderedDict()
        self._lock = threading.Lock()

    def opened(self, store: Path) -> OpenMask:
        """Return the mask of a store, opened before or now."""
        with self._lock:
            if store in self._open:
                self._open.move_to_end(store)
                return self._open[store]
        mask = _open_mask(store)
        with self._lock:
            self._open[store] = mask
            while len(self._open) > _MOST_OPEN:
                self._open.popitem(last=False)
        return mask

    def tile(self, store: Path, z: int, x: int, y: int) -> bytes | None:
        """Return class ids as a grey PNG, at most 256 x 256 (less on the mask's edge); None outside of the mask."""
        levels = self.opened(store).levels
        if z >= len(levels):
            return None
        height, width = levels[z].shape
        if x * TILE >= width or y * TILE >= height:
            return None
        ids = np.asarray(levels[z][y * TILE : (y + 1) * TILE, x * TILE : (x + 1) * TILE], np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(ids).save(buffer, format="PNG", compress_level=1)
        return buffer.getvalue()


def _open_mask(store: Path) -> OpenMask:
    root = zarr.open_group(store, mode="r")
    provenance: Any = root.attrs[ATTRIBUTE]
    group: Any = root[ngff.LABEL_PATH]
    label = group.attrs.asdict()
    label = label.get("ome", label)
    levels: list[zarr.Array[Any]] = []
    while str(len(levels)) in group:
        levels.append(group[str(len(levels))])
    slide, mask = provenance["slide"], provenance["mask"]
    colors = {entry["label-value"]: entry["rgba"][:3] for entry in label["image-label"]["colors"]}
    x0, y0, x1, y1 = slide["bounds"]
    table = TilesOut(
        tile_size=TILE,
        levels=[
            MaskLevel(downsample=mask["downsample"] * 2**z, width=level.shape[1], height=level.shape[0])
            for z, level in enumerate(levels)
        ],
        origin=[mask["origin"][0] - x0, mask["origin"][1] - y0],
        slide_width=x1 - x0,
        slide_height=y1 - y0,
        classes=[
            MaskClass(id=entry["label-value"], name=entry["name"], color=colors[entry["label-value"]])
            for entry in label["image-label"]["properties"]
        ],
    )
    return OpenMask(tuple(levels), table)
