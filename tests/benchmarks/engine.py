"""CPU seconds of the whole engine beside those of the bare onnxruntime session on the same windows.

A made JPEG slide of SIDE x SIDE pixels at the model's own mpp, all of it tissue; everything from reading to the
pyramid is counted. Both run with as many threads as there are cores, in turn, and medians are compared.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from synthetic import tissue_like, write_slide
from wsi_segment.inference.engine import predict
from wsi_segment.inference.engine import prepare as engine
from wsi_segment.inference.engine.networks.onnx_network import OnnxNetwork
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.engine.stitch import RegionStitcher
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.grid.lattice import Lattice, stride_of
from wsi_segment.inference.mask.store import MaskStore
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.inference.slides.readers.tiles import TileSlide
from wsi_segment.model.card import DEFAULT_MODEL, Model, find_model


def bare(model: OnnxNetwork, windows: np.ndarray, count: int, batch: int, threads: int) -> tuple[float, float]:
    """CPU and wall seconds of ``count`` windows through the session, ``windows`` again and again."""
    sizes = [min(batch, count - start) for start in range(0, count, batch)]
    cpu, wall = time.process_time(), time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(lambda size: model(windows[:size]), sizes):
            pass
    return time.process_time() - cpu, time.perf_counter() - wall


def profile(path: Path, model: Model, out: Path, options: SegmentOptions) -> None:
    """CPU seconds of each stage of one run, by the threads' own clocks."""
    spent: defaultdict[str, float] = defaultdict(float)
    stages: list[tuple[Any, str, str]] = [
        (OnnxNetwork, "__call__", "network"),
        (TileSlide, "read", "reading and decoding"),
        (predict, "softmax", "softmax"),
        (RegionStitcher, "add", "adding windows up"),
        (RegionStitcher, "class_ids", "classes at full size"),
        (MaskStore, "write", "encoding, writing and coarser levels"),
        (MaskStore, "finish", "last levels"),
        (engine, "find_tissue", "tissue, its reading included"),
    ]
    originals = [(owner, name, getattr(owner, name)) for owner, name, _ in stages]

    def timed(original: Any, stage: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            started = time.thread_time()
            try:
                return original(*args, **kwargs)
            finally:
                spent[stage] += time.thread_time() - started

        return call

    for (owner, name, original), (_, _, stage) in zip(originals, stages, strict=True):
        setattr(owner, name, timed(original, stage))
    started = time.process_time()
    segment(path, model, out, options)
    total = time.process_time() - started
    for owner, name, original in originals:
        setattr(owner, name, original)
    for stage, seconds in sorted(spent.items(), key=lambda entry: -entry[1]):
        print(f"  {stage:40} {seconds:7.2f} s  {100 * seconds / total:5.1f} %")
    print(f"  {'everything else':40} {total - sum(spent.values()):7.2f} s  of {total:.2f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--overlaps", type=float, nargs="+", default=[0.0, 0.5])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--profile", action="store_true", help="say what each stage takes, and nothing else")
    args = parser.parse_args()
    model = find_model(DEFAULT_MODEL)
    network = OnnxNetwork(model, args.device)
    with tempfile.TemporaryDirectory() as scratch:
        pixels = tissue_like(args.side, args.side)
        pixels[(pixels == 255).all(axis=2)] = (225, 170, 200)
        path = write_slide(Path(scratch) / "s.tiff", pixels, mpp=model.card.mpp, levels=4, compression="jpeg")
        slide = open_slide(path)
        square = slide.read(0, Box(0, 0, 2048, 2048))
        slide.close()
        windows = np.stack([square[y : y + 128, x : x + 128] for y in range(0, 512, 128) for x in range(0, 512, 128)])
        print(f"{args.side} x {args.side}, {args.device}, batches of {args.batch_size}, medians of {args.repeats}")
        print("overlap  windows  engine CPU s  bare CPU s  ratio  engine windows/s  bare windows/s")
        for overlap in args.overlaps:
            stride = stride_of(overlap, 128, model.card.output_stride)
            lattice = Lattice(args.side, args.side, 128, stride)
            count = lattice.rows * lattice.columns
            measured: list[tuple[float, float]] = []
            floor: list[tuple[float, float]] = []
            run = SegmentOptions(overlap=overlap, overwrite=True, device=args.device, batch_size=args.batch_size)
            if args.profile:
                profile(path, model, Path(scratch) / "m.zarr", run)
                continue
            for _ in range(args.repeats):
                floor.append(bare(network, windows, count, run.batch_size, run.threads))
                cpu, wall = time.process_time(), time.perf_counter()
                segment(path, model, Path(scratch) / "m.zarr", run)
                measured.append((time.process_time() - cpu, time.perf_counter() - wall))
            cpu, wall = (statistics.median(column) for column in zip(*measured, strict=True))
            bare_cpu, bare_wall = (statistics.median(column) for column in zip(*floor, strict=True))
            print(
                f"{overlap:7}  {count:7}  {cpu:12.1f}  {bare_cpu:10.1f}  {cpu / bare_cpu:5.3f}  "
                f"{count / wall:16.1f}  {count / bare_wall:14.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
