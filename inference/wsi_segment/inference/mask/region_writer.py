"""What a region's task writes: the region's shards, and then the record that it is finished."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wsi_segment.inference.grid.region import Region
from wsi_segment.inference.mask.ledger import FinishedRegion
from wsi_segment.inference.mask.store import MaskStore, digest_of
from wsi_segment.inference.places.ledger_records import Records

_ROWS = 256
"""Rows of which pixels are counted at once."""


@dataclass(frozen=True, slots=True)
class RegionWriter:
    """Writes regions into an output that a run has started, on any thread, in any process, on any machine.

    It pickles as names, the layout and the run: a few KiB, without open files and without credentials. Each process
    that unpickles it opens what it needs at its first region, and keeps it.
    """

    store: MaskStore
    records: Records
    run_id: str
    """Name of the run, 16 hexadecimal digits."""

    def held_as(self, is_held: Callable[[], bool]) -> RegionWriter:
        """See :meth:`wsi_segment.inference.mask.store.MaskStore.held_as`."""
        return replace(self, store=self.store.held_as(is_held))

    def write(
        self,
        region: Region,
        ids: NDArray[np.uint8] | None,
        classes: int,
        planes: Iterable[NDArray[np.uint8]] | None = None,
    ) -> FinishedRegion:
        """Write a region; its shards and the record of it last when this returns. Doing so twice is harmless.

        Args:
            region: Which one.
            ids: Its class ids (height, width); None for one without windows.
            classes: Number of classes of the model.
            planes: Its probabilities * 255, one plane (height, width) per class, if ``store.keeps_probabilities``.

        Returns:
            The record, which the run that started the output must receive.

        Raises:
            OSError: the place cannot be written to.
        """
        digest, coarsest = None, {}
        if ids is None:
            area = region.m_box.height * region.m_box.width
            sha256, pixels = _sum_of_zeros(area), [area] + [0] * classes
        else:
            sha256, pixels = digest_of([ids]), count_ids(ids, classes).tolist()
            coarsest = self.store.write(region, ids)
            if self.store.keeps_probabilities and planes is not None:
                digest, more = self.store.write_probabilities(region, planes)
                coarsest |= more
        finished = FinishedRegion(
            key=region.key,
            pixels=tuple(pixels),
            windows=region.windows,
            sha256=sha256,
            probabilities_sha256=digest,
            coarsest=coarsest,
        )
        self.records.add(finished.key, finished.record)
        return finished


@functools.lru_cache(maxsize=8)
def _sum_of_zeros(count: int) -> str:
    """Return the sha256 of that many zeros: regions without windows have few sizes, and a slide may have very many."""
    return hashlib.sha256(bytes(count)).hexdigest()


def count_ids(ids: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Count the pixels of each id from 0 to ``classes``; by comparing, since ``bincount`` widens each to 8 bytes."""
    counts = np.zeros(classes + 1, np.int64)
    for top in range(0, len(ids), _ROWS):
        counts += [np.count_nonzero(ids[top : top + _ROWS] == index) for index in range(classes + 1)]
    return counts
