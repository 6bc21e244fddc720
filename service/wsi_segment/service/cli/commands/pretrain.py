"""Pretraining an encoder on images without labels."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

HELP = "Pretrain an encoder on images without masks or labels, to start a training from."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``wsi-segment pretrain``."""
    add = parser.add_argument
    add("manifest", type=Path, metavar="MANIFEST", help="dataset, as train takes it; its images of train are used")
    add("--data", action="append", default=[], metavar="FIELD=VALUE", help="option of its loader (repeatable)")
    add("--out", required=True, type=Path, metavar="RUN", help="run folder; an existing run continues")
    add("--steps", type=int, default=2000, help="default: %(default)s")
    add("--batch", type=int, default=64, metavar="N", help="images per step, two views of each (default: %(default)s)")
    add("--learning-rate", type=float, default=1e-3, metavar="RATE", help="peak of one cycle (default: %(default)g)")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    add("--quiet", action="store_true", help="print nothing but errors")


def run(args: argparse.Namespace) -> int:
    """Pretrain, with a progress bar, and say how to go on."""
    from rich.console import Console

    from wsi_segment.errors import InputError
    from wsi_segment.extras import needs_extra
    from wsi_segment.inference.evaluation.slide_dataset import read_training_data
    from wsi_segment.inference.progress_bar import make_bar
    from wsi_segment.service.cli.field_values import parse_changes
    from wsi_segment.service.cli.printing import LINE_SECONDS

    if args.seed < 0:
        raise InputError(f"--seed {args.seed}: seeds start at 0")
    with needs_extra("train", "training"):
        from wsi_segment.model.training.device import training_device
        from wsi_segment.model.training.encoders.pretrain import Pretraining, PretrainingProgress, pretrain
    options = Pretraining(steps=args.steps, batch=args.batch, learning_rate=args.learning_rate)
    dataset = read_training_data(args.manifest, parse_changes("--data", args.data))
    console = Console(stderr=True, quiet=args.quiet)
    told = time.monotonic()
    with make_bar(console) as bar:
        task = bar.add_task("pretraining", total=options.steps, unit="steps")

        def show(progress: PretrainingProgress) -> None:
            nonlocal told
            said = f"loss {progress.loss:.3f}, {100 * progress.matched:.0f} % matched"
            bar.update(task, completed=progress.step, description=said)
            if not console.is_terminal and time.monotonic() - told >= LINE_SECONDS:  # a line for the log
                told = time.monotonic()
                console.print(f"step {progress.step}/{progress.steps}: {said}", soft_wrap=True)

        device = training_device(args.device)
        weights = pretrain(dataset, args.out, options, seed=args.seed, progress=show, device=device)
    if not args.quiet:
        print(f"{weights}: start from it with wsi-segment train … --encoder-weights {weights}")
    return 0
