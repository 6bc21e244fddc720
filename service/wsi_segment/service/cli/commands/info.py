"""Show what a slide is, before anything is done with it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsi_segment.inference.slides.description import ImageFacts, SlideFacts

HELP = "Show what a slide states and how it is read: images, pixel sizes, reader, doubts, and its tissue as a picture."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``info``."""
    parser.add_argument(
        "slide", metavar="SLIDE", help="slide file, folder of DICOM files, or https:// or s3:// address"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--image", type=int, metavar="N", help="which image of the file, counted from 0")
    parser.add_argument(
        "--mpp", type=float, metavar="UM", help="µm per pixel, for --preview of a slide that states none"
    )
    parser.add_argument("--preview", metavar="PNG", help="draw the tissue that is found into a picture")
    parser.add_argument("--model", metavar="MODEL", help="model whose scale --preview uses")


def run(args: argparse.Namespace) -> int:
    """Print the facts of one slide; exit code 2 where it would be refused."""
    import json

    from wsi_segment.errors import SlideError
    from wsi_segment.inference.slides.description import describe
    from wsi_segment.inference.slides.location import output_location, slide_location
    from wsi_segment.service.cli.main import make_parser, with_flags

    location = slide_location(args.slide)
    if args.preview is not None:
        args.preview = output_location(args.preview, "preview")
    facts = describe(location, args.image)
    if facts.refused is not None and not facts.images:
        raise SlideError(facts.refused)
    tissue = None
    if args.preview is not None and facts.refused is None:
        tissue = _draw(args, location)
    if args.json:
        print(json.dumps(_record(facts, location, tissue), indent=2))
    else:
        parser = make_parser("segment")  # whose flags would be given
        print("\n".join(with_flags(line, parser) for line in _lines(facts, location)))
        if tissue is not None:
            print(f"  tissue: {100 * tissue:.1f} % of what was scanned, drawn into {args.preview}")
    return 0 if facts.refused is None else 2


def _draw(args: argparse.Namespace, location: Path) -> float:
    """Draw the tissue at the scale of the model that would be used."""
    from wsi_segment.errors import OutputError
    from wsi_segment.inference.engine.tissue_picture import write_tissue_picture
    from wsi_segment.inference.slides.open import open_slide
    from wsi_segment.inference.slides.slide import pixel_size_of
    from wsi_segment.model.card import DEFAULT_MODEL, find_model
    from wsi_segment.service.cli.targets import files_read, refuse_target

    refuse_target("preview", args.preview, files_read(location))
    slide = open_slide(location, args.image)
    try:
        mpp = pixel_size_of(slide, location, args.mpp).mpp
        return write_tissue_picture(args.preview, slide, mpp, find_model(args.model or DEFAULT_MODEL).card.mpp)
    except OSError as error:
        raise OutputError(f"{args.preview}: cannot be written ({error.strerror}); choose another place") from error
    finally:
        slide.close()


def _record(facts: SlideFacts, location: Path, tissue: float | None) -> dict[str, Any]:
    """Return the facts as JSON has them."""
    from dataclasses import asdict

    size = facts.pixel_size
    return {
        **asdict(facts),
        "mpp_x": None if size is None else size.x,
        "mpp_y": None if size is None else size.y,
        "mpp_source": None if size is None else size.source,
        "files": len(facts.files),
        "file_names": facts.files,
        "fingerprint": _fingerprint(location, facts),
        "tissue_share": tissue,
    }


def _fingerprint(location: Path, facts: SlideFacts) -> str | None:
    from wsi_segment.inference.slides.fingerprint import slide_fingerprint
    from wsi_segment.inference.slides.slide_files import slide_files

    return slide_fingerprint(slide_files(location)) if facts.files else None


def _lines(facts: SlideFacts, location: Path) -> list[str]:
    """Return the facts as people read them."""
    lines = [f"{facts.slide}: {facts.format or 'of no known format'}, {len(facts.files)} file(s)"]
    if facts.reader is not None and facts.bounds is not None:
        lines.append(f"  read by {facts.reader}: {facts.reader_reason}")
        lines += [
            f"  level {index}: {level.width} x {level.height}, downsample {level.downsample:g}"
            for index, level in enumerate(facts.levels)
        ]
        x0, y0, x1, y1 = facts.bounds
        whole = (x0, y0, x1, y1) == (0, 0, facts.levels[0].width, facts.levels[0].height)
        lines.append(f"  scanned: {'all of level 0' if whole else f'x {x0} to {x1}, y {y0} to {y1} of level 0'}")
        size = facts.pixel_size
        stated = "not stated" if size is None else f"{size.x:g} x {size.y:g} µm, from {size.source}"
        lines.append(f"  pixel size: {stated}")
        lines.append(f"  ICC profile: {f'{facts.icc_profile_bytes} bytes' if facts.icc_profile_bytes else 'none'}")
    lines.append("  images in the file:" if facts.images else "  images in the file: one picture")
    for image in facts.images:
        lines += _image_lines(image)
    lines += [f"  beside it: {other}" for other in facts.beside]
    lines += [f"  doubt ({doubt.code}): {doubt.message}" for doubt in facts.warnings]
    if facts.needs:
        lines.append(f"  needed: {facts.needs}")
    if facts.refused:
        lines.append(f"  refused: {facts.refused}")
    lines.append(f"  fingerprint {str(_fingerprint(location, facts))[:16]}…")
    return lines


def _image_lines(image: ImageFacts) -> list[str]:
    name = f" “{image.name}”" if image.name else ""
    lines = [f"    {image.number}: {image.width} x {image.height} px, {image.role}{name}"]
    details = [image.storage] if image.storage else []
    if len(image.levels) > 1:
        details.append("levels " + ", ".join(f"{width} x {height}" for width, height in image.levels))
    if image.orientation and not image.orientation.startswith("1:"):
        details.append(f"orientation {image.orientation}")
    if image.left_out:
        details.append(f"{image.left_out} tiles or strips left out (white)")
    details += [f"{size.x:g} x {size.y:g} µm from {size.source}" for size in image.pixel_sizes]
    if image.icc_profile_bytes:
        details.append(f"ICC profile of {image.icc_profile_bytes} bytes")
    if image.problem:
        details.append(f"cannot be segmented: {image.problem}")
    return lines + [f"       {detail}" for detail in details]
