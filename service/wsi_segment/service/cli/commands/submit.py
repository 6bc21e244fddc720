"""Post slides to a service."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

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
    "width",
    "height",
)
"""Flags that go to the server as fields of the job."""

HELP = "Post slides to a service; with --wait, follow them to the end."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``wsi-segment submit``."""
    add = parser.add_argument
    add(
        "slides",
        nargs="*",
        metavar="SLIDE",
        help="id, or path as the server sees it (ROOT/below.svs);\n"
        "a pattern ('ROOT/**/*.svs') or folder (ROOT/below/) becomes a batch",
    )
    add(
        "--manifest",
        type=Path,
        metavar="CSV",
        help="post a batch: column slide, and optionally columns named like the flags",
    )
    add("--model", metavar="NAME", help="model of the server (default: the server's)")
    add("--image", type=int, metavar="N", help="image of the file (default: the slide)")
    add("--mpp", type=float, metavar="UM", help="µm per pixel of the slide, if it states none")
    add("--window", type=int, metavar="PX", help="side of a block, 512 or 1024, or of the model's windows")
    add(
        "--overlap",
        type=float,
        metavar="SHARE",
        help="share of a window that its neighbour covers too; selects windows",
    )
    add("--precision", choices=("auto", "fp32", "bf16", "fp16", "int8"), help="number format of the network")
    add("--tissue", metavar="HOW", help="how tissue is found: otsu, none (everything), or a GeoJSON file")
    add("--region", type=Path, metavar="GEOJSON", help="segment only inside these outlines")
    add("--apply-icc", action="store_true", help="convert colours from the slide's ICC profile to sRGB first")
    add("--ome-zarr", choices=("0.5", "0.4"), help="version of OME-Zarr; 0.4 for QuPath, Bio-Formats and OMERO")
    add("--probabilities", action="store_true", help="keep the probability of each class too")
    add("--strict", action="store_true", help="let the job fail rather than end with warnings")
    add("--priority", type=int, metavar="N", help="-10 to 10; jobs with a larger one come first (default: 0)")
    add("--width", type=int, metavar="PX", help="width of the slide as you see it; another width is refused")
    add("--height", type=int, metavar="PX", help="height of the slide as you see it; another height is refused")
    add("--wait", action="store_true", help="wait until all have ended")
    add("--watch", action="store_true", help="post each new slide of the pattern or folder, until Ctrl-C")
    add("--every", type=float, default=30.0, metavar="SECONDS", help="seconds between two looks (default: %(default)s)")
    add("--json", action="store_true", help="print the jobs or the batch as JSON, at their end with --wait")
    add_server(parser)


def add_server(parser: argparse.ArgumentParser) -> None:
    """Which server, and with which key."""
    server = os.environ.get("WSI_SEGMENT_SERVER", "http://127.0.0.1:8000")
    parser.add_argument("--server", default=server, metavar="URL", help=f"default: $WSI_SEGMENT_SERVER or {server}")
    parser.add_argument("--key", default=os.environ.get("WSI_SEGMENT_KEY"), help="default: $WSI_SEGMENT_KEY")
    given = os.environ.get("WSI_SEGMENT_CA")
    parser.add_argument(
        "--ca",
        type=Path,
        default=Path(given) if given else None,
        metavar="PEM",
        help="certificates of a private authority that the server's is from; default: $WSI_SEGMENT_CA",
    )


def run(args: argparse.Namespace) -> int:
    """Post, and wait if that is wanted."""
    from wsi_segment.errors import InputError
    from wsi_segment.extras import needs_extra

    with needs_extra("service", "the client"):
        from wsi_segment.service.client import Client
        from wsi_segment.service.slide_patterns import is_pattern

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

    def note(kind: str, made: dict[str, Any]) -> None:
        posted.append((kind, made["id"]))
        if not args.json:
            print(made["id"], flush=True)

    with Client(args.server, args.key, args.ca) as client:
        try:
            if args.watch:
                return _watch(client, args, choices, note)
            for slide in args.slides:
                if is_pattern(slide) and not client.has_slide(slide):
                    note("batches", _submit_pattern(client, slide, choices))
                else:
                    note("jobs", client.submit(slide, **choices))
            if args.manifest is not None:
                note("batches", client.submit_batch(args.manifest))
            code = _wait(client, posted) if args.wait else 0
            if args.json:
                found = [client.job(name) if kind == "jobs" else client.batch(name) for kind, name in posted]
                print(json.dumps(found[0] if len(found) == 1 else found, indent=2))
        except KeyboardInterrupt:
            return _interrupted(posted)
    return code


def _submit_pattern(client: Client, pattern: str, choices: dict[str, Any]) -> dict[str, Any]:
    """Post all slides of a pattern as one batch."""
    from wsi_segment.errors import InputError
    from wsi_segment.service.slide_patterns import slides_of

    for name in ("width", "height"):
        if name in choices:
            raise InputError(f"`{name}` is of one slide; name it, or leave this out")
    rows = [{"slide": slide["id"]} | choices for slide in slides_of(client, pattern)]
    if not rows:
        raise InputError(f"{pattern}: 0 slides of the server; see GET /v1/slides, and its roots' names")
    return client.submit_rows(rows, pattern[:200])


def _watch(
    client: Client, args: argparse.Namespace, choices: dict[str, Any], note: Callable[[str, dict[str, Any]], None]
) -> int:
    from wsi_segment.errors import InputError
    from wsi_segment.service.slide_patterns import is_pattern, watch

    if len(args.slides) != 1 or args.manifest is not None or args.wait or args.json or not is_pattern(args.slides[0]):
        raise InputError(
            "--watch takes one folder (ROOT/below/) or pattern, and neither --manifest nor --wait nor --json"
        )
    if args.every <= 0:
        raise InputError(f"--every {args.every:g} is too short; give more than 0 seconds")
    watch(
        client,
        args.slides[0],
        lambda slide: note("jobs", client.submit(slide, **choices)),
        seconds=args.every,
        report=lambda text: print(f"wsi-segment: {text}", file=sys.stderr, flush=True),
    )
    return 0


def _interrupted(posted: list[tuple[str, str]]) -> int:
    """Say what became of what was posted: the same command would post it once more."""
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
        said = f"{name}: {ended['status']}{': ' + ended['message'] if ended.get('message') else ''}"
        print(said, file=sys.stderr)  # standard output has the ids alone, for other programs
        for warning in ended.get("warnings", []):
            print(f"{name}: warning: {with_flags(warning['message'], make_parser('submit'))}", file=sys.stderr)
        failed = failed or ended["status"] != "successful"
    return 1 if failed else 0
