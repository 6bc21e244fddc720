"""Show jobs of a service, cancel them, or try them again."""

from __future__ import annotations

import argparse
import itertools
from typing import Any

from wsi_segment.service.cli.commands.submit import add_server

_CANCELLED = {"running": "  ends soon", "dismissed": ""}
"""Words after the states that a cancel leads to; a job in any other state had ended before."""

HELP = "Show jobs of a service: all of them, or one job or batch."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``wsi-segment status``."""
    add = parser.add_argument
    add("id", nargs="?", metavar="ID", help="id of a job or batch (default: the newest jobs)")
    add("--limit", type=int, default=20, metavar="N", help="number of jobs to list (default: %(default)s)")
    add("--cancel", action="store_true", help="cancel that job or batch")
    add("--retry", action="store_true", help="try that job or batch again")
    add("--json", action="store_true", help="print JSON")
    add_server(parser)


def run(args: argparse.Namespace) -> int:
    """Ask and print."""
    import json

    from wsi_segment.errors import InputError
    from wsi_segment.extras import needs_extra

    with needs_extra("service", "the client"):
        from wsi_segment.service.client import Client

    if (args.cancel or args.retry) and args.id is None:
        raise InputError("no job was named; give its id")
    with Client(args.server, args.key, args.ca) as client:
        if args.id is None:
            found = list(itertools.islice(client.jobs(), args.limit))
        else:
            found = [client.look(args.id, "cancel" if args.cancel else "retry" if args.retry else None)]
    if args.json:
        print(json.dumps(found if args.id is None else found[0], indent=2))
        return 0
    for entry in found:
        print(_line(entry) + (_CANCELLED.get(entry["status"], "  had ended before") if args.cancel else ""))
    return 0


def _line(entry: dict[str, Any]) -> str:
    parts = [entry["id"], f"{entry['status']:<10}", f"{entry['progress']:>3} %", entry["created"][:19]]
    parts.append(entry["name"] if "counts" in entry else entry["slide_name"] or entry["slide"])
    if "counts" in entry:
        parts.append(", ".join(f"{count} {status}" for status, count in entry["counts"].items()))
    return "  ".join([*parts, *([entry["message"]] if entry.get("message") else [])])
