"""Turning a training run into a model folder."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "Export a training run to ONNX with a model card."

_LIMITATIONS = (
    "Measured on its own dataset only. Other organs, stains, scanners and laboratories were not tried. "
    "Validate it on your own slides before you rely on anything it says."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``wsi-segment export``."""
    parser.add_argument("run", type=Path, metavar="RUN", help="folder that wsi-segment train made")
    parser.add_argument("--out", required=True, type=Path, metavar="MODELDIR", help="model folder to make")
    parser.add_argument("--name", help="name on the card (default: that of the folder)")
    parser.add_argument("--version", dest="model_version", default="0.1.0", help="default: %(default)s")
    parser.add_argument("--description", default="", help="a line for the card")
    parser.add_argument("--limitations", default=_LIMITATIONS, help="what the model must not be trusted with")
    parser.add_argument("--overwrite", action="store_true", help="replace a model that exists")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def run(args: argparse.Namespace) -> int:
    """Export, and say how far graph and network agree."""
    from wsi_segment.extras import needs_extra

    with needs_extra("train", "training and export"):
        from wsi_segment.export.model_folder import export_run
    exported = export_run(
        args.run,
        args.out,
        name=args.name or args.out.resolve().name,
        version=args.model_version,
        limitations=args.limitations,
        description=args.description,
        overwrite=args.overwrite,
    )
    if not args.quiet:
        print(
            f"{exported.folder}: {exported.card.name} {exported.card.version}; logits differ from the network's by at "
            f"most {exported.largest_difference:.1e} on {exported.patches} patches"
        )
    return 0
