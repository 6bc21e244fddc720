"""Every reader beside OpenSlide: MPix/s of 1024 x 1024 boxes at odd places of level 0, one thread and two."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from synthetic import SLIDES, tissue_like, write_slide
from wsi_segment.errors import SlideError
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.slides.candidate import Candidate
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.inference.slides.readers.openslide import OpenSlideReader
from wsi_segment.inference.slides.readers.tiles import TileSlide
from wsi_segment.inference.slides.slide import Slide

SIDE = 1024


def by_tiles(path: Path) -> Slide:
    """The direct reader.

    Raises:
        SlideError: its pixels are not OpenSlide's.
    """
    slide = TileSlide.over(OpenSlideReader(path), Candidate.look(path))
    if slide is None:
        raise SlideError("not identical")
    return slide


def speed(slide: Slide, threads: int) -> float:
    """MPix/s."""
    level, rng = slide.levels[0], np.random.default_rng(0)
    side = min(SIDE, level.width // 2, level.height // 2)
    boxes = [
        Box(x, y, x + side, y + side)
        for x, y in zip(rng.integers(0, level.width - side, 24), rng.integers(0, level.height - side, 24), strict=True)
    ]
    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda box: slide.read(0, box).sum(), boxes))
    return len(boxes) * side * side / 1e6 / (time.perf_counter() - started)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slides", nargs="*", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    readers: dict[str, Callable[[Path], Slide]] = {
        "openslide": OpenSlideReader,
        "tifffile": by_tiles,
        "open_slide": open_slide,
    }
    with tempfile.TemporaryDirectory() as scratch:
        made = write_slide(Path(scratch) / "made-jpeg.tiff", tissue_like(6000, 6000), levels=3, compression="jpeg")
        found = [path for path in sorted(SLIDES.glob("*.*")) if path.is_file()] if SLIDES.is_dir() else []
        print("slide                              reader     1 thread  2 threads  MPix/s; ratio to openslide")
        for path in args.slides or [made, *found]:
            base: float | None = None
            for name, opener in readers.items():
                try:
                    slide = opener(path)
                except SlideError as error:
                    print(f"{path.name:34} {name:9}  -          -        {str(error)[:60]}")
                    continue
                one, two = (statistics.median(speed(slide, n) for _ in range(args.repeats)) for n in (1, 2))
                slide.close()
                base = base or (two if name == "openslide" else None)
                ratio = f"{two / base:5.2f}" if base else "    -"
                print(f"{path.name:34} {name:9} {one:9.1f}  {two:9.1f}         {ratio}", flush=True)


if __name__ == "__main__":
    main()
