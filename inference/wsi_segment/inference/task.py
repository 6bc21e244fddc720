"""The one task of a region: predict it, write it, and say what it holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from wsi_segment.inference.ledger import FinishedRegion
from wsi_segment.inference.plan import Region
from wsi_segment.inference.predict import RegionPredictor
from wsi_segment.inference.store import MaskStore


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
            return FinishedRegion(region.key, (region.m_box.width * region.m_box.height, *[0] * classes), 0)
        ids = self.predictor.class_ids(region.m_box)
        self.store.write(region, ids)
        pixels = np.bincount(ids.ravel(), minlength=classes + 1)
        return FinishedRegion(region.key, tuple(int(n) for n in pixels), region.windows)
