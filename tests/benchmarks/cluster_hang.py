"""How soon a task that hangs is noticed on a cluster, with the deadlines that a run has.

The first region that any worker begins hangs for good, while the process lives and tells the scheduler so. What is
timed is how long that worker's process lives on, and until the mask is there, which is compared with that of one
machine.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
from live_cluster import LiveCluster
from synthetic import files_of, tissue_like, write_model, write_slide
from wsi_segment.inference import SegmentOptions, segment


def main() -> None:
    """Let a region hang, and print how long that went unnoticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=3)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="hang-"))
    try:
        slide, model = write_slide(folder / "s.tiff", tissue_like(1500, 2000), levels=2), folder / "model"
        write_model(model)
        options = SegmentOptions(region_size=512, overlap=0.25)
        segment(slide, out=folder / "here.zarr", model=model, options=options, quiet=True)
        with LiveCluster(folder / "cluster") as live:
            for _ in range(args.workers):
                live.add_worker(live.watched(hang=True))
            noticed = list[float]()

            def watch() -> None:
                while not (live.folder / "hung").exists():
                    time.sleep(0.01)
                hung = time.monotonic()
                hangs = next(psutil.Process(int(str(note[3]))) for note in live.notes() if note[0] == "start")
                with suppress(psutil.NoSuchProcess):
                    hangs.wait()
                noticed.extend((hung, time.monotonic()))

            watching = threading.Thread(target=watch, daemon=True)
            watching.start()
            segment(slide, out=folder / "m.zarr", model=model, options=options, quiet=True, scheduler=live.address)
            ended = time.monotonic()
            watching.join(60)
            hung, died = noticed
            same = files_of(folder / "m.zarr") == files_of(folder / "here.zarr")
            print(
                f"the worker of the region that hung was ended after {died - hung:.1f} s, the mask was there after "
                f"{ended - hung:.1f} s, and {'is' if same else 'IS NOT'} that of one machine"
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
