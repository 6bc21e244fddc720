"""Where to annotate next."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

HELP = "Suggest the fields of slides whose masks would teach a model most, as annotations for QuPath."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``wsi-segment suggest``."""
    add = parser.add_argument
    add("slides", nargs="+", metavar="SLIDE", help="slide file, folder of DICOM files, or https:// or s3:// address")
    add("--out", required=True, type=Path, metavar="PATH", help="GeoJSON file; for several slides, a folder")
    add("--model", metavar="MODEL", help="name of a bundled model, or model folder (default: colorectal-biopsy)")
    add("--count", type=int, default=20, metavar="N", help="number of fields in all (default: %(default)s)")
    add("--mpp", type=float, metavar="UM", help="as in segmentation")
    add("--tissue", default="otsu", metavar="HOW", help="as in segmentation (default: %(default)s)")
    add("--region", metavar="GEOJSON", help="suggest only what lies inside these outlines")
    add(
        "--device", choices=("auto", "cpu", "cuda", "openvino"), default="auto", help="as in segmentation (%(default)s)"
    )
    add("--overwrite", action="store_true", help="replace files that exist")
    add("--quiet", action="store_true", help="print nothing but errors")


def run(args: argparse.Namespace) -> int:
    """Look at all slides, choose among all of their fields, and write a file for each slide."""
    import json

    from rich.console import Console

    from wsi_segment.errors import InputError, OutputError
    from wsi_segment.files import replacing
    from wsi_segment.inference.engine.networks.network import load_network
    from wsi_segment.inference.engine.options import SegmentOptions
    from wsi_segment.inference.evaluation.annotating.suggest import Candidate, as_geojson, candidates_of, suggest
    from wsi_segment.inference.progress_bar import make_bar
    from wsi_segment.inference.slides.location import slide_location
    from wsi_segment.model.card import DEFAULT_MODEL, find_model
    from wsi_segment.service.cli.targets import files_read, refuse_target

    if args.count < 1:
        raise InputError(f"--count is {args.count}; give 1 or more")
    slides = [slide_location(slide) for slide in args.slides]
    files = _files_of(slides, args.out)
    taken = next((file for file in files.values() if file.exists()), None)
    if taken is not None and not args.overwrite:
        raise OutputError(f"{taken}: exists already; give another --out, or --overwrite it")
    options = SegmentOptions(
        mpp=args.mpp,
        tissue=args.tissue,
        region=args.region,
        device=args.device,
        workers=1,
    )
    outlines = [one for one in (options.tissue, options.region) if one is not None and not isinstance(one, str)]
    read = [file for slide in slides for file in files_read(slide)] + outlines
    for file in files.values():
        refuse_target("out", file, read)
    model = find_model(args.model or DEFAULT_MODEL)
    network = load_network(model, args.device, "auto")
    found: list[Candidate] = []
    with make_bar(Console(stderr=True, quiet=args.quiet)) as bar:
        for slide in slides:
            task = bar.add_task(f"looking at {slide.name}", total=None, unit="fields")
            step = partial(_advance, bar, task)
            found += candidates_of(slide, model, options, network, step=step)
    chosen = suggest(found, args.count)
    for place, file in files.items():
        with replacing(file, text=True) as writer:
            json.dump(as_geojson(chosen, place), writer)
            writer.write("\n")
    if not args.quiet:
        for slide, file in files.items():
            count = sum(one.slide == slide for one in chosen)
            print(f"{file}: {count} of {sum(one.slide == slide for one in found)} fields of {slide.name}")
    return 0


def _advance(bar: Progress, task: TaskID, done: int, total: int) -> None:
    bar.update(task, completed=done, total=total)


def _files_of(slides: list[Path], out: Path) -> dict[Path, Path]:
    """Return the file of each slide: ``out`` for one, else STEM.geojson in that folder."""
    from wsi_segment.errors import InputError

    if len(slides) == 1 and out.suffix in (".geojson", ".json"):
        return {slides[0]: out}
    files = {slide: out / f"{slide.stem}.geojson" for slide in slides}
    if len(set(files.values())) < len(slides):
        raise InputError("--out: two slides have the same name; suggest for each by itself")
    return files
