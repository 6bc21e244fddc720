"""Bring a mask from a service."""

from __future__ import annotations

import argparse
from pathlib import Path

from wsi_segment.service.cli.commands.submit import add_server

HELP = "Fetch the mask of a job from a service."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``wsi-segment fetch``."""
    add = parser.add_argument
    add("id", metavar="JOB", help="id of the job")
    add("--out", required=True, type=Path, metavar="PATH", help="the store to make, such as mask.zarr")
    add("--geojson", type=Path, metavar="FILE", help="the outlines too")
    add("--preview", type=Path, metavar="PNG", help="the mask over the slide too")
    add_server(parser)


def run(args: argparse.Namespace) -> int:
    """Fetch what was asked for."""
    from wsi_segment.service.cli.optional_dependencies import needs_extra

    with needs_extra("service", "the client"):
        from wsi_segment.service.client import Client

    with Client(args.server, args.key) as client:
        files = client.fetch(args.id, args.out)
        print(f"{args.out}: {files} files")
        results = f"/v1/jobs/{args.id}/results"
        for target, name in ((args.geojson, "objects.geojson"), (args.preview, "preview.png")):
            if target is not None:
                client.download(f"{results}/{name}", target)
                print(target)
    return 0
