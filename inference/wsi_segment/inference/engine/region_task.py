"""The one task of a region: predict it, write it, and record what it holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi_segment.inference.engine.predict import RegionPredictor
from wsi_segment.inference.grid.region import Region
from wsi_segment.inference.mask.ledger import FinishedRegion
from wsi_segment.inference.mask.store import MaskStore, digest_of


@dataclass(frozen=True, slots=True)
class RegionTask:
    """Computes a region and writes its shards; regions may come in any order and on any thread."""

    predictor: RegionPredictor
    store: MaskStore

    def __call__(self, region: Region) -> FinishedRegion:
        """Compute one region; its shards are on disk when this returns.

        Raises:
            Cancelled: the run was stopped.
            SlideError: pixels cannot be read.
        """
        classes = len(self.predictor.card.classes)
        if not region.windows:
            empty = np.zeros((region.m_box.height, region.m_box.width), np.uint8)
            return finished_region(region, empty, classes)
        prediction = self.predictor.predict(region.m_box)
        ids = prediction.class_ids()
        self.store.write(region, ids)
        digest = None
        if self.store.keeps_probabilities:
            digest = self.store.write_probabilities(region, prediction.probability_planes())
        return finished_region(region, ids, classes, digest)


def finished_region(
    region: Region, ids: NDArray[np.uint8], classes: int, probabilities_sha256: str | None = None
) -> FinishedRegion:
    """Return the ledger's record of a region's class ids (height, width)."""
    return FinishedRegion(
        key=region.key,
        pixels=tuple(count_ids(ids, classes).tolist()),
        windows=region.windows,
        sha256=digest_of([ids]),
        probabilities_sha256=probabilities_sha256,
    )


def count_ids(ids: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Count the pixels of each id from 0 to ``classes``; by strips, since counting widens every pixel to 8 bytes."""
    counts = np.zeros(classes + 1, np.int64)
    for row in range(0, len(ids), 64):
        counts += np.bincount(ids[row : row + 64].ravel(), minlength=classes + 1)
    return counts
