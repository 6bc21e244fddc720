"""Making a model folder of a network that was trained elsewhere."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsi_segment.inference.engine.graphs.import_model import Imported
    from wsi_segment.inference.engine.graphs.import_options import ImportOptions
    from wsi_segment.inference.mask.summary import Summary

HELP = "Write a card for an ONNX file made elsewhere, after running it on varied windows."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    add = parser.add_argument
    add("file", type=Path, metavar="FILE.onnx", help="the network")
    add("--out", required=True, type=Path, metavar="MODELDIR", help="model folder to make")
    add(
        "--classes",
        nargs="+",
        metavar="NAME",
        help="its classes in the order of its channels, separated by blanks or commas",
    )
    add("--mpp", type=float, metavar="UM", help="µm per pixel of the windows that it was trained on")
    add("--config", type=Path, metavar="JSON", help="WSInfer's config.json: classes, pixel size, window, normalisation")
    add(
        "--mean",
        type=float,
        nargs=3,
        metavar=("R", "G", "B"),
        help="mean to subtract from pixels of 0 to 1 (default: 0)",
    )
    add("--std", type=float, nargs=3, metavar=("R", "G", "B"), help="what to divide them by then (default: 1)")
    add("--colours", choices=("RGB", "BGR"), help="order of its input's channels (default: RGB)")
    add("--layout", choices=("NCHW", "NHWC"), help="order of its input axes, if the shape does not show it")
    add("--window", type=int, metavar="PX", help="side of its window, if it takes any (default: 256)")
    add("--output", metavar="NAME", help="which of several outputs holds the classes")
    add("--output-stride", type=int, metavar="PX", help="pixels per cell of its output (default: measured)")
    add("--margin", type=int, metavar="PX", help="border of a window without output, pixels (default: measured)")
    add(
        "--step",
        type=int,
        metavar="PX",
        help="side of the square that one vector per window paints (default: the window)",
    )
    add(
        "--upsampling",
        choices=("nearest", "bilinear"),
        default="nearest",
        help="how its output is enlarged (default: nearest)",
    )
    add("--name", help="name on the card (default: that of the folder)")
    add("--version", dest="model_version", default="1", help="default: 1")
    add("--description", default="", help="a line for the card")
    add("--license", default="not stated", help="licence of the weights")
    add("--training-data", default="not stated", help="what it was trained on")
    add("--slide", metavar="SLIDE", help="segment this slide and draw the result")
    add("--slide-mpp", type=float, metavar="UM", help="µm per pixel of that slide, if it states none")
    add("--preview", type=Path, metavar="PNG", help="the picture of --slide (default: preview.png in the folder)")
    add("--overwrite", action="store_true", help="replace an existing model")
    add("--quiet", action="store_true", help="print nothing but errors")


def run(args: argparse.Namespace) -> int:
    """Import, say what was found, and show it on a slide if there is one."""
    import tempfile

    from wsi_segment.errors import ModelError
    from wsi_segment.extras import needs_extra
    from wsi_segment.inference.engine.graphs.check import keeps_weights_elsewhere
    from wsi_segment.inference.engine.graphs.import_model import import_model

    options = _options_of(args)
    if not args.file.is_file():
        raise ModelError(f"{args.file}: no such file; give an ONNX file")
    _refuse_other_formats(args.file)
    with tempfile.TemporaryDirectory(prefix="wsi-segment-") as folder:
        source = args.file
        if keeps_weights_elsewhere(source):
            with needs_extra("train", "weights beside an ONNX file"):
                from wsi_segment.export.whole import save_whole
            source = Path(folder) / args.file.name
            save_whole(args.file, source)
        try:
            imported = import_model(source, args.out, options, overwrite=args.overwrite)
        except ModelError as error:  # the user knows the file by its own name
            raise ModelError(str(error).replace(str(source), str(args.file))) from error
    lines = _found(imported)
    if args.slide is not None:
        picture = args.preview or args.out / "preview.png"
        lines += _shown(_on_slide(args.slide, args.slide_mpp, imported, picture), picture)
    if not args.quiet:
        print("\n".join(lines))
    return 0


def _refuse_other_formats(file: Path) -> None:
    """Refuse by name what other frameworks write, of which onnxruntime would say that parsing failed."""
    from wsi_segment.errors import ModelError

    with file.open("rb") as content:
        head = content.read(8)
    for place, mark, what in (
        (0, b"PK\x03\x04", "a ZIP archive, as PyTorch and Keras write them"),
        (0, b"\x80\x02", "a pickle, as older PyTorch writes them"),
        (0, b"\x89HDF", "HDF5, as older Keras writes it"),
        (4, b"TFL3", "TensorFlow Lite"),
    ):
        if head[place:].startswith(mark):
            raise ModelError(f"{file}: not ONNX but {what}; export the network to ONNX where it was trained")


def _options_of(args: argparse.Namespace) -> ImportOptions:
    """Put together what flags and a WSInfer configuration say; flags count where both do."""
    from wsi_segment.errors import InputError
    from wsi_segment.inference.engine.graphs.import_options import ImportOptions
    from wsi_segment.inference.engine.graphs.wsinfer import read_wsinfer
    from wsi_segment.service.cli.model_names import settled_name

    config = None if args.config is None else read_wsinfer(args.config)
    names = tuple(name.strip() for word in args.classes or () for name in word.split(",") if name.strip())
    if config is None and (not names or args.mpp is None):
        missing = "`classes` is" if not names else "`mpp` is"
        raise InputError(f"{missing} missing; the network does not state it: give it, or a WSInfer `config`")
    mean, std = (None, None) if config is None else (config.mean, config.std)
    description = args.description or ("" if config is None else f"{config.architecture}, from the WSInfer zoo")
    return ImportOptions(
        name=settled_name(args.name, args.out.resolve().name),
        version=args.model_version,
        classes=names or (() if config is None else config.classes),
        mpp=args.mpp if args.mpp is not None or config is None else config.mpp,
        mpp_source="given at import" if args.mpp is not None or config is None else config.mpp_source,
        mean=mean if args.mean is None else tuple(args.mean),
        std=std if args.std is None else tuple(args.std),
        colours=args.colours,
        layout=args.layout,
        window=args.window if args.window is not None or config is None else config.window,
        output=args.output,
        output_stride=args.output_stride,
        margin=args.margin,
        step=args.step,
        upsampling=args.upsampling,
        unread=() if config is None else config.unread,
        description=description,
        license=args.license,
        training_data=args.training_data,
    )


def _found(imported: Imported) -> list[str]:
    """Say in a few lines what running the network has shown."""
    card, form = imported.card, imported.form
    paints = f"one vector per window, painting {card.output_stride} px"
    if card.cells > 1:
        paints = f"{card.cells} x {card.cells} cells of {card.output_stride} px, {card.margin} px of border without any"
    pixels = "as they are" if card.input.dtype == "uint8" else f"less {card.input.mean}, by {card.input.std}"
    pixels += ", blue first" if card.input.colours == "BGR" else ""
    return [
        f"{imported.folder}: {card.name} {card.version}, {len(card.classes)} classes: "
        + ", ".join(entry.name for entry in card.classes),
        f"  takes {card.window} px at {card.mpp:.4g} µm, {card.input.dtype} {card.input.layout}, pixels {pixels}, "
        + ("any number of windows" if form.batch is None else f"{form.batch} window(s) per call"),
        f"  gives {form.output} {form.layout}, {form.activation}: {paints}",
        *(f"  doubt: {doubt}" for doubt in imported.doubts),
    ]


def _on_slide(address: str, mpp: float | None, imported: Imported, picture: Path) -> Summary:
    """Segment a slide with the model, draw the mask over it, and keep the picture alone."""
    import tempfile

    from wsi_segment.inference.engine.options import SegmentOptions
    from wsi_segment.inference.engine.segment import segment
    from wsi_segment.inference.mask.mask import Mask
    from wsi_segment.inference.mask.preview import write_preview
    from wsi_segment.inference.slides.location import slide_location
    from wsi_segment.inference.slides.slide import Slide
    from wsi_segment.model.card import Model

    model = Model(imported.folder, imported.card)

    def draw(slide: Slide, store: Mask, summary: Summary) -> None:
        write_preview(picture, slide, slide_mpp=summary.mpp, store=store, card=model.card, areas=summary.classes)

    with tempfile.TemporaryDirectory(prefix="wsi-segment-") as folder:
        out = Path(folder) / "mask.zarr"
        return segment(slide_location(address), model, out, SegmentOptions(mpp=mpp), before_publishing=draw)


def _shown(summary: Summary, picture: Path) -> list[str]:
    shares = ", ".join(f"{area.name} {area.percent_of_tissue:.1f} %" for area in summary.classes)
    doubts = [f"  doubt: {doubt.message}" for doubt in summary.warnings]
    return [f"  {picture}: {summary.tissue_mm2:.3g} mm² of tissue: {shares}", *doubts]
