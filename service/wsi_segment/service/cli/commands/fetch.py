"""Bring a mask, or corrections of it, from a service."""

from __future__ import annotations

import argparse
from pathlib import Path

from wsi_segment.service.cli.commands.submit import add_server

HELP = "Fetch the mask of a job from a service, or what people corrected of it."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``wsi-segment fetch``."""
    add = parser.add_argument
    add("id", metavar="JOB", help="id of the job")
    add("--out", type=Path, metavar="PATH", help="the store to make, such as mask.zarr")
    add("--geojson", type=Path, metavar="FILE", help="the outlines too")
    add("--preview", type=Path, metavar="PNG", help="the mask over the slide too")
    add(
        "--corrections",
        type=Path,
        metavar="DIR",
        help="lay the corrections of the result out as wsi-segment train reads them: NAME.geojson and classes.json",
    )
    add("--slides", type=Path, metavar="FOLDER", help="where the slide lies, to be linked beside its corrections")
    add_server(parser)


def run(args: argparse.Namespace) -> int:
    """Fetch what was asked for."""
    from wsi_segment.errors import InputError
    from wsi_segment.extras import needs_extra

    if args.out is None and args.corrections is None:
        raise InputError("fetch needs --out PATH for the mask, or --corrections DIR")

    with needs_extra("service", "the client"):
        from wsi_segment.service.client import Client

    with Client(args.server, args.key) as client:
        if args.out is not None:
            files = client.fetch(args.id, args.out)
            print(f"{args.out}: {files} files")
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
