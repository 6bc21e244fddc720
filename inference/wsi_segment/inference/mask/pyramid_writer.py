"""A pyramid of Zarr arrays that regions write into."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numcodecs import Blosc
from numpy.typing import NDArray
from zarr.abc.store import Store
from zarr.codecs import ZstdCodec
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore, StorePath

from wsi_segment.inference.grid.region import CHUNK, Region
from wsi_segment.inference.mask.ngff import OmeZarrVersion
from wsi_segment.inference.places.zarr_settings import shipped_settings
from wsi_segment.inference.zarr_here import run_here

Reduce = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
Shards = dict[str, bytes]
"""Shards (or chunks) as they are stored, by their keys in the store; what is all 0 has none."""

_FINISHING_SIDE = 4 * CHUNK


@dataclass(frozen=True, slots=True)
class PyramidWriter:
    """Levels (y, x), or (channel, y, x), each half of the one before.

    A region is whole shards (or chunks) of its own on each level that is fine enough, so that tasks never touch the
    same file; :meth:`finishing_steps` makes the levels that are coarser than that. Shards are encoded in memory, and
    put where they belong by the caller: the bytes are the same wherever that is.

    Memory bound:
        Writing a region: a third of it more, for its coarser levels, and its shards. Finishing: a few blocks.
    """

    path: str
    """Path in the store of the group that holds the levels; empty for the root."""
    levels: tuple[zarr.Array[Any], ...]
    """Arrays of the levels, for reading; nothing is written through them."""
    region_size: int
    reduce: Reduce
    """Function from a plane to the plane of half its size."""

    @staticmethod
    @shipped_settings()
    def create(
        group: zarr.Group,
        shapes: tuple[tuple[int, int], ...],
        *,
        channels: int | None,
        version: OmeZarrVersion,
        region_size: int,
        compression_level: int,
    ) -> None:
        """Create the arrays of all levels in a group."""
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
    def open(cls, group: zarr.Group, region_size: int, reduce: Reduce) -> PyramidWriter:
        """Open the levels that :meth:`create` made."""
        levels: list[zarr.Array[Any]] = []
        while (array := group.get(str(len(levels)))) is not None:
            assert isinstance(array, zarr.Array)
            levels.append(array)
        return cls(group.path, tuple(levels), region_size, reduce)

    def read_from(self, store: Store) -> PyramidWriter:
        """Return the same pyramid with what another store holds, which need not have its metadata."""
        return PyramidWriter(
            self.path, tuple(zarr.Array(_moved(level, store)) for level in self.levels), self.region_size, self.reduce
        )

    @property
    def levels_in_regions(self) -> int:
        """How many of the finest levels regions write themselves."""
        return min(len(self.levels), (self.region_size // CHUNK).bit_length())

    @property
    def is_finished_by_regions(self) -> bool:
        """Whether no level is left to be made at the end."""
        return self.levels_in_regions == len(self.levels)

    def shards_of(self, region: Region, plane: NDArray[np.uint8], channel: int | None = None) -> Iterator[Shards]:
        """Yield a region's shards, level by level, as far as it is whole shards there.

        Args:
            region: Which one.
            plane: (height, width) of its box at full size.
            channel: Which one, where there are channels.
        """
        for index in range(self.levels_in_regions):
            plane = self.reduce(plane) if index else plane
            yield self.encode(index, region.m_box.y0 >> index, x=region.m_box.x0 >> index, plane=plane, channel=channel)

    def finishing_steps(self, put: Callable[[Mapping[str, bytes]], None]) -> Iterator[None]:
        """Compute the coarse levels from the level before, one block per step.

        Args:
            put: Stores shards, so that what they hold can be read from ``levels`` when it returns.
        """
        for index in range(self.levels_in_regions, len(self.levels)):
            *leading, height, width = self.levels[index].shape
            for channel in range(leading[0]) if leading else (None,):
                for y in range(0, height, _FINISHING_SIDE):
                    for x in range(0, width, _FINISHING_SIDE):
                        finer = self.read(index - 1, 2 * y, 2 * x, 2 * _FINISHING_SIDE, channel=channel)
                        put(self.encode(index, y, x=x, plane=self.reduce(finer), channel=channel))
                        yield

    @shipped_settings()
    def read(self, level: int, y: int, x: int, side: int, *, channel: int | None = None) -> NDArray[np.uint8]:
        """Read a square of one level, cut off at its edge."""
        rows, columns = slice(y, y + side), slice(x, x + side)
        array = self.levels[level]
        return np.asarray(array[rows, columns] if channel is None else array[channel, rows, columns], np.uint8)

    @shipped_settings()
    def encode(self, level: int, y: int, x: int, plane: NDArray[np.uint8], channel: int | None) -> Shards:
        """Return the whole shards of a level that a plane (height, width) at some row and column fills."""
        found: dict[str, Buffer] = {}
        # zarr leaves out chunks of zeros, and looks for them ten times as long as it takes to see that there are none
        config: Any = {"write_empty_chunks": _fills_its_chunks(plane)}
        array = _moved(self.levels[level], MemoryStore(found), config)
        rows, columns = slice(y, y + plane.shape[0]), slice(x, x + plane.shape[1])
        place = (rows, columns) if channel is None else (channel, rows, columns)
        run_here(array.setitem(place, plane))
        return {key: shard.to_bytes() for key, shard in found.items()}


def _moved(array: zarr.Array[Any], store: Store, config: Any = None) -> zarr.AsyncArray[Any]:
    """Return an array as another store holds it."""
    return zarr.AsyncArray(array.metadata, StorePath(store, array.path), config)


def _fills_its_chunks(plane: NDArray[np.uint8]) -> bool:
    """Return whether each chunk of a plane, which starts with one, holds something."""
    height, width = plane.shape
    return all(
        plane[y : y + CHUNK, x : x + CHUNK].any() for y in range(0, height, CHUNK) for x in range(0, width, CHUNK)
    )
