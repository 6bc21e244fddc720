"""A copy of a service's data."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "Copy the data of the HTTP service, which may be running, for a restore elsewhere."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``wsi-segment backup``."""
    add = parser.add_argument
    add(
        "--data",
        type=Path,
        default=Path("wsi-data"),
        metavar="FOLDER",
        help="the service's data folder (default: %(default)s)",
    )
    add("--out", type=Path, required=True, metavar="FOLDER", help="the copy; unchanged files in it are kept")
    add("--database-only", action="store_true", help="copy jobs, keys and secrets, without masks and uploads")


def run(args: argparse.Namespace) -> int:
    """Copy and say how much."""
    import os

    from wsi_segment.extras import needs_extra

    with needs_extra("service", "the service"):
        from wsi_segment.service.jobs.backup import back_up

    os.umask(0o077)
    made = back_up(args.data, args.out, results=not args.database_only)
    print(f"{args.out}: {made.files} files, {made.bytes / 2**20:.1f} MiB copied, {made.kept} unchanged")
    print(f"restore: wsi-segment serve --data {args.out} with the other settings as they were")
    return 0
