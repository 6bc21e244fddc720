"""Checking masks that were made before."""

from __future__ import annotations

import argparse

HELP = "Check masks: metadata, every region's pixels, every level."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``wsi-segment verify``."""
    parser.add_argument("stores", nargs="+", metavar="MASK", help="mask that wsi-segment made, or its address")
    parser.add_argument("--quiet", action="store_true", help="print nothing but damage")


def run(args: argparse.Namespace) -> int:
    """Check the masks one after another; the exit code is 1 if any is damaged, or one of several is not a mask."""
    import sys

    from rich.console import Console

    from wsi_segment.errors import OutputError
    from wsi_segment.inference.mask.verify import verify
    from wsi_segment.inference.progress_bar import make_bar
    from wsi_segment.inference.slides.location import slide_location

    damaged = 0
    for store in map(slide_location, args.stores):
        with make_bar(Console(stderr=True, quiet=args.quiet)) as bar:
            task = bar.add_task(f"checking {store.name}", total=None, unit="regions")
            try:
                found = verify(store, lambda done, total: bar.update(task, completed=done, total=total))  # noqa: B023
            except OutputError as error:
                if len(args.stores) == 1:
                    raise
                print(f"wsi-segment: {error}", file=sys.stderr)
                damaged += 1
                continue
        damaged += bool(found.damage)
        for line in found.damage:
            print(f"wsi-segment: {store}: {line}", file=sys.stderr)
        if not found.damage and not args.quiet:
            print(f"{store}: whole, {found.regions} regions, {found.levels} levels")
    return 1 if damaged else 0
