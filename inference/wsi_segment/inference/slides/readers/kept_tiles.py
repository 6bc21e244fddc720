"""Decoded tiles that are kept for a while: blocks and fields of a slide share tiles with their neighbours."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

CACHE_BYTES = 64 << 20
"""Decoded tiles that are kept of a slide."""


class KeptTiles:
    """The last tiles that were used, by any key; safe to use from several threads.

    Memory bound:
        ``most_bytes``; a larger tile is not kept.
    """

    def __init__(self, most_bytes: int) -> None:
        """Start empty."""
        self._most = most_bytes
        self._kept: OrderedDict[Hashable, NDArray[np.uint8]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> NDArray[np.uint8] | None:
        """Return a tile, which must not be written to; None where it is not kept."""
        with self._lock:
            tile = self._kept.get(key)
            if tile is not None:
                self._kept.move_to_end(key)
            return tile

    @property
    def nbytes(self) -> int:
        """Bytes of all tiles that are kept."""
        return self._bytes

    def __contains__(self, key: Hashable) -> bool:
        with self._lock:
            return key in self._kept

    def put(self, key: Hashable, tile: NDArray[np.uint8]) -> None:
        """Keep a tile in place of those that were used longest ago."""
        if tile.nbytes > self._most:
            return
        with self._lock:
            if key not in self._kept:
                self._bytes += tile.nbytes
            self._kept[key] = tile
            while self._bytes > self._most:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
