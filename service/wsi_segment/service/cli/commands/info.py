"""What a slide is, before anything is done with it."""

from __future__ import annotations

import argparse

HELP = "Show what a slide states: reader, levels, pixel size, bounds, fingerprint."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.add_argument(
        "slide", metavar="SLIDE", help="slide file, folder of DICOM files, or https:// or s3:// address"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the facts of one slide."""
    import json

    from wsi_segment.inference.engine.provenance import slide_fingerprint
    from wsi_segment.inference.slides.location import slide_location
    from wsi_segment.inference.slides.open import open_slide
    from wsi_segment.inference.slides.slide_files import slide_files

    location = slide_location(args.slide)
    slide = open_slide(location)
    try:
        size = slide.pixel_size
        facts = {
            "slide": str(args.slide),
            "reader": slide.reader,
            "levels": [
                {"width": level.width, "height": level.height, "downsample": level.downsample} for level in slide.levels
            ],
            "bounds": [slide.bounds.x0, slide.bounds.y0, slide.bounds.x1, slide.bounds.y1],
            "mpp_x": None if size is None else size.x,
            "mpp_y": None if size is None else size.y,
            "mpp_source": None if size is None else size.source,
            "icc_profile_bytes": len(slide.icc_profile or b""),
            "files": len(slide_files(location)),
            "fingerprint": slide_fingerprint(slide_files(location)),
        }
    finally:
        slide.close()
    if args.json:
        print(json.dumps(facts, indent=2))
        return 0
    print(f"{facts['slide']}: read by {facts['reader']}, {facts['files']} file(s)")
    for index, level in enumerate(slide.levels):
        print(f"  level {index}: {level.width} x {level.height}, downsample {level.downsample:g}")
    stated = "no pixel size stated; segment it with --mpp"
    print(f"  {stated if size is None else f'{size.x:g} x {size.y:g} µm per pixel, from {size.source}'}")
    print(f"  ICC profile: {f'{len(slide.icc_profile)} bytes' if slide.icc_profile else 'none'}")
    print(f"  bounds {facts['bounds']}, fingerprint {str(facts['fingerprint'])[:16]}…")
    return 0
