"""Measuring a model on a dataset, or a finished mask against annotations of its slide."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsi_segment.inference.evaluation.shifts import Shift

_FEW_CASES = 20
"""Intervals from fewer say little, and it is said."""

HELP = "Measure a model on a dataset, or a mask against annotations of its slide."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``wsi-segment evaluate``."""
    parser.add_argument("model", metavar="MODEL|MASK", help="name of a bundled model, model folder, or mask.zarr")
    parser.add_argument(
        "manifest",
        type=Path,
        metavar="DATA",
        help="of a model: manifest CSV, its folder, or a folder of a known layout; of a mask: GeoJSON or XML",
    )
    parser.add_argument("--grades", action="store_true", help="the mask's classes are grades: add the BACH score")
    parser.add_argument(
        "--data", action="append", default=[], metavar="FIELD=VALUE", help="option of the dataset's loader (repeatable)"
    )
    parser.add_argument("--split", choices=("train", "val", "test"), default="val", help="default: %(default)s")
    parser.add_argument("--window", type=int, metavar="PX", help="as in segmentation")
    parser.add_argument("--overlap", type=float, metavar="SHARE", help="as in segmentation")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda", "openvino"), default="auto", help="default: %(default)s"
    )
    parser.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16", "fp16", "int8"),
        default="auto",
        help="as in segmentation (default: %(default)s)",
    )
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="draw 12 images with truth and prediction")
    parser.add_argument(
        "--shifts",
        action="store_true",
        help="measure again on images that are paler, blurred, compressed, darker, resized",
    )
    parser.add_argument(
        "--shift",
        action="append",
        default=[],
        metavar="NAME=AMOUNT",
        help="measure one such change instead of all (repeatable)",
    )
    parser.add_argument("--curves", type=Path, metavar="PNG", help="draw the scores against the shifts")
    parser.add_argument("--record", action="store_true", help="write the figures into the model's card")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    from wsi_segment.inference.mask.summary import is_store_name

    if is_store_name(args.model.rstrip("/")):
        _refuse_shifts_of_masks(args)
        return _of_mask(args)
    return _of_model(args)


def _refuse_shifts_of_masks(args: argparse.Namespace) -> None:
    from wsi_segment.errors import InputError

    for flag, given in (("--shifts", args.shifts), ("--shift", args.shift), ("--curves", args.curves)):
        if given:
            raise InputError(f"{flag}: a finished mask has no images to change; give a model and a dataset")


def _shifts_of(args: argparse.Namespace) -> list[Shift]:
    """Return the shifts that the flags ask for."""
    from wsi_segment.errors import InputError
    from wsi_segment.extras import needs_extra
    from wsi_segment.inference.evaluation.shifts import parse_shift, standard_shifts

    if args.curves is not None and not (args.shifts or args.shift):
        raise InputError(f"--curves {args.curves}: of which shifts? add --shifts, or --shift NAME=AMOUNT")
    if args.curves is not None:
        with needs_extra("train", "--curves"):
            from wsi_segment.model.experiments.figures import load_matplotlib

            load_matplotlib()
    return [parse_shift(text) for text in args.shift] or (standard_shifts() if args.shifts else [])


def _of_mask(args: argparse.Namespace) -> int:
    import json

    from rich.console import Console

    from wsi_segment.inference.evaluation.mask_scores import evaluate_mask
    from wsi_segment.inference.progress_bar import make_bar
    from wsi_segment.inference.slides.location import slide_location

    store = slide_location(args.model)
    with make_bar(Console(stderr=True, quiet=args.quiet or args.json)) as bar:
        task = bar.add_task("comparing", total=None, unit="squares")
        result = evaluate_mask(store, args.manifest, lambda done, total: bar.update(task, completed=done, total=total))
    if result.left_out:
        bar.console.print(
            f"left out of {args.manifest}: {result.left_out}", highlight=False, soft_wrap=True, markup=False
        )
    figures = result.as_dict(args.grades)
    if args.json:
        print(json.dumps(figures | {"confusion": result.confusion.tolist()}, indent=2))
    elif not args.quiet:
        not_analysed = figures["not_analysed_mm2"]
        _print_table(f"{figures['annotated_mm2']:.3f} mm² annotated, {not_analysed:.3f} of it not analysed", figures)
    return 0


def _of_model(args: argparse.Namespace) -> int:
    import json
    from dataclasses import asdict

    from rich.console import Console

    from wsi_segment.errors import InputError
    from wsi_segment.inference.engine.networks.network import load_network
    from wsi_segment.inference.engine.windows import settle_sides
    from wsi_segment.inference.evaluation.contact_sheet import write_sheet
    from wsi_segment.inference.evaluation.model_scores import Evaluation, evaluate
    from wsi_segment.inference.evaluation.shifts import SHIFTS
    from wsi_segment.inference.evaluation.slide_dataset import read_training_data
    from wsi_segment.inference.progress_bar import make_bar
    from wsi_segment.model.card import CARD_FILE, find_model, write_card
    from wsi_segment.service.cli.field_values import parse_changes
    from wsi_segment.service.cli.targets import refuse_target

    shifts = _shifts_of(args)
    model, dataset = find_model(args.model), read_training_data(args.manifest, parse_changes("--data", args.data))
    if args.sheet is not None and not any(item.mask for item in dataset.split(args.split)):
        raise InputError(f"--sheet {args.sheet}: no image of {args.split} has a mask to draw; leave the sheet out")
    files = {args.manifest, *(model.folder / name for name in (CARD_FILE, *model.card.files))}
    files |= {file for item in dataset.items for file in (item.image, item.mask) if file is not None}
    for flag in ("sheet", "curves"):
        if getattr(args, flag) is not None:
            refuse_target(flag, getattr(args, flag), files)
    sides = settle_sides(model.card, args.window, args.overlap)
    network = load_network(model, args.device, args.precision)
    console = Console(stderr=True, quiet=args.quiet or args.json)
    for line in dataset.left_out:
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    with make_bar(console) as bar:
        task = bar.add_task(f"evaluating on {args.split}", total=None, unit="images")
        done_before = 0

        def measure(shift: Shift | None, baseline: int | None = None) -> Evaluation:
            return evaluate(
                dataset,
                args.split,
                card=model.card,
                network=network,
                window=args.window,
                overlap=args.overlap,
                shift=shift,
                baseline_class=baseline,
                step=lambda done, total: bar.update(
                    task, completed=done_before + done, total=total * (1 + len(shifts))
                ),
            )

        result = measure(None)
        rows = [{"shift": None, "amount": None, **result.headline()}]
        for index, shift in enumerate(shifts, start=1):
            done_before = index * len(result.images)
            rows.append(
                {"shift": shift.name, "amount": shift.amount, **measure(shift, result.baseline_class).headline()}
            )
    figures = result.as_dict() | asdict(sides) | {"precision": network.precision}
    if shifts:
        figures["shifts"] = rows[1:]
    if args.curves is not None:
        from wsi_segment.model.experiments.figures import draw_shifts

        draw_shifts({name: (kind.title, kind.unchanged) for name, kind in SHIFTS.items()}, rows, args.curves)
    if args.sheet is not None:
        write_sheet(
            args.sheet, dataset, result, card=model.card, network=network, window=args.window, overlap=args.overlap
        )
    if args.record:
        recorded = {args.split: {"dataset": dataset.name, **figures}}
        write_card(model.card.with_metrics(network.file, recorded), model.folder)
    if args.json:
        print(json.dumps(figures, indent=2))
    elif not args.quiet:
        heading = f"{figures['split']}: {figures['images']} images of {figures['cases']} cases have a mask"
        labelled = sum(image.item.label is not None for image in result.images)
        _print_table(heading + (f", {labelled} have a label" if labelled else ""), figures)
        _print_shifts(rows)
    return 0


def _print_shifts(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    if len(rows) == 1:
        return
    table = Table(box=None, pad_edge=False)
    for title in ("images", "macro F1", "lesion Dice", "calibration error"):
        table.add_column(title, justify="left" if title == "images" else "right")
    for row in rows:
        scores = (row[key] for key in ("macro_f1", "lesion_dice", "calibration_error"))
        table.add_row(
            "as they are" if row["shift"] is None else f"{row['shift']} {row['amount']:g}",
            *("" if value is None else f"{value:.3f}" for value in scores),
        )
    console = Console(highlight=False)
    console.print()
    console.print(table)


def _print_table(heading: str, figures: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    def text(value: float | None) -> str:
        return "" if value is None else f"{value:.3f}"

    console, base = Console(highlight=False), figures.get("majority_baseline", {})
    console.print(heading)
    table = Table(box=None, pad_edge=False)
    for title in ("class", "F1", "IoU", "precision", "recall"):
        table.add_column(title, justify="left" if title == "class" else "right")
    for name, row in figures["per_class"].items():
        table.add_row(name, *(text(row[key]) for key in ("f1", "iou", "precision", "recall")))
    console.print(table)
    if base:
        console.print(f"{'':17} model   always {base['class']}")
    for key in ("lesion_dice", "macro_f1", "micro_f1", "accuracy", "bach_score", "calibration_error", "image_accuracy"):
        if figures.get(key) is not None:
            between = ""
            if interval := figures.get("intervals_95", {}).get(key):
                few = f", of which there are only {figures['cases']}" if figures["cases"] < _FEW_CASES else ""
                between = f"   ({interval[0]:.3f} to {interval[1]:.3f} in 95 % of draws of cases{few})"
            line = f"{key:17} {text(figures[key])}   {text(base.get(key)):5}{between}".rstrip()
            console.print(line, soft_wrap=True)
