"""The main job: slides in, masks out."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsi_segment.inference.run import Run
    from wsi_segment.inference.summary import Summary
    from wsi_segment.model.card import Model
    from wsi_segment.service.display import Display

HELP = "Segment whole-slide images into OME-Zarr masks."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the main job."""
    parser.add_argument("slides", nargs="+", type=Path, metavar="SLIDE", help="slide file, or folder of DICOM files")
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="PATH",
        help="the store to make, if it ends in .zarr and there is one slide; else a folder that gets STEM.zarr",
    )
    parser.add_argument(
        "--model", metavar="MODEL", help="name of a bundled model, or model folder (default: colorectal-biopsy)"
    )
    parser.add_argument("--mpp", type=float, help="µm per pixel of the slide, where it states none or a wrong one")
    parser.add_argument(
        "--overlap", type=float, default=0.25, help="share of a window its neighbour covers too (default: 0.25)"
    )
    parser.add_argument(
        "--tissue", choices=("otsu", "none"), default="otsu", help="how tissue is found; none analyses everything"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="windows a network call (default: 16)")
    parser.add_argument("--workers", type=_positive, metavar="N", help="threads (default: one a core)")
    parser.add_argument("--memory-limit", type=_bytes, metavar="SIZE", help="for the whole process, such as 2G or 800M")
    parser.add_argument(
        "--ome-zarr", choices=("0.5", "0.4"), default="0.5", help="0.4 for QuPath, Bio-Formats and OMERO (default: 0.5)"
    )
    parser.add_argument("--probabilities", action="store_true", help="keep the probability of each class too")
    parser.add_argument("--overwrite", action="store_true", help="replace a mask that exists")
    parser.add_argument("--preview", type=Path, metavar="PNG", help="also draw the mask over the slide (one slide)")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def run(args: argparse.Namespace) -> int:
    """Segment the slides one after another, all cores on each."""
    from wsi_segment.inference.run import Run
    from wsi_segment.model.card import DEFAULT_MODEL, find_model
    from wsi_segment.model.errors import InputError
    from wsi_segment.service.display import Display

    outs = output_paths(args.slides, args.out)
    single = len(args.slides) == 1
    if args.preview is not None and not single:
        raise InputError(f"--preview {args.preview} is for one slide, {len(args.slides)} were given")
    model = find_model(args.model or DEFAULT_MODEL)
    choices = Run(
        mpp=args.mpp,
        overlap=args.overlap,
        tissue=args.tissue,
        device=args.device,
        batch_size=args.batch_size,
        workers=args.workers or 0,
        memory_limit=args.memory_limit,
        ome_zarr=args.ome_zarr,
        probabilities=args.probabilities,
        overwrite=args.overwrite,
    )
    display = Display(quiet=args.quiet or args.json)
    if single:
        summaries = [_segment_one(args.slides[0], outs[0], model, choices, display, args.preview)]
        failed = 0
    else:
        summaries, failed = _segment_all(args.slides, outs, model, choices, display)
    if args.json:
        _print_json(summaries, single)
    return 1 if failed else 0


def output_paths(slides: Sequence[Path], out: Path) -> list[Path]:
    """The store of each slide: ``out`` itself, or ``out/STEM.zarr``.

    Raises:
        InputError: two slides would get the same store.
    """
    from wsi_segment.model.errors import InputError

    if len(slides) == 1 and out.suffix == ".zarr":
        return [out]
    stems = [slide.resolve().name if slide.is_dir() else slide.stem for slide in slides]
    twice = [stem for stem, count in Counter(stems).items() if count > 1]
    if twice:
        raise InputError(f"two slides are called {twice[0]}, both would become {out / twice[0]}.zarr; run them apart")
    return [out / f"{stem}.zarr" for stem in stems]


def _segment_one(slide: Path, out: Path, model: Model, choices: Run, display: Display, preview: Path | None) -> Summary:
    from wsi_segment.inference.engine import segment
    from wsi_segment.inference.preview import write_preview
    from wsi_segment.inference.slide import open_slide

    with display.running(slide.name) as report:
        summary = segment(slide, model, out, choices, report)
    if preview is not None:
        opened = open_slide(slide)
        try:
            write_preview(preview, opened, summary.mpp, out, model.card, summary.classes)
        finally:
            opened.close()
    display.result(summary)
    return summary


def _segment_all(
    slides: Sequence[Path], outs: Sequence[Path], model: Model, choices: Run, display: Display
) -> tuple[list[Summary], int]:
    """All slides; one that fails is reported and the others are done."""
    from wsi_segment.model.errors import Cancelled, WsiSegmentError

    summaries, failed, skipped = [], 0, 0
    for slide, out in zip(slides, outs, strict=True):
        if out.exists() and not choices.overwrite:
            skipped += 1
            display.line(f"{out}: exists already, skipped")
            continue
        try:
            summaries.append(_segment_one(slide, out, model, choices, display, None))
        except Cancelled:
            raise
        except WsiSegmentError as error:
            failed += 1
            print(f"wsi-segment: {error}", file=sys.stderr)
    display.line(f"{len(summaries)} segmented, {skipped} skipped, {failed} failed")
    return summaries, failed


def _print_json(summaries: list[Summary], single: bool) -> None:
    import json
    from dataclasses import asdict

    records = [asdict(summary) for summary in summaries]
    print(json.dumps(records[0] if single else records, indent=2))


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is too small; give 1 or more")
    return value


def _bytes(text: str) -> int:
    units = {"K": 10, "M": 20, "G": 30, "T": 40}
    number, unit = (text[:-1], text[-1].upper()) if text and text[-1].upper() in units else (text, "")
    try:
        value = float(number)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 800M or 2G") from None
    return int(value * (1 << units[unit])) if unit else int(value)
