"""Peak memory of the engine on a gigapixel slide beside a small one; and a check that growth would be seen.

Slides are pyramidal TIFF with JPEG tiles, of which all levels show the same, built from a few encoded tiles: all of
glass share one, most of tissue one of sixteen. The network costs next to nothing, so that the engine is what is
measured. Memory is the largest sum over the process tree, sampled every 20 ms from outside.
"""

from __future__ import annotations

import argparse
import functools
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import psutil
import tifffile
from scipy import ndimage

TILE, GLASS = 512, 244

MASK = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from synthetic import ChannelNetwork, make_model
from wsi_segment.inference.engine.scheduling import local_threads as engine
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
hoard = []
if {leak}:
    original = engine.RegionPredictor.predict
    def leaking(self, box):
        hoard.append(bytes(2 << 20).replace(b"\\0", b"x"))
        return original(self, box)
    engine.RegionPredictor.predict = leaking
run = SegmentOptions(overlap={overlap}, workers=2, memory_limit=3 << 29)
summary = segment(Path(sys.argv[1]), make_model(8), Path(sys.argv[2]), run, network=ChannelNetwork())
share = summary.tissue_mm2 / summary.slide_mm2
print("windows", summary.windows, "regions", summary.regions, "tissue", round(share, 3))
"""

OUTLINES = """
import sys
from pathlib import Path
from wsi_segment.inference.mask.geojson import write_geojson
out = Path(sys.argv[2])
print("outlines", write_geojson(out.with_suffix(".geojson"), out, min_area_um2=1000))
"""


def write_sparse(path: Path, width: int, height: int, mpp: float) -> None:
    """A slide with a third of it tissue: an ellipse with a ragged edge, like a resection."""
    rng = np.random.default_rng(0)
    stains = np.array([(210, 150, 190), (150, 120, 200)], np.uint8)
    nuclei = ndimage.gaussian_filter(rng.random((4 * TILE, 4 * TILE)), 12, mode="wrap") > 0.5
    tissue = stains[nuclei.astype(int)] + rng.integers(-3, 4, (4 * TILE, 4 * TILE, 3))
    tissue = np.clip(tissue, 0, 255).astype(np.uint8)
    y, x = ((np.arange(-(-side // TILE)) + 0.5) * TILE / side - 0.5 for side in (height, width))
    y, x = y[:, None], x[None]
    inside = (x / 0.36) ** 2 + (y / 0.3) ** 2 < 1 + 0.2 * np.sin(9 * np.arctan2(y, x))

    def encoded(pixels: np.ndarray) -> bytes:
        return bytes(imagecodecs.jpeg_encode(np.ascontiguousarray(pixels), level=40))

    glass = encoded(np.full((TILE, TILE, 3), GLASS, np.uint8))

    def tiles(level: int) -> Iterator[bytes]:
        """Yield the tiles of a level, row by row; each of its pixels is the mean of those of level 0 that it covers."""
        step = 1 << level
        period = 4 * TILE // step
        pattern = tissue.reshape(period, step, period, step, 3).mean(axis=(1, 3)).astype(np.uint8)
        repeats = max(1, TILE // period)
        pattern = np.tile(pattern, (repeats, repeats, 1))
        whole = functools.cache(lambda y, x: encoded(pattern[y : y + TILE, x : x + TILE]))
        for row in range(-(-(height >> level) // TILE)):
            for column in range(-(-(width >> level) // TILE)):
                held = inside[row * step : (row + 1) * step, column * step : (column + 1) * step]
                corner = row * TILE % len(pattern), column * TILE % len(pattern)
                if not held.any():
                    yield glass
                elif held.all():
                    yield whole(*corner)
                else:
                    held = np.pad(held, ((0, step - held.shape[0]), (0, step - held.shape[1])))
                    place = held.repeat(TILE // step, axis=0).repeat(TILE // step, axis=1)[..., None]
                    part = pattern[corner[0] : corner[0] + TILE, corner[1] : corner[1] + TILE]
                    yield encoded(np.where(place, part, GLASS).astype(np.uint8))

    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        level = 0
        while max(width, height) >> level > 1024:
            w, h = width >> level, height >> level
            tiff.write(
                tiles(level),
                shape=(h, w, 3),
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="ycbcr",
                subsampling=(2, 2),
                compression="jpeg",
                subfiletype=1 if level else 0,
                resolution=(1e4 / mpp, 1e4 / mpp) if not level else None,
                resolutionunit="CENTIMETER",
                metadata=None,
            )
            level += 1


def tree_bytes(process: psutil.Process) -> int:
    """Resident memory of a process and its children."""
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def measure(code: str, slide: Path, out: Path) -> tuple[float, float, str]:
    """Peak MiB, seconds, and what the process said."""
    started = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-c", code, slide, out], stdout=subprocess.PIPE, text=True)
    watched, peak = psutil.Process(child.pid), 0
    while child.poll() is None:
        try:
            peak = max(peak, tree_bytes(watched))
        except psutil.NoSuchProcess:
            break
        time.sleep(0.02)
    said = child.communicate()[0].strip()
    if child.returncode:
        raise SystemExit(f"the run failed with {child.returncode}")
    return peak / 2**20, time.perf_counter() - started, said


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--overlap", type=float, default=0.25)
    parser.add_argument("--only", choices=("mask", "outlines", "leaking"), help="one of the three runs a slide")
    parser.add_argument("--keep", type=Path, help="folder to keep slides and masks in")
    args = parser.parse_args()
    tests = str(Path(__file__).parents[1])
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        print("slide             what      peak MiB  seconds  said")
        for width, height in ((20_000, 20_000), (100_000, 80_000)):
            slide, out = folder / f"{width}x{height}.tiff", folder / f"{width}x{height}.zarr"
            if not slide.exists():
                write_sparse(slide, width, height, mpp=1.0)
            print(f"{slide.name}: {slide.stat().st_size / 2**20:.0f} MiB", flush=True)
            for what, code, target in (
                ("mask", MASK.format(tests=tests, leak=False, overlap=args.overlap), out),
                ("outlines", OUTLINES, out),
                ("leaking", MASK.format(tests=tests, leak=True, overlap=args.overlap), out.with_suffix(".leak.zarr")),
            ):
                if args.only not in (None, what):
                    continue
                peak, seconds, said = measure(code, slide, target)
                print(f"{width:7} x {height:6}  {what:9} {peak:8.0f}  {seconds:7.1f}  {said}", flush=True)


if __name__ == "__main__":
    main()
