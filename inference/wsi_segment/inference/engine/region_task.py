"""The one task of a region: predict it, write it, and record what it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi_segment.inference.engine.predict import RegionPredictor
from wsi_segment.inference.grid.region import Region
from wsi_segment.inference.mask.ledger import FinishedRegion
from wsi_segment.inference.mask.region_writer import RegionWriter


@dataclass(frozen=True, slots=True)
class RegionTask:
    """Computes a region and writes it; regions may come in any order and on any thread."""

    predictor: RegionPredictor
    writer: RegionWriter
    alive: Callable[[], None] = lambda: None
    """Called between two long steps of writing, each of which may wait for a bucket."""

    def __call__(self, region: Region) -> FinishedRegion:
        """Compute one region; its shards and its record last when this returns.

        Raises:
            Cancelled: the run was stopped.
            SlideError: pixels cannot be read.
            OSError: the output cannot be written to.
        """
        classes = len(self.predictor.card.classes)
        if not region.windows:
            return self.writer.write(region, None, classes)
        if not self.writer.store.keeps_probabilities:
            return self.writer.write(region, self.predictor.class_ids(region.m_box), classes)
        prediction = self.predictor.predict(region.m_box)
        planes = self._lively(prediction.probability_planes())
        return self.writer.write(region, prediction.class_ids(), classes, planes)

    def _lively(self, planes: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        for plane in planes:
            self.alive()
            yield plane
        self.alive()
