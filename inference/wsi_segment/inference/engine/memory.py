"""The memory of a run: how much there is to use, inside a container as outside, and what a run is going to take."""

from __future__ import annotations

import ctypes
import gc
import itertools
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from wsi_segment.errors import InputError
from wsi_segment.inference.engine.graphs.sizes import BLOCK_PIXEL_BYTES
from wsi_segment.inference.engine.kinds.smooth import radius_of
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.tissue import TISSUE_BYTES
from wsi_segment.inference.grid.box import ceil_div
from wsi_segment.inference.grid.lattice import Lattice
from wsi_segment.inference.grid.region import REGION_SIZES
from wsi_segment.inference.slides.frame import MaskFrame
from wsi_segment.model.card import WINDOW, ModelCard

_log = logging.getLogger(__name__)
_runs = itertools.count()


SHARE = 0.75
"""Share of the free memory to use if no limit is given."""

FEWEST_REGIONS = 16
"""A slide is divided into at least this many regions if possible, so that many cores share a small slide. The
number of cores has no say, as long as there is memory for all of them: the same slide gives the same store then."""

_BASE_BYTES = 300 << 20
"""Interpreter, libraries and network."""
_WINDOW_BYTES = 6 << 20
"""Activations of a window of 128 px inside onnxruntime, its pixels and its logits; more in proportion to its area."""
_BAND_SOURCE_PIXELS = 4 << 20
"""Level pixels that are read at once; also what a Ctrl-C may have to wait for."""
_SOURCE_BYTES = 8
"""RGBA and RGB of a level pixel, and a strip that is being interpolated."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Constants of glibc's malloc.h."""
_KEPT_FREE = 16 << 20
"""Bytes at the end of a heap that glibc keeps when they are freed; each page that it gives back must be zeroed and
mapped again for the next array."""

_CGROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)


@dataclass(frozen=True, slots=True)
class Budget:
    """How a mask is divided, and the memory that this takes."""

    region_size: int
    band_rows: int
    """Window rows whose pixels are read together."""
    workers: int
    bytes_per_worker: int
    shared_bytes: int
    """What a process holds beside its workers: network and libraries, tissue, and what is kept of slides in buckets."""

    @property
    def peak_bytes(self) -> int:
        """Estimate of the largest memory that the run holds."""
        return self.shared_bytes + self.workers * self.bytes_per_worker


def return_freed_memory() -> None:
    """Free what earlier runs left behind, and have large arrays go back to the system when they are freed.

    zarr keeps the frames of a lookup that found nothing in a reference cycle, and with them a run's whole network;
    Python may not look for cycles for many slides. glibc learns to keep blocks of up to 32 MiB in its heaps, where
    they fragment as threads come and go; a fixed threshold stops that. It also gives each thread a heap of its own,
    which cannot use what others have freed, such as tiles that are no longer kept; one for all is enough, since what is
    large is mapped. Elsewhere nothing needs to be done.
    """
    if next(_runs):  # the first finds nothing of another, and much that was imported
        gc.collect()
    try:
        glibc = ctypes.CDLL(None)
        glibc.mallopt(_M_MMAP_THRESHOLD, 1 << 20)
        glibc.mallopt(_M_TRIM_THRESHOLD, _KEPT_FREE)
        glibc.mallopt(_M_ARENA_MAX, 1)
        glibc.malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        return


def default_limit() -> int:
    """Return three quarters of the free memory of the machine, or of the container where that is less; bytes."""
    free = int(psutil.virtual_memory().available)
    for most, used in _CGROUPS:
        try:
            free = min(free, int(most.read_text()) - int(used.read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return int(free * SHARE)


def region_size_for(width: int, height: int, sizes: Sequence[int] = REGION_SIZES) -> int:
    """Choose the side of a region for a mask of that size, from ``sizes``, the largest first."""
    for size in sizes:
        if ceil_div(width, size) * ceil_div(height, size) >= FEWEST_REGIONS:
            return size
    return sizes[-1]


def make_budget(
    frame: MaskFrame, lattice: Lattice, card: ModelCard, options: SegmentOptions, kept_bytes: int = 0
) -> Budget:
    """Add up what a run takes.

    Where memory is short, regions become smaller first, and then workers fewer.

    Args:
        frame: Of the mask.
        lattice: Of its windows.
        card: Of the model.
        options: Every choice.
        kept_bytes: What is kept of a slide that is fetched.

    Raises:
        InputError: even one worker on the smallest regions does not fit, or regions are smaller than blocks.
    """
    limit = default_limit() if options.memory_limit is None else options.memory_limit
    possible = [size for size in REGION_SIZES if not lattice.blocks or size >= lattice.core]
    largest = options.region_size or region_size_for(frame.width, frame.height, possible)
    if largest not in possible:
        raise InputError(
            f"`region_size` {largest} is less than a block, {lattice.core}; give one of {tuple(possible)}, "
            "or a smaller `window`"
        )
    sizes = [largest] if options.region_size else [size for size in possible if size <= largest]
    shared = _BASE_BYTES + TISSUE_BYTES + kept_bytes
    budgets = [
        _budget_for(
            size, workers=options.threads, frame=frame, lattice=lattice, card=card, options=options, shared_bytes=shared
        )
        for size in sizes
    ]
    for budget in budgets:
        if budget.peak_bytes <= limit:
            return budget
    smallest = budgets[-1]
    workers = (limit - shared) // smallest.bytes_per_worker
    if workers < 1:
        least = shared + smallest.bytes_per_worker
        raise InputError(
            f"a run with one worker takes about {least >> 20} MiB, {limit >> 20} MiB are allowed; "
            f"raise `memory_limit` or lower {'`window`' if lattice.blocks else '`batch_size`'}"
        )
    return replace(smallest, workers=workers)


def _budget_for(
    size: int,
    *,
    workers: int,
    frame: MaskFrame,
    lattice: Lattice,
    card: ModelCard,
    options: SegmentOptions,
    shared_bytes: int,
) -> Budget:
    """Add up, buffer by buffer, what one worker holds at most while it computes a region of ``size`` mask pixels."""
    by_block = lattice.blocks and not options.probabilities  # see RegionPredictor.class_ids
    side = lattice.core if by_block else size + 2 * lattice.halo
    band_width = lattice.window if by_block else min(side, frame.width) + 2 * lattice.window
    band_rows = max(1, int(_BAND_SOURCE_PIXELS / (frame.ratio**2 * band_width * lattice.stride)))
    band_height = lattice.window
    if not by_block:
        band_height = min(side + 2 * lattice.window, (band_rows - 1) * lattice.stride + lattice.window)
    # a region may begin and end within a cell where the stride does not divide it
    cells = (ceil_div(side, card.output_stride) + (side % card.output_stride > 0)) ** 2
    smoothed = cells if lattice.halo else (lattice.window // card.output_stride) ** 2 if radius_of(card) else 0
    classes, pixels = len(card.classes), size * size
    bytes_of = {
        "level pixels of a band": math.ceil(band_width * frame.ratio)
        * math.ceil(band_height * frame.ratio)
        * _SOURCE_BYTES,
        "band": band_width * band_height * 3,
        "sums, and averages without the halo": cells * classes * (8 if lattice.halo else 4),
        "smoothing": smoothed * (classes + 6) * 4,
        "weights, ids and borders of cells": cells * 16,
        "ids, the pyramid and its encoding at full size": 6 * pixels,
        # one class at full size as float32 three times, as uint8, halved and encoded
        "probabilities": 16 * pixels if options.probabilities else 0,
        "batch": lattice.window**2 * BLOCK_PIXEL_BYTES
        if lattice.blocks
        else options.batch_size * math.ceil(_WINDOW_BYTES * (lattice.window / WINDOW) ** 2),
    }
    _log.debug("a region of %d px takes %s", size, {name: f"{count >> 10} KiB" for name, count in bytes_of.items()})
    return Budget(size, band_rows, workers, bytes_per_worker=sum(bytes_of.values()), shared_bytes=shared_bytes)
