"""Training a network on a dataset of images."""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsi_segment.model.data.dataset import Dataset

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
    parser.add_argument("--recipe", default="modern", help="modern, paper or paper-0.1 (default: %(default)s)")
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
    recipe = asked = make_recipe(args.recipe, changes)
    if args.seed < 0:
        raise InputError(f"--seed {args.seed}: seeds start at 0")
    dataset = read_training_data(args.manifest, parse_changes("--data", args.data))
    partial = args.recipe == "modern" and dataset.partly_labelled and not recipe.mosaic
    if partial and "classification_patches" not in changes:  # nearly all its tiles hold unlabelled pixels, or one class
        recipe = make_recipe(args.recipe, changes | {"classification_patches": "images"})
    with needs_extra("train", "training"):
        from wsi_segment.model.training.curves import draw_curves
        from wsi_segment.model.training.device import training_device
        from wsi_segment.model.training.encoders.encoder_weights import read_encoder_weights
        from wsi_segment.model.training.progress import TrainingProgress
        from wsi_segment.model.training.run_folder import read_log
        from wsi_segment.model.training.train import train
    device = training_device(args.device)
    weights = None if args.encoder_weights is None else read_encoder_weights(args.encoder_weights)
    console = Console(stderr=True, quiet=args.quiet)
    for line in (*dataset.left_out, _counts(dataset), *([_EVERY_PIXEL] if recipe != asked else [])):
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

        train(dataset, args.out, recipe, seed=args.seed, progress=show, encoder_weights=weights, device=device)
    draw_curves(args.out)
    if not args.quiet:
        best = max(read_log(args.out), key=lambda row: row["val_macro_f1"])
        print(
            f"{args.out}: best at step {best['step']:.0f}, on val: macro F1 {best['val_macro_f1']:.3f}, "
            f"micro F1 {best['val_micro_f1']:.3f}, lesion Dice {best['val_lesion_dice']:.3f}; see curves.png"
        )
    return 0


def _counts(dataset: Dataset) -> str:
    """Count the images to train on and to validate on."""
    parts = []
    for split in ("train", "val"):
        items = dataset.split(split)
        masks, labels = sum(item.mask is not None for item in items), sum(item.label is not None for item in items)
        parts.append(f"{split} {len(items)} images ({masks} with a mask, {labels} with a label)")
    return f"{dataset.name}: {', '.join(parts)}"
