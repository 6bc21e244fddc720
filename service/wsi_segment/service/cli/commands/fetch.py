"""Bring a mask, or corrections of it, from a service."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from wsi_segment.service.cli.commands.submit import add_server

if TYPE_CHECKING:
    from wsi_segment.service.fetched_results import FetchedBatch

HELP = "Fetch the mask of a job, or all of a batch, from a service; or what people corrected."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``wsi-segment fetch``."""
    add = parser.add_argument
    add("id", metavar="ID", help="id of a job or batch")
    add("--out", type=Path, metavar="PATH", help="the store to make, such as mask.zarr; a folder for a batch")
    add("--geojson", type=Path, metavar="FILE", help="fetch the outlines too")
    add("--preview", type=Path, metavar="PNG", help="fetch a picture of the mask over the slide too")
    add(
        "--corrections",
        type=Path,
        metavar="DIR",
        help="write the corrections of the result as wsi-segment train reads them: NAME.geojson and classes.json",
    )
    add("--slides", type=Path, metavar="FOLDER", help="folder of the slide, which is linked beside its corrections")
    add_server(parser)


def _report(fetched: FetchedBatch, args: argparse.Namespace) -> int:
    """Say what came of a batch; return the exit code."""
    from wsi_segment.errors import InputError
    from wsi_segment.service.fetched_results import AREAS_FILE, FAILURES_FILE

    if args.geojson or args.preview or args.corrections:
        raise InputError("--geojson, --preview and --corrections are for one job; name it")
    print(f"{args.out}: {fetched.masks} masks, areas in {AREAS_FILE}", file=sys.stderr)
    if fetched.failures:
        print(f"{args.out}: {fetched.failures} jobs failed, see {FAILURES_FILE}", file=sys.stderr)
    if fetched.waiting:
        later = "the same command fetches them later"
        print(f"{args.out}: {fetched.waiting} jobs have not ended; {later}", file=sys.stderr)
    return 1 if fetched.failures or fetched.waiting else 0


def run(args: argparse.Namespace) -> int:
    """Fetch what was asked for."""
    from wsi_segment.errors import InputError
    from wsi_segment.extras import needs_extra

    if args.out is None and args.corrections is None:
        raise InputError("fetch needs --out PATH for the mask, or --corrections DIR")

    with needs_extra("service", "the client"):
        from wsi_segment.service.client import Client

    with Client(args.server, args.key, args.ca) as client:
        if args.out is not None:
            from wsi_segment.service.fetched_results import fetch_batch, fetch_job

            found = client.look(args.id)
            if "counts" in found:
                return _report(fetch_batch(client, args.id, args.out, print), args)
            print(f"{args.out}: {fetch_job(client, found, args.out)} files")
        if args.corrections is not None:
            from wsi_segment.service.training_folder import lay_out_corrections

            for line in lay_out_corrections(client, args.id, args.corrections, args.slides):
                print(line)
        results = f"/v1/jobs/{args.id}/results"
        for target, name in ((args.geojson, "objects.geojson"), (args.preview, "preview.png")):
            if target is not None:
                client.download(f"{results}/{name}", target)
                print(target)
    return 0
