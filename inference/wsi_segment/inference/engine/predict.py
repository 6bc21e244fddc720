"""From a box of the mask to its class ids: read, cut, predict, stitch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi_segment.errors import Cancelled
from wsi_segment.inference.engine.kinds.decision import Upsampling
from wsi_segment.inference.engine.kinds.smooth import radius_of, smooth_kinds
from wsi_segment.inference.engine.networks.network import Network
from wsi_segment.inference.engine.stitch import RegionStitcher, softmax, window_weight
from wsi_segment.inference.engine.tissue import TissueMask
from wsi_segment.inference.engine.windows import Window, box_around, cut_batches, read_bands, windows_of, worth_of
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.grid.lattice import Lattice
from wsi_segment.inference.slides.pixels import PixelSource
from wsi_segment.model.card import ModelCard


@dataclass(frozen=True, slots=True)
class RegionPrediction:
    """What was predicted for a region; 0 where there is no tissue."""

    _stitcher: RegionStitcher
    _upsampling: Upsampling
    _tissue: TissueMask
    _m_region: Box
    _stop: threading.Event | None

    def class_ids(self) -> NDArray[np.uint8]:
        """Return class ids (height, width)."""
        ids = self._stitcher.class_ids(self._upsampling)
        self._tissue.clear_glass(ids, self._m_region)
        return ids

    def probability_planes(self) -> Iterator[NDArray[np.uint8]]:
        """Yield probability * 255 (height, width) of each class in card order."""
        for plane in self._stitcher.probability_planes(self._upsampling):
            if self._stop is not None and self._stop.is_set():
                raise Cancelled("stopped")
            self._tissue.clear_glass(plane, self._m_region)
            yield plane


@dataclass(frozen=True, slots=True)
class RegionPredictor:
    """The pixels-to-classes part of the engine; safe to call from several threads.

    Memory bound:
        One band of pixels, one batch, and a :class:`wsi_segment.inference.engine.stitch.RegionStitcher`.
    """

    source: PixelSource
    lattice: Lattice
    tissue: TissueMask
    network: Network
    card: ModelCard
    batch_size: int
    band_rows: int
    count: Callable[[int], None] = lambda windows: None
    """Called after each batch with the number of windows predicted; a block counts as the patches that it is worth."""
    after: Callable[[Box], None] = lambda m_box: None
    """Called with each box right after it was predicted, while the last of its tiles are still kept."""
    stop: threading.Event | None = None
    """Set to end the run; checked between batches."""

    def class_ids(self, m_region: Box) -> NDArray[np.uint8]:
        """Return the class ids (height, width) of :meth:`predict`, which must start on a whole block or chunk.

        No pixel is given by two blocks, nor do their cells interpolate across their borders, so each is read and
        stitched by itself, and its pixels and probabilities are freed before the next one is read.

        Raises:
            Cancelled: the run was stopped.
            SlideError: pixels cannot be read.
            ModelError: the network gives values that are not numbers, or numbers of unknown classes.
        """
        if not self.lattice.blocks:
            return self.predict(m_region).class_ids()
        ids = np.zeros((m_region.height, m_region.width), np.uint8)
        for y in range(m_region.y0, m_region.y1, self.lattice.core):
            m_row = Box(m_region.x0, y, m_region.x1, min(y + self.lattice.core, m_region.y1))
            m_blocks = [m_block for m_block in m_row.tiles(self.lattice.core) if self.tissue.touches(m_block)]
            self.source.fetch([self._read_for(m_block) for m_block in m_blocks])  # in few requests
            for m_block in m_blocks:
                inside = m_block.moved(-m_region.x0, -m_region.y0)
                ids[inside.y0 : inside.y1, inside.x0 : inside.x1] = self.predict(m_block).class_ids()
        return ids

    def _read_for(self, m_block: Box) -> Box:
        """Return the box that is read to predict a block with tissue."""
        by_row = windows_of(self.lattice, self.tissue, *self.lattice.touching(m_block))
        return box_around([window for row in by_row for window in row])

    def predict(self, m_region: Box) -> RegionPrediction:
        """Predict a box that starts on a multiple of the chunk.

        Raises:
            Cancelled: the run was stopped.
            SlideError: pixels cannot be read.
            ModelError: the network gives values that are not numbers, or numbers of unknown classes.
        """
        card, lattice = self.card, self.lattice
        weight = window_weight(card.cells) if lattice.stride < lattice.core else None
        m_wide = m_region.grown(lattice.halo).intersect(self.source.frame.box) if lattice.halo else m_region
        radius = radius_of(card) / card.output_stride
        stitcher = RegionStitcher(m_wide, len(card.classes), card.output_stride, weight, lesion_first=radius > 0)
        buffer: NDArray[np.float32] | None = None
        bands = read_bands(self.source, self.lattice, tissue=self.tissue, m_region=m_wide, band_rows=self.band_rows)
        size = 1 if lattice.blocks else self.batch_size  # pieces of blocks differ in shape
        for batch in cut_batches(bands, size):
            if self.stop is not None and self.stop.is_set():
                raise Cancelled("stopped")
            logits = self.network(batch.pixels)
            if buffer is None or buffer.shape[1:] != logits.shape[1:]:
                buffer = np.empty((size, *logits.shape[1:]), np.float32)
            for window, probabilities in zip(batch.windows, softmax(logits, buffer[: len(logits)]), strict=True):
                if radius and lattice.blocks:  # a block's margin is the halo of its core
                    smooth_kinds(probabilities, radius)
                stitcher.add(window.m_core, probabilities[self._core_cells(window)])
            self.count(sum(map(worth_of, batch.windows)) if lattice.blocks else len(batch.windows))
        if lattice.halo:
            stitcher = self._narrowed(stitcher, m_wide, m_region, radius)
        self.after(m_region)
        return RegionPrediction(stitcher, card.upsampling, self.tissue, m_region, _stop=self.stop)

    def _narrowed(self, wide: RegionStitcher, m_wide: Box, m_region: Box, radius: float) -> RegionStitcher:
        """Return what was stitched of a region with its halo, kinds smoothed, of the region alone."""
        probabilities, stride = wide.probabilities(), self.card.output_stride
        smooth_kinds(probabilities, radius)
        narrow = RegionStitcher(m_region, len(self.card.classes), stride, lesion_first=True)
        corner = m_wide.x0 // stride * stride, m_wide.y0 // stride * stride
        narrow.add(Box(*corner, *corner), probabilities)
        return narrow

    def _core_cells(self, window: Window) -> tuple[slice, slice, slice]:
        """Return where a window's core is among what the network gives: all of its own output but a block's margins."""
        stride, margin = self.card.output_stride, self.card.margin
        y, x = (
            (window.m_core.y0 - window.m_box.y0 - margin) // stride,
            (window.m_core.x0 - window.m_box.x0 - margin) // stride,
        )
        return slice(None), slice(y, y + window.m_core.height // stride), slice(x, x + window.m_core.width // stride)
