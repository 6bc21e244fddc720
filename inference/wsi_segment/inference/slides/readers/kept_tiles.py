"""Decoded tiles that are kept for a while: blocks and fields of a slide share tiles with their neighbours."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from wsi_segment.inference.allowance import Allowance

CACHE_BYTES = 64 << 20
"""Decoded tiles that are kept of a slide."""
ALLOWANCE = Allowance(2 * CACHE_BYTES)
"""Decoded tiles that a process keeps of all slides: while regions of one slide are computed, another one is planned."""


class KeptTiles:
    """The last tiles of a slide that were used, by any key; safe to use from several threads.

    Memory bound:
        ``most_bytes``, and the allowance for all slides together; a larger tile is not kept.
    """

    def __init__(self, most_bytes: int, allowance: Allowance = ALLOWANCE) -> None:
        """Start empty."""
        self._most = most_bytes
        self._allowance = allowance
        self._number = allowance.join(self)
        self._kept: OrderedDict[Hashable, NDArray[np.uint8]] = OrderedDict()
        self._lock = allowance.lock
        self.nbytes = 0
        """Of all tiles that are kept."""

    def get(self, key: Hashable) -> NDArray[np.uint8] | None:
        """Return a tile, which must not be written to; None where it is not kept."""
        with self._lock:
            tile = self._kept.get(key)
            if tile is not None:
                self._kept.move_to_end(key)
                self._allowance.renew(self._number, key)
            return tile

    def __contains__(self, key: Hashable) -> bool:
        with self._lock:
            return key in self._kept

    def put(self, key: Hashable, tile: NDArray[np.uint8]) -> None:
        """Keep a tile in place of those that were used longest ago."""
        if tile.nbytes > self._most:
            return
        with self._lock:
            if key in self._kept:  # another thread decoded it too
                return
            self._kept[key] = tile
            self.nbytes += tile.nbytes
            self._allowance.add(self._number, key, tile.nbytes)
            while self.nbytes > self._most:
                self.drop(next(iter(self._kept)))
            self._allowance.drop_oldest()

    def drop(self, key: Hashable) -> None:
        """Keep a tile no longer; the lock of the allowance is held."""
        self._allowance.remove(self._number, key)
        self.nbytes -= self._kept.pop(key).nbytes
