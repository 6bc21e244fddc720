"""A pyramid of Zarr arrays that regions write into."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numcodecs import Blosc
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from wsi_segment.files import sync_file, sync_folder
from wsi_segment.inference.grid.box import ceil_div
from wsi_segment.inference.grid.region import CHUNK, Region
from wsi_segment.inference.mask.ngff import OmeZarrVersion
from wsi_segment.inference.mask.zarr_settings import shipped_settings

Reduce = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]

_FINISHING_SIDE = 4 * CHUNK


@dataclass(frozen=True, slots=True)
class PyramidWriter:
    """Levels (y, x), or (channel, y, x), each half of the one before.

    A region writes whole shards (or chunks) of its own on each level that is fine enough, so tasks never
    touch the same file; :meth:`finish` makes the levels that are coarser than that.

    Memory bound:
        Writing a region: a third of it more, for its coarser levels. Finishing: a few blocks.
    """

    folder: Path
    """Of the group that holds the levels."""
    levels: tuple[zarr.Array[Any], ...]
    region_size: int
    reduce: Reduce
    """From a plane to the plane of half its size."""

    @classmethod
    @shipped_settings()
    def create(
        cls,
        folder: Path,
        shapes: tuple[tuple[int, int], ...],
        *,
        channels: int | None,
        version: OmeZarrVersion,
        region_size: int,
        compression_level: int,
    ) -> None:
        """Create the arrays of all levels in a group that exists."""
        group = zarr.open_group(folder, mode="r+")
        leading = () if channels is None else (channels,)
        unit = () if channels is None else (1,)
        for index, shape in enumerate(shapes):
            shard = region_size >> index
            common: dict[str, Any] = {
                "name": str(index),
                "shape": (*leading, *shape),
                "chunks": (*unit, CHUNK, CHUNK),
                "dtype": "uint8",
                "fill_value": 0,
            }
            if version == "0.5":
                group.create_array(
                    **common,
                    shards=(*unit, shard, shard) if shard > CHUNK else None,
                    compressors=ZstdCodec(level=compression_level),
                    dimension_names=("y", "x") if channels is None else ("c", "y", "x"),
                )
            else:
                group.create_array(
                    **common,
                    compressors=Blosc(cname="lz4", clevel=5, shuffle=Blosc.NOSHUFFLE),
                    chunk_key_encoding={"name": "v2", "separator": "/"},
                )

    @classmethod
    @shipped_settings()
    def open(cls, folder: Path, region_size: int, reduce: Reduce) -> PyramidWriter:
        """Open the levels that :meth:`create` made."""
        group = zarr.open_group(folder, mode="r+")
        levels: list[zarr.Array[Any]] = []
        while (array := group.get(str(len(levels)))) is not None:
            assert isinstance(array, zarr.Array)
            levels.append(array)
        return cls(folder, tuple(levels), region_size, reduce)

    @property
    def levels_in_regions(self) -> int:
        """How many of the finest levels regions write themselves."""
        return min(len(self.levels), (self.region_size // CHUNK).bit_length())

    def write(self, region: Region, plane: NDArray[np.uint8], channel: int | None = None) -> None:
        """Write a region's plane on the levels where it is whole shards; the files are synced.

        Args:
            region: Which one.
            plane: (height, width) of its box at full size.
            channel: Which one, where there are channels.
        """
        for index in range(self.levels_in_regions):
            plane = self.reduce(plane) if index else plane
            y, x = region.m_box.y0 >> index, region.m_box.x0 >> index
            self._put(index, y, x=x, plane=plane, channel=channel)
            folders = {self.folder / str(index)}
            for file in self._files(index, y, x=x, plane=plane, channel=channel):
                if file.exists():  # what is all 0 makes no file
                    sync_file(file)
                    folders |= {parent for parent in file.parents if parent.is_relative_to(self.folder / str(index))}
            for folder in folders:
                sync_folder(folder)

    def finishing_steps(self) -> Iterator[None]:
        """Compute the coarse levels from the level before, one block per step."""
        for index in range(self.levels_in_regions, len(self.levels)):
            *leading, height, width = self.levels[index].shape
            for channel in range(leading[0]) if leading else (None,):
                for y in range(0, height, _FINISHING_SIDE):
                    for x in range(0, width, _FINISHING_SIDE):
                        finer = self.read(index - 1, 2 * y, 2 * x, 2 * _FINISHING_SIDE, channel=channel)
                        self._put(index, y, x=x, plane=self.reduce(finer), channel=channel)
                        yield

    @shipped_settings()
    def read(self, level: int, y: int, x: int, side: int, *, channel: int | None = None) -> NDArray[np.uint8]:
        """Read a square of one level, cut off at its edge."""
        rows, columns = slice(y, y + side), slice(x, x + side)
        array = self.levels[level]
        return np.asarray(array[rows, columns] if channel is None else array[channel, rows, columns], np.uint8)

    @shipped_settings()
    def _put(self, level: int, y: int, x: int, plane: NDArray[np.uint8], channel: int | None) -> None:
        rows, columns = slice(y, y + plane.shape[0]), slice(x, x + plane.shape[1])
        if channel is None:
            self.levels[level][rows, columns] = plane
        else:
            self.levels[level][channel, rows, columns] = plane

    def _files(self, level: int, y: int, x: int, plane: NDArray[np.uint8], channel: int | None) -> Iterator[Path]:
        """Yield the files that a plane lies in."""
        array = self.levels[level]
        side = (array.shards or array.chunks)[-1]
        folder = self.folder / str(level)
        if array.metadata.zarr_format == 3:
            folder /= "c"
        if channel is not None:
            folder /= str(channel)
        for row in range(y // side, ceil_div(y + plane.shape[0], side)):
            for column in range(x // side, ceil_div(x + plane.shape[1], side)):
                yield folder / str(row) / str(column)
