"""API keys: made, listed, revoked on the server itself."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsi_segment.service.jobs.database import Database

_SCOPES = ("read", "write", "read-own", "write-own", "metrics")
HELP = "Create, list and revoke keys of the HTTP service."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``wsi-segment keys``; ``actions`` lists who changed what, with NAME of one owner."""
    add = parser.add_argument
    add("action", choices=("create", "list", "revoke", "actions"))
    add("name", nargs="?", metavar="NAME", help="name of the key")
    add("--scope", action="append", choices=_SCOPES, help="what it opens (repeatable; default: read and write)")
    add("--owner", metavar="WHO", help="owner, whose jobs read-own and write-own mean (default: NAME)")
    add("--days", type=float, metavar="N", help="days until it expires (default: never)")
    add(
        "--data",
        type=Path,
        default=Path("wsi-data"),
        metavar="FOLDER",
        help="the service's data folder (default: %(default)s)",
    )
    add("--database", metavar="URL", help="the service's database, if it uses PostgreSQL")


def run(args: argparse.Namespace) -> int:
    """Do one of the three."""
    from wsi_segment.errors import InputError
    from wsi_segment.extras import needs_extra

    with needs_extra("service", "the service"):
        from wsi_segment.service.jobs.database import SQLITE_FILE, Database
        from wsi_segment.service.jobs.keys import Keys

    if args.action not in ("list", "actions") and not args.name:
        raise InputError(f"keys {args.action}: no name was given; say whose key it is")
    if args.days is not None and args.days <= 0:
        raise InputError(f"--days {args.days:g} is not in the future; give more than 0")
    if args.action != "create" and args.database is None and not (args.data / SQLITE_FILE).is_file():
        raise InputError(f"--data {args.data}: no service keeps its data there; name its folder, or its --database")
    os.umask(0o077)
    database = Database(args.data, args.database)
    database.migrate()
    keys = Keys(database)
    try:
        if args.action == "create":
            token = keys.create(args.name, args.scope or ["read", "write"], args.days, args.owner)
            print(token)
        elif args.action == "revoke":
            keys.revoke(args.name)
        elif args.action == "actions":
            _print_actions(database, args.name)
        else:
            for key in keys.listed():
                scopes, state = ",".join(key.scopes), _state(key.expires, key.revoked)
                print(f"{key.name}\t{scopes}\tof {key.owner}\tcreated {_day(key.created)}\t{state}")
    finally:
        database.close()
    return 0


def _print_actions(database: Database, owner: str | None) -> None:
    """Print who changed what, the newest first."""
    from datetime import UTC, datetime

    from wsi_segment.service.jobs.actions import Actions

    for one in Actions(database).listed(1000, owner):
        when = datetime.fromtimestamp(one.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        print("\t".join([when, one.owner, one.key, one.address, str(one.status), one.action, one.target, one.request]))


def _state(expires: float | None, revoked: float | None) -> str:
    if revoked is not None:
        return f"revoked {_day(revoked)}"
    return "never expires" if expires is None else f"expires {_day(expires)}"


def _day(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
