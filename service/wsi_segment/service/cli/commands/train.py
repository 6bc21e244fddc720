"""Training a network on a dataset of images."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsi_segment.model.data.dataset import Dataset
    from wsi_segment.model.training.starting_point import StartingPoint

_OTHER_SIZE = 1.15
"""Pixel sizes that differ by more than this factor show a network other sizes than it knows."""

HELP = "Train a network on images with pixel masks and image-level labels."

_EVERY_PIXEL = "every outlined pixel is learnt from; with --set classification_patches=tiles, whole tiles alone are"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``wsi-segment train``."""
    parser.add_argument(
        "manifest", type=Path, metavar="MANIFEST", help="manifest CSV, its folder, or a folder of a known layout"
    )
    parser.add_argument(
        "--data", action="append", default=[], metavar="FIELD=VALUE", help="option of the dataset's loader (repeatable)"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="RUN", help="run folder; an existing run continues")
    parser.add_argument(
        "--from", dest="start", metavar="MODEL|RUN", help="train a finished model (name or folder) or run further"
    )
    parser.add_argument(
        "--recipe", help="modern, paper, paper-0.1 or fine-tune (default: modern; with --from, fine-tune)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="change a field of the recipe (repeatable)"
    )
    parser.add_argument("--steps", type=int, help="short for --set steps=N")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument(
        "--encoder-weights", type=Path, metavar="FILE", help="ResNet-18 state dict to start the encoder from"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def run(args: argparse.Namespace) -> int:
    """Train, with a progress bar, and draw the curves."""
    from rich.console import Console

    from wsi_segment.errors import InputError
    from wsi_segment.extras import needs_extra
    from wsi_segment.inference.evaluation.slide_dataset import read_training_data
    from wsi_segment.inference.progress_bar import make_bar
    from wsi_segment.model.training.recipe import make_recipe
    from wsi_segment.service.cli.field_values import parse_changes
    from wsi_segment.service.cli.printing import LINE_SECONDS

    changes = parse_changes("--set", args.set)
    if args.steps is not None:
        changes["steps"] = args.steps
    name = args.recipe or ("modern" if args.start is None else "fine-tune")
    recipe = asked = make_recipe(name, changes)
    if args.seed < 0:
        raise InputError(f"--seed {args.seed}: seeds start at 0")
    settled = {"head", "head_upsampling"} & set(changes) if args.start is not None else set()
    if settled:
        raise InputError(f"--set {min(settled)}: --from {args.start} settles it; leave it out")
    if args.start is not None and args.encoder_weights is not None:
        raise InputError("--encoder-weights and --from both say what to start from; give one of them")
    dataset = read_training_data(args.manifest, parse_changes("--data", args.data))
    partial = name == "modern" and dataset.partly_labelled and not recipe.mosaic
    if partial and "classification_patches" not in changes:  # nearly all its tiles hold unlabelled pixels, or one class
        recipe = make_recipe(name, changes | {"classification_patches": "images"})
    every_pixel = recipe != asked
    with needs_extra("train", "training"):
        from wsi_segment.export.finished_network import read_starting_point
        from wsi_segment.model.training.curves import draw_curves
        from wsi_segment.model.training.device import training_device
        from wsi_segment.model.training.encoders.encoder_weights import read_encoder_weights
        from wsi_segment.model.training.progress import TrainingProgress
        from wsi_segment.model.training.run_folder import read_log
        from wsi_segment.model.training.train import train
    device = training_device(args.device)
    weights = None if args.encoder_weights is None else read_encoder_weights(args.encoder_weights)
    start = None if args.start is None else read_starting_point(args.start)
    if start is not None and "patch" not in changes:
        recipe = replace(recipe, patch=start.patch)
    console = Console(stderr=True, quiet=args.quiet)
    told_first = [*dataset.left_out, _counts(dataset), *([_EVERY_PIXEL] if every_pixel else [])]
    for line in (*told_first, *([] if start is None else _beginning(start, dataset))):
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    told = time.monotonic()
    with make_bar(console) as bar:
        task = bar.add_task("training", total=recipe.steps, unit="steps")

        def show(progress: TrainingProgress) -> None:
            nonlocal told
            best = "" if progress.val_macro_f1 is None else f", val macro F1 {progress.val_macro_f1:.3f}"
            kinds = (progress.segmentation_loss, progress.classification_loss)
            parts = [f"{loss:.3f}" for loss in kinds if not math.isnan(loss)]  # NaN: no patches of that kind
            losses = f"loss {' + '.join(parts)}{best}"
            bar.update(task, completed=progress.step, total=progress.steps, description=losses)
            due = progress.step % recipe.validate_every == 0 or time.monotonic() - told >= LINE_SECONDS
            if not console.is_terminal and due:  # a line for the log
                told = time.monotonic()
                console.print(f"step {progress.step}/{progress.steps}: {losses}", soft_wrap=True)

        train(
            dataset,
            args.out,
            recipe,
            seed=args.seed,
            progress=show,
            encoder_weights=weights,
            start=start,
            device=device,
        )
    draw_curves(args.out)
    if not args.quiet:
        rows = read_log(args.out)
        best = max(rows, key=lambda row: row["val_macro_f1"])
        before = f", {rows[0]['val_macro_f1']:.3f} before" if start is not None else ""
        print(
            f"{args.out}: best at step {best['step']:.0f}, on val: macro F1 {best['val_macro_f1']:.3f}{before}, "
            f"micro F1 {best['val_micro_f1']:.3f}, lesion Dice {best['val_lesion_dice']:.3f}; see curves.png"
        )
    return 0


def _beginning(start: StartingPoint, dataset: Dataset) -> Iterator[str]:
    """Say what a training goes on from, and what of it does not fit the images."""
    yield f"going on from {start.origin.name} (sha256 {start.origin.sha256[:12]}…)"
    if not 1 / _OTHER_SIZE <= dataset.mpp / start.mpp <= _OTHER_SIZE:
        yield (
            f"{dataset.name} is learnt at {dataset.mpp:g} µm per pixel, {start.origin.name} knows {start.mpp:g}: "
            "all looks larger or smaller to it than before"
        )


def _counts(dataset: Dataset) -> str:
    """Count the images to train on and to validate on."""
    parts = []
    for split in ("train", "val"):
        items = dataset.split(split)
        masks, labels = sum(item.mask is not None for item in items), sum(item.label is not None for item in items)
        parts.append(f"{split} {len(items)} images ({masks} with a mask, {labels} with a label)")
    return f"{dataset.name}: {', '.join(parts)}"
