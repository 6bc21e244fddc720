"""The HTTP service."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "Serve batch jobs, slides and masks over HTTP."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each field of the settings."""
    add = parser.add_argument
    add(
        "--config", type=Path, metavar="TOML", help="file with the same settings; flags and environment take precedence"
    )
    from wsi_segment.extras import needs_extra

    with needs_extra("service", "the service"):
        from wsi_segment.service.settings import Settings
    for name, field in Settings.model_fields.items():
        several = field.default == ()
        add(
            f"--{name.replace('_', '-')}",
            action="append" if several else "store",
            metavar="VALUE",
            default=None,
            help=f"{field.description}" + ("" if several or field.default is None else f" (default: {field.default})"),
        )


def run(args: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    from wsi_segment.extras import needs_extra
    from wsi_segment.service.logs import set_up_logs
    from wsi_segment.service.settings import Settings, load_settings

    flags = {name: getattr(args, name) for name in Settings.model_fields if getattr(args, name) is not None}
    settings = load_settings(flags, args.config)
    set_up_logs(settings.log)
    with needs_extra("service", "the service"):
        from wsi_segment.service.startup import run_server
    run_server(settings)
    return 0
