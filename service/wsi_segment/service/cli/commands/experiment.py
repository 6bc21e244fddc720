"""Running the paper's experiments: many trainings, one result line for each, and the figures."""

from __future__ import annotations

import argparse
import importlib
import itertools
import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.console import Console

    from wsi_segment.model.data.dataset import Dataset
    from wsi_segment.model.experiments.experiment import PlannedRun, ResultFile

HELP = "Run a file of trainings over shares of labels and seeds, and draw the figures."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``wsi-segment experiment``."""
    parser.add_argument("config", type=Path, metavar="CONFIG", help="TOML file of blocks, such as docs/results/*.toml")
    parser.add_argument(
        "manifest", type=Path, metavar="MANIFEST", help="manifest CSV, its folder, or a folder of a known layout"
    )
    parser.add_argument(
        "--data", action="append", default=[], metavar="FIELD=VALUE", help="option of the dataset's loader (repeatable)"
    )
    parser.add_argument(
        "--runs", required=True, type=Path, metavar="DIR", help="folder of the training runs, which can be resumed"
    )
    parser.add_argument(
        "--results",
        required=True,
        type=Path,
        metavar="JSONL",
        help="file of result lines; figures and tables are put beside it",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="end after N runs; the same command continues")
    parser.add_argument("--figures-only", action="store_true", help="only draw and tabulate the result lines")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def run(args: argparse.Namespace) -> int:
    """Train and measure every run that has no result line yet, then draw."""
    from filelock import FileLock
    from rich.console import Console

    from wsi_segment.errors import InputError
    from wsi_segment.extras import needs_extra
    from wsi_segment.inference.evaluation.slide_dataset import read_training_data
    from wsi_segment.model.experiments.experiment import ResultFile, read_plan
    from wsi_segment.service.cli.field_values import parse_changes

    plan, results = read_plan(args.config), ResultFile(args.results)
    console = Console(stderr=True, quiet=args.quiet)
    with needs_extra("train", "an experiment"):
        from wsi_segment.model.experiments.figures import draw_figures
        from wsi_segment.model.experiments.result_tables import write_tables

        if not args.figures_only:  # before anything is read: what trains needs PyTorch
            importlib.import_module("wsi_segment.model.training.train")
    if args.limit is not None and args.limit < 0:
        raise InputError(f"--limit {args.limit} is too small; give 0 or more")
    args.results.parent.mkdir(parents=True, exist_ok=True)
    alone = FileLock(args.results.with_name(f"{args.results.name}.lock"))
    if not args.figures_only:
        dataset = read_training_data(args.manifest, parse_changes("--data", args.data))
        missing = [planned for planned in plan if not results.has(planned)]
        _refuse_wrong_encoders(missing)
        console.print(f"{len(plan)} runs, {len(plan) - len(missing)} of them done", highlight=False)
        args.runs.mkdir(parents=True, exist_ok=True)
        with closing(_locked_runs(missing, results, args.runs, console)) as locked:
            for number, planned in itertools.islice(locked, args.limit):
                console.print(f"{number}/{len(missing)} {planned.folder}", highlight=False)
                figures = _train_and_measure(
                    dataset, planned, folder=args.runs / planned.folder, device_name=args.device, console=console
                )
                with alone:
                    results.append(planned, figures)
                console.print(
                    f"  {planned.split}: macro F1 {figures['macro_f1']:.3f}, micro F1 {figures['micro_f1']:.3f}, "
                    f"lesion Dice {figures['lesion_dice']:.3f}",
                    highlight=False,
                )
    with alone:
        lines = results.read()
        pictures = draw_figures(lines, args.results)
        for path in (write_tables(lines, args.results, pictures), *pictures):
            console.print(f"{path}", highlight=False)
    return 0


def _refuse_wrong_encoders(missing: list[PlannedRun]) -> None:
    """Read each file that encoders start from, so that a wrong one ends the command before hours of training."""
    from wsi_segment.model.training.encoders.encoder_weights import read_encoder_weights

    for path in sorted({planned.encoder_weights for planned in missing if planned.encoder_weights is not None}):
        read_encoder_weights(path)


def _locked_runs(
    missing: list[PlannedRun], results: ResultFile, runs: Path, console: Console
) -> Generator[tuple[int, PlannedRun]]:
    """Yield each run that no other process works on or has finished, locked until the next one is requested."""
    from filelock import FileLock, Timeout

    for number, planned in enumerate(missing, start=1):
        try:
            with FileLock(runs / f"{planned.folder}.lock", timeout=0):
                if not results.has(planned):
                    yield number, planned
        except Timeout:
            console.print(f"{number}/{len(missing)} {planned.folder}: another process is at it", highlight=False)


def _train_and_measure(
    dataset: Dataset, planned: PlannedRun, folder: Path, device_name: Literal["auto", "cpu", "cuda"], console: Console
) -> dict[str, Any]:
    """Train a run and measure its ONNX export with the engine's own windows, as for a model card."""
    import tempfile

    from wsi_segment.export.model_folder import export_run
    from wsi_segment.inference.engine.networks.onnx_network import OnnxNetwork
    from wsi_segment.inference.engine.provenance import versions
    from wsi_segment.inference.evaluation.model_scores import evaluate
    from wsi_segment.inference.progress_bar import make_bar
    from wsi_segment.model.card import find_model, sha256_of
    from wsi_segment.model.data.patches import make_pool
    from wsi_segment.model.training.device import torch_version, training_device
    from wsi_segment.model.training.encoders.encoder_weights import read_encoder_weights
    from wsi_segment.model.training.label_shares import draw_subset
    from wsi_segment.model.training.progress import TrainingProgress
    from wsi_segment.model.training.run_folder import read_log
    from wsi_segment.model.training.train import train

    device = training_device(device_name)
    recipe, source, encoder = planned.recipe, planned.recipe.classification_patches, planned.encoder_weights
    weights = None if encoder is None else read_encoder_weights(encoder)
    origin = {} if encoder is None else {"encoder_sha256": sha256_of(encoder)}
    drawn = draw_subset(make_pool(dataset, "train", source), planned.setting, planned.seed, source)
    with make_bar(console) as bar:
        task = bar.add_task("training", total=recipe.steps, unit="steps")

        def show(progress: TrainingProgress) -> None:
            bar.update(task, completed=progress.step)

        train(
            dataset,
            folder,
            recipe,
            seed=planned.seed,
            progress=show,
            encoder_weights=weights,
            setting=planned.setting,
            device=device,
        )
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "model"
        export_run(folder, out, name="experiment", version="0", limitations="an experiment")
        model = find_model(str(out))
        measured = evaluate(
            dataset, planned.split, card=model.card, network=OnnxNetwork(model, device_name), overlap=planned.overlap
        )
    log = read_log(folder)
    best = max(log, key=lambda row: row["val_macro_f1"])
    return measured.as_dict() | {
        "val_macro_f1": round(best["val_macro_f1"], 4),
        "best_step": int(best["step"]),
        "segmentation_patches": len(drawn.pool.segmentation),
        "classification_patches": len(drawn.pool.classification),
        "segmentation_percent": round(drawn.segmentation_percent, 2),
        "classification_percent": round(drawn.classification_percent, 2),
        "dataset": dataset.name,
        **origin,
        "device": device.type,
        "seconds": round(log[-1]["seconds"], 1),
        "evaluation_seconds": round(time.monotonic() - started, 1),
        "versions": versions() | {"torch": torch_version()},
    }
