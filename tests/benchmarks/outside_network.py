"""What the engine itself costs: windows per second with a network that costs nothing, and slides without a pyramid.

The network hands out logits that were made before, with as many class borders as a real mask. Windows per second are
the slope between two slides, so that what happens once per slide is left out; wall seconds mean something on a quiet
machine only, CPU seconds everywhere. The second table is the same 40x slide with all levels, and with level 0 alone.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))
from synthetic import tissue_like, write_slide
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.model.card import DEFAULT_MODEL, find_model


class FreeNetwork:
    """Logits from a store, smooth within windows; called from several threads."""

    def __init__(self, batch: int, classes: int, cells: int) -> None:
        self.versions: dict[str, str] = {}
        rng = np.random.default_rng(0)
        coarse = rng.normal(size=(batch, classes, cells // 8, cells // 8)).astype(np.float32)
        self._logits = 4 * coarse.repeat(8, axis=2).repeat(8, axis=3)

    def __call__(self, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the first of the store."""
        return self._logits[: len(windows)]


def run(slide: Path, out: Path, workers: int, overlap: float) -> tuple[float, float, int]:
    """Return CPU and wall seconds of a whole run, and its windows."""
    model = find_model(DEFAULT_MODEL)
    network = FreeNetwork(64, len(model.card.classes), model.card.cells)
    options = SegmentOptions(workers=workers, overlap=overlap, batch_size=64, overwrite=True)
    cpu, wall = time.process_time(), time.perf_counter()
    summary = segment(slide, model, out, options, network=network)
    return time.process_time() - cpu, time.perf_counter() - wall, summary.windows


def medians(slide: Path, out: Path, workers: int, overlap: float, repeats: int) -> tuple[float, float, int]:
    """Return the medians of several runs."""
    measured = [run(slide, out, workers, overlap) for _ in range(repeats)]
    cpu, wall = (statistics.median(one[index] for one in measured) for index in (0, 1))
    return cpu, wall, measured[0][2]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs=2, default=[2048, 8192], help="of slides at the model's scale")
    parser.add_argument("--full", type=int, default=12288, help="side of the 40x slide")
    parser.add_argument("--overlap", type=float, default=0.5)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        slides = [
            write_slide(scratch / f"{side}.tiff", tissue_like(side, side), levels=4, compression="jpeg")
            for side in args.sides
        ]
        print("workers   windows    CPU us a window   windows/s (wall)")
        for workers in (1, 2):
            few, many = (medians(one, scratch / "m.zarr", workers, args.overlap, args.repeats) for one in slides)
            count = many[2] - few[2]
            cpu, wall = ((many[index] - few[index]) / count for index in (0, 1))
            print(f"{workers:7}  {count:8}  {cpu * 1e6:17.1f}  {1 / wall:17.0f}", flush=True)
        if args.full:
            pixels = tissue_like(args.full, args.full)
            print("levels                CPU s outside the network   ratio")
            base = None
            for name, levels in (("1, 2, 4, 8, 16, 32", 6), ("1", 1)):
                slide = write_slide(scratch / "full.tiff", pixels, mpp=0.25, levels=levels, compression="jpeg")
                cpu, _, _ = medians(slide, scratch / "m.zarr", 2, 0.25, args.repeats)
                base = base or cpu
                print(f"{name:20}  {cpu:26.2f}  {cpu / base:6.2f}", flush=True)


if __name__ == "__main__":
    main()
