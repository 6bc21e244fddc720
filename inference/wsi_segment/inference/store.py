"""The mask on disk: an OME-Zarr 0.5 label image whose shards are the regions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from wsi_segment.inference import ngff
from wsi_segment.inference.durable import sync_file, sync_folder
from wsi_segment.inference.frame import MaskFrame
from wsi_segment.inference.plan import Region
from wsi_segment.inference.pyramid import halve, level_shapes
from wsi_segment.inference.run import CHUNK
from wsi_segment.inference.slide import PixelSize
from wsi_segment.model.card import SegmentClass
from zarr.codecs import ZstdCodec

ATTRIBUTE = "wsi_segment"
"""Key of the project's own attributes in the root group."""


class MaskStore:
    """A store that is being written.

    Every region writes whole shards of its own on each level that is fine enough, so tasks never touch
    the same file; levels coarser than that come at the end.

    Memory bound:
        Writing a region: a third of it more for its coarser levels. Finishing: a few blocks.
    """

    def __init__(self, path: Path, region_size: int) -> None:
        """Open a store that :meth:`create` made."""
        self._path, self._region_size = path, region_size
        group = zarr.open_group(path, mode="r+")
        self._levels: list[zarr.Array[Any]] = []
        while (array := group.get(f"{ngff.LABEL_PATH}/{len(self._levels)}")) is not None:
            assert isinstance(array, zarr.Array)
            self._levels.append(array)

    @classmethod
    def create(
        cls,
        path: Path,
        frame: MaskFrame,
        size: PixelSize,
        classes: tuple[SegmentClass, ...],
        region_size: int,
        provenance: dict[str, Any],
    ) -> MaskStore:
        """Make an empty store with all its metadata."""
        shapes = level_shapes(frame.height, frame.width)
        root = zarr.create_group(
            path,
            zarr_format=3,
            attributes={"ome": ngff.root_attributes(len(shapes), frame, size), ATTRIBUTE: provenance},
        )
        root.create_group("labels", attributes={"ome": ngff.labels_attributes()})
        label = root.create_group(
            ngff.LABEL_PATH, attributes={"ome": ngff.label_attributes(len(shapes), frame, size, classes)}
        )
        for index, shape in enumerate(shapes):
            shard = region_size >> index
            label.create_array(
                str(index),
                shape=shape,
                chunks=(CHUNK, CHUNK),
                shards=(shard, shard) if shard > CHUNK else None,
                dtype="uint8",
                fill_value=0,
                compressors=ZstdCodec(level=1),
                dimension_names=("y", "x"),
            )
        return cls(path, region_size)

    def write(self, region: Region, ids: NDArray[np.uint8]) -> None:
        """Write a region's class ids on every level where it is whole chunks; the files are synced.

        Args:
            region: Which one.
            ids: (height, width) of its box.
        """
        for index in range(self._levels_in_regions()):
            if index:
                ids = halve(ids)
            y, x = region.m_box.y0 >> index, region.m_box.x0 >> index
            self._levels[index][y : y + ids.shape[0], x : x + ids.shape[1]] = ids
            shard = self._path / ngff.LABEL_PATH / str(index) / "c" / str(region.row) / str(region.column)
            if shard.exists():  # a shard without tissue makes no file
                sync_file(shard)
                sync_folder(shard.parent)

    def finish(self, step: Callable[[int, int], None]) -> None:
        """Compute the levels that no region covers whole, block by block from the level before.

        Args:
            step: Called with (blocks done, blocks in all); may raise to stop.
        """
        coarse = range(self._levels_in_regions(), len(self._levels))
        side = 4 * CHUNK
        jobs = [
            (index, y, x)
            for index in coarse
            for y in range(0, self._levels[index].shape[0], side)
            for x in range(0, self._levels[index].shape[1], side)
        ]
        for done, (index, y, x) in enumerate(jobs, start=1):
            finer = np.asarray(self._levels[index - 1][2 * y : 2 * (y + side), 2 * x : 2 * (x + side)])
            ids = halve(finer)
            self._levels[index][y : y + ids.shape[0], x : x + ids.shape[1]] = ids
            step(done, len(jobs))

    def _levels_in_regions(self) -> int:
        return min(len(self._levels), (self._region_size // CHUNK).bit_length())
