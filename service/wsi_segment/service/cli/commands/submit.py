"""Post slides to a service."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsi_segment.service.client import Client

CHOICES = (
    "model",
    "image",
    "mpp",
    "window",
    "overlap",
    "precision",
    "tissue",
    "region",
    "apply_icc",
    "ome_zarr",
    "probabilities",
    "strict",
    "priority",
)
"""Flags that go to the server as fields of the job."""

HELP = "Post slides to a service; with --wait, follow them to the end."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``wsi-segment submit``."""
    add = parser.add_argument
    add("slides", nargs="*", metavar="SLIDE", help="id, or path as the server sees it (ROOT/below.svs)")
    add("--manifest", type=Path, metavar="CSV", help="a batch: column slide; optional: as the flags are called")
    add("--model", metavar="NAME", help="of the server (default: its default)")
    add("--image", type=int, metavar="N", help="which image of the file (default: the slide)")
    add("--mpp", type=float, metavar="UM", help="µm per pixel of the slide, where it states none")
    add("--window", type=int, metavar="PX", help="side of a block, 512 or 1024, or of the model's windows")
    add("--overlap", type=float, metavar="SHARE", help="of a window with its neighbour; means windows")
    add("--precision", choices=("auto", "fp32", "bf16", "fp16", "int8"), help="in which the network computes")
    add("--tissue", metavar="HOW", help="otsu, none (everything), or a GeoJSON file")
    add("--region", type=Path, metavar="GEOJSON", help="segment only inside these outlines")
    add("--apply-icc", action="store_true", help="bring colours from the slide's ICC profile to sRGB first")
    add("--ome-zarr", choices=("0.5", "0.4"), help="0.4 for QuPath, Bio-Formats and OMERO")
    add("--probabilities", action="store_true", help="keep the probability of each class too")
    add("--strict", action="store_true", help="have the job fail rather than end with warnings")
    add("--priority", type=int, metavar="N", help="-10 to 10; larger ones come first (default: 0)")
    add("--wait", action="store_true", help="until all have ended")
    add_server(parser)


def add_server(parser: argparse.ArgumentParser) -> None:
    """Which server, and with which key."""
    server = os.environ.get("WSI_SEGMENT_SERVER", "http://127.0.0.1:8000")
    parser.add_argument("--server", default=server, metavar="URL", help=f"default: $WSI_SEGMENT_SERVER or {server}")
    parser.add_argument("--key", default=os.environ.get("WSI_SEGMENT_KEY"), help="default: $WSI_SEGMENT_KEY")


def run(args: argparse.Namespace) -> int:
    """Post, and wait if that is wanted."""
    from wsi_segment.errors import InputError
    from wsi_segment.extras import needs_extra

    with needs_extra("service", "the client"):
        from wsi_segment.service.client import Client

    if not args.slides and args.manifest is None:
        raise InputError("no slides were given; name some, or give --manifest CSV")
    given = {name: value for name in CHOICES if (value := getattr(args, name)) is not None and value is not False}
    if args.manifest is not None:
        if given:
            raise InputError(
                f"`{next(iter(given))}` is not for rows of --manifest, which have columns of their own for it; "
                "leave it out, or post the slides without a manifest"
            )
        if not args.manifest.is_file():
            raise InputError(f"--manifest {args.manifest}: no such file")
    choices = _with_outlines(given)
    posted: list[tuple[str, str]] = []
    with Client(args.server, args.key) as client:
        try:
            for slide in args.slides:
                posted.append(("jobs", client.submit(slide, **choices)["id"]))
                print(posted[-1][1], flush=True)
            if args.manifest is not None:
                posted.append(("batches", client.submit_batch(args.manifest)["id"]))
                print(posted[-1][1], flush=True)
            return _wait(client, posted) if args.wait else 0
        except KeyboardInterrupt:
            return _interrupted(posted)


def _interrupted(posted: list[tuple[str, str]]) -> int:
    """Say what became of what was posted: the same command would post it once more."""
    import sys

    from wsi_segment.service.cli.interrupts import EXIT_INTERRUPTED

    if posted:
        name = posted[-1][1]
        more = f", as do {len(posted) - 1} before it" if len(posted) > 1 else ""
        goes_on = f"{name} goes on at the server{more}; see wsi-segment status {name}, and wsi-segment fetch JOB"
    print(f"wsi-segment: interrupted; {goes_on if posted else 'nothing was posted'}", file=sys.stderr)
    return EXIT_INTERRUPTED


def _with_outlines(given: dict[str, Any]) -> dict[str, Any]:
    """Put outlines in the place of the files that hold them."""
    from wsi_segment.errors import InputError
    from wsi_segment.inference.slides.geojson_features import read_multipolygon

    choices = dict(given)
    for name in ("region", "tissue"):
        if name in given and given[name] not in ("otsu", "none"):
            try:
                choices[name] = read_multipolygon(Path(given[name]))
            except InputError as error:
                raise InputError(f"`{name}` {error}") from error
    return choices


def _wait(client: Client, posted: list[tuple[str, str]]) -> int:
    from wsi_segment.service.cli.main import make_parser, with_flags
    from wsi_segment.service.cli.printing import Following

    failed = False
    for kind, name in posted:
        with Following(name) as following:
            for event in client.events(kind, name):
                following.show(event)
        ended = client.job(name) if kind == "jobs" else client.batch(name)
        print(f"{name}: {ended['status']}{': ' + ended['message'] if ended.get('message') else ''}")
        for warning in ended.get("warnings", []):
            print(f"{name}: warning: {with_flags(warning['message'], make_parser('submit'))}")
        failed = failed or ended["status"] != "successful"
    return 1 if failed else 0
