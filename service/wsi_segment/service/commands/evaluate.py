"""Measuring a model on a dataset."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

HELP = "Measure a model on the images of a dataset that have masks."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.add_argument("model", metavar="MODEL", help="name of a bundled model, or model folder")
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help="manifest CSV, or the folder that holds it")
    parser.add_argument("--split", choices=("train", "val", "test"), default="val", help="default: val")
    parser.add_argument("--overlap", type=float, default=0.25, help="as in segmentation (default: 0.25)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    parser.add_argument("--record", action="store_true", help="write the figures into the model's card")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    import json

    from rich.console import Console

    from wsi_segment.inference.evaluation import evaluate
    from wsi_segment.inference.network import OnnxNetwork
    from wsi_segment.model.card import find_model, write_card
    from wsi_segment.model.manifest import read_dataset
    from wsi_segment.service.display import make_bar

    model, dataset = find_model(args.model), read_dataset(args.manifest)
    network = OnnxNetwork(model, args.device)
    console = Console(stderr=True, quiet=args.quiet or args.json)
    with make_bar(console) as bar:
        task = bar.add_task(f"evaluating on {args.split}", total=None, unit="images")
        result = evaluate(
            dataset,
            args.split,
            model.card,
            network,
            args.overlap,
            lambda done, total: bar.update(task, completed=done, total=total),
        )
    figures = result.as_dict() | {"overlap": args.overlap}
    if args.record:
        metrics = model.card.metrics | {args.split: {"dataset": dataset.name, **figures}}
        write_card(model.card.model_copy(update={"metrics": metrics}), model.folder)
    if args.json:
        print(json.dumps(figures | {"confusion": result.confusion.tolist()}, indent=2))
    elif not args.quiet:
        _print_table(figures)
    return 0


def _print_table(figures: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    def text(value: float | None) -> str:
        return "" if value is None else f"{value:.3f}"

    console, base = Console(highlight=False), figures["majority_baseline"]
    console.print(f"{figures['split']}: {figures['images']} images of {figures['cases']} cases")
    table = Table(box=None, pad_edge=False)
    for title in ("class", "F1", "IoU", "precision", "recall"):
        table.add_column(title, justify="left" if title == "class" else "right")
    for name, row in figures["per_class"].items():
        table.add_row(name, *(text(row[key]) for key in ("f1", "iou", "precision", "recall")))
    console.print(table)
    console.print(f"{'':14} model   always {base['class']}")
    for key in ("lesion_dice", "macro_f1", "micro_f1", "accuracy"):
        console.print(f"{key:14} {text(figures[key])}   {text(base[key])}")
