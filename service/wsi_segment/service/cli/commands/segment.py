"""The main job: slides in, masks out."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from wsi_segment.service.cli.cluster_flags import add_cluster_flags, connected_by

if TYPE_CHECKING:
    from wsi_segment.inference.mask.summary import Summary
    from wsi_segment.service.cli.orders import Order

HELP = "Segment whole-slide images into OME-Zarr masks."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the command without a name."""
    add = parser.add_argument
    add("slides", nargs="*", metavar="SLIDE", help="slide file, folder of DICOM files, or https:// or s3:// address")
    add(
        "--manifest",
        metavar="CSV",
        help="more slides: column slide, and optionally mpp, model and other choices",
    )
    add(
        "--out",
        required=True,
        metavar="PATH",
        help="the store to make, if it ends in .zarr and there is one slide; else a folder for STEM.zarr; or s3://…",
    )
    add("--model", metavar="MODEL", help="name of a bundled model, or model folder (default: colorectal-biopsy)")
    add("--image", type=_image, metavar="N", help="image of the file, as info numbers them (default: the slide)")
    add("--mpp", type=float, metavar="UM", help="µm per pixel of the slide, if it states none or a wrong one")
    add(
        "--window",
        type=int,
        metavar="PX",
        help="side of a block, 512 or 1024, or of the model's windows (default: the largest that the model allows)",
    )
    add(
        "--overlap",
        type=float,
        metavar="SHARE",
        help="share of a window that its neighbour covers too; selects windows (default then: 0.25)",
    )
    add(
        "--tissue",
        default="otsu",
        metavar="HOW",
        help="how tissue is found: otsu, none (everything), or a GeoJSON file (default: %(default)s)",
    )
    add("--region", metavar="GEOJSON", help="analyse only what lies inside these outlines")
    add("--apply-icc", action="store_true", help="convert colours from the slide's ICC profile to sRGB first")
    add(
        "--device",
        choices=("auto", "cpu", "cuda", "openvino"),
        default="auto",
        help="where the network runs (default: %(default)s)",
    )
    add(
        "--precision",
        choices=("auto", "fp32", "bf16", "fp16", "int8"),
        default="auto",
        help="number format of the network (default: %(default)s, what is fast here)",
    )
    add("--batch-size", type=int, default=16, metavar="N", help="windows per call (default: %(default)s)")
    add("--workers", type=_positive, metavar="N", help="threads (default: one per core)")
    add("--memory-limit", type=_bytes, metavar="SIZE", help="memory for the whole process, such as 2G or 800M")
    add(
        "--ome-zarr",
        choices=("0.5", "0.4"),
        default="0.5",
        help="version of OME-Zarr; 0.4 for QuPath and OMERO (default: %(default)s)",
    )
    add("--probabilities", action="store_true", help="keep the probability of each class too")
    add("--strict", action="store_true", help="refuse a slide rather than end with warnings about its result")
    add("--overwrite", action="store_true", help="replace an existing mask")
    add("--preview", metavar="PNG", help="also draw the mask over the slide (one slide)")
    add("--geojson", metavar="FILE", help="also write outlines for QuPath, packed if .gz (one slide)")
    add(
        "--min-area",
        type=_not_negative,
        default=0.0,
        metavar="UM2",
        help="leave out smaller outlines (default: %(default)g)",
    )
    add(
        "--simplify",
        type=_not_negative,
        metavar="UM",
        help="smooth outlines (default: corners of 1 pixel, of 2 between large pieces)",
    )
    add("--quiet", action="store_true", help="print nothing but errors")
    add("--json", action="store_true", help="print the summary as JSON")
    add_cluster_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Segment the slides: one after another with all cores on each, or some at once on a cluster."""
    from wsi_segment.errors import InputError
    from wsi_segment.inference.engine.options import SegmentOptions
    from wsi_segment.inference.slides.location import output_location, slide_location
    from wsi_segment.service.cli.main import make_parser, with_flags
    from wsi_segment.service.cli.orders import ExtraOutputs, make_orders
    from wsi_segment.service.cli.printing import Display
    from wsi_segment.service.cli.table import segment_one, segment_table
    from wsi_segment.service.cli.targets import refuse_unwritable

    for place in ("out", "preview", "geojson"):
        if getattr(args, place) is not None:
            setattr(args, place, output_location(getattr(args, place), place))
    if args.manifest is not None:
        args.manifest = slide_location(args.manifest)
    choices = SegmentOptions(
        image=args.image,
        mpp=args.mpp,
        window=args.window,
        overlap=args.overlap,
        tissue=args.tissue,
        region=args.region,
        device=args.device,
        precision=args.precision,
        batch_size=args.batch_size,
        workers=args.workers or 0,
        memory_limit=args.memory_limit,
        ome_zarr=args.ome_zarr,
        probabilities=args.probabilities,
        apply_icc=args.apply_icc,
        overwrite=args.overwrite,
        strict=args.strict,
    )
    orders = make_orders(args.slides, args.manifest, out=args.out, options=choices, model=args.model)
    single = len(orders) == 1
    extras = ExtraOutputs(args.preview, args.geojson, args.min_area, args.simplify)
    for flag in ("preview", "geojson"):
        if not single and getattr(args, flag) is not None:
            raise InputError(f"--{flag} {getattr(args, flag)} is for one slide, {len(orders)} were given")
    _check_apart(args, orders)
    for flag in ("preview", "geojson"):
        refuse_unwritable(flag, getattr(args, flag))
    parser = make_parser("segment")
    display = Display(quiet=args.quiet or args.json, spell=lambda text: with_flags(text, parser))
    with connected_by(args) as cluster:
        if single:
            summaries, failed = [segment_one(orders[0], extras, display, cluster)], 0
        else:
            summaries, failed = segment_table(orders, extras, display, cluster)
    if args.json:
        _print_json(summaries, single)
    return 1 if failed else 0


def _check_apart(args: argparse.Namespace, orders: list[Order]) -> None:
    """Refuse an output in the place of something that is read, or of another output."""
    from wsi_segment.errors import InputError
    from wsi_segment.service.cli.targets import IS_READ, IS_THE_MASK, IS_WRITTEN, files_read, place_of, refuse_taken

    inputs = [args.manifest] if args.manifest is not None else []
    for order in orders:
        outlines = order.options.region, order.options.tissue
        inputs += [one for one in outlines if one is not None and not isinstance(one, str)]
        inputs += files_read(order.slide)
    taken = {place_of(path): IS_READ for path in inputs}
    holders = {folder for place in taken for folder in place.parents}
    for order in orders:
        for path in (order.out, order.out.with_name(order.out.name + ".partial")):
            there = place_of(path)
            if there in taken:
                raise InputError(f"--out {order.out}: {taken[there]}; choose another name")
            if there in holders:  # all that lies there goes in the end, or when it is overwritten
                raise InputError(f"--out {order.out}: {path} holds what {IS_READ}; choose another name")
            taken[there] = IS_THE_MASK
    for flag in ("preview", "geojson"):
        path = getattr(args, flag)
        if path is not None:
            refuse_taken(flag, path, taken)
            taken[place_of(path)] = IS_WRITTEN


def _print_json(summaries: list[Summary], single: bool) -> None:
    import json
    from dataclasses import asdict

    records = [asdict(summary) for summary in summaries]
    print(json.dumps(records[0] if single else records, indent=2))


def _not_negative(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return value


def _image(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of an image; the first one is 0")
    return int(text)


def _positive(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return value


def _bytes(text: str) -> int:
    units = {"K": 10, "M": 20, "G": 30, "T": 40}
    number, unit = (text[:-1], text[-1].upper()) if text and text[-1].upper() in units else (text, "")
    try:
        return int(float(number) * (1 << units.get(unit, 0)))
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 800M or 2G") from None
