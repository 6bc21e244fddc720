"""API keys: made, listed, revoked on the server itself."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "Create, list and revoke keys of the HTTP service."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``wsi-segment keys``."""
    add = parser.add_argument
    add("action", choices=("create", "list", "revoke"))
    add("name", nargs="?", metavar="NAME", help="whose key it is")
    add("--scope", action="append", choices=("read", "write", "metrics"), help="repeat (default: read and write)")
    add("--days", type=float, metavar="N", help="until it expires (default: never)")
    add("--data", type=Path, default=Path("wsi-data"), metavar="FOLDER", help="of the service (default: %(default)s)")
    add("--database", metavar="URL", help="of the service, where it uses PostgreSQL")


def run(args: argparse.Namespace) -> int:
    """Do one of the three."""
    from wsi_segment.errors import InputError
    from wsi_segment.extras import needs_extra

    with needs_extra("service", "the service"):
        from wsi_segment.service.jobs.database import Database
        from wsi_segment.service.jobs.keys import Keys

    if args.action != "list" and not args.name:
        raise InputError(f"keys {args.action}: no name was given; say whose key it is")
    if args.days is not None and args.days <= 0:
        raise InputError(f"--days {args.days:g} is not in the future; give more than 0")
    database = Database(args.data, args.database)
    database.migrate()
    keys = Keys(database)
    try:
        if args.action == "create":
            token = keys.create(args.name, args.scope or ["read", "write"], args.days)
            print(token)
        elif args.action == "revoke":
            keys.revoke(args.name)
        else:
            for key in keys.listed():
                scopes, state = ",".join(key.scopes), _state(key.expires, key.revoked)
                print(f"{key.name}\t{scopes}\tcreated {_day(key.created)}\t{state}")
    finally:
        database.close()
    return 0


def _state(expires: float | None, revoked: float | None) -> str:
    if revoked is not None:
        return f"revoked {_day(revoked)}"
    return "never expires" if expires is None else f"expires {_day(expires)}"


def _day(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
