"""Turning a training run into a model folder, and adding files in other precisions to one."""

from __future__ import annotations

import argparse
import sys
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsi_segment.model.card import Model, Precision
    from wsi_segment.model.data.dataset import Dataset

HELP = "Export a training run to ONNX with a model card; add files in int8 or fp16."

_LIMITATIONS = (
    "Measured on its own dataset only. Other organs, stains, scanners and laboratories were not tried. "
    "Validate it on your own slides before you rely on anything it says."
)
_CALIBRATION_WINDOWS = 256
_LARGEST_RADIUS = 1000.0
"""Largest radius in µm; anything larger is not a gland."""
_LEAST_CLASSES = 3
"""With fewer there is one kind of lesion."""
_BATCH = 16
"""Windows that are run together while ranges are looked for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``wsi-segment export``."""
    add = parser.add_argument
    add("source", metavar="RUN|MODEL", help="folder that wsi-segment train made; or a model to copy")
    add("--out", required=True, type=Path, metavar="MODELDIR", help="model folder to make")
    add(
        "--average-with",
        action="append",
        default=[],
        metavar="MODEL|RUN",
        help="make weights the mean with those of this one, where both were trained --from one, or it began with it "
        "(repeatable)",
    )
    add("--int8", action="store_true", help="add a file in int8, calibrated on `train`, checked on `val`; for CPUs")
    add("--fp16", action="store_true", help="add a file in fp16, checked on `val`; for GPUs")
    add(
        "--calibrate",
        action="store_true",
        help="divide logits so that, on `val`, the model is right as often as its probabilities say",
    )
    add(
        "--balance-classes",
        type=float,
        metavar="STRENGTH",
        help="take back by how much more often `train` shows some kinds of lesion than others: 0 to 1, chosen on `val`",
    )
    add(
        "--applicability",
        action="store_true",
        help="state what the training images look like, so that slides unlike them get a warning",
    )
    add("--manifest", type=Path, metavar="DATA", help="dataset for what is measured on one or learnt of it")
    add("--data", action="append", default=[], metavar="FIELD=VALUE", help="option of its loader (repeatable)")
    add("--name", help="name on the card (default: that of the folder, or of the model)")
    add("--version", dest="model_version", help="version on the card (default: 0.1.0, or that of the model)")
    add("--description", help="a line for the card")
    add("--limitations", help="what the model must not be used for")
    add("--smoothing-um", type=float, metavar="UM", help="radius of averaged kinds, the first class apart; 0 for none")
    add("--overwrite", action="store_true", help="replace an existing model")
    add("--quiet", action="store_true", help="print nothing but errors")


def run(args: argparse.Namespace) -> int:
    """Export, and say how far graph and network, and the files of the folder, agree."""
    from wsi_segment.errors import InputError
    from wsi_segment.export.variants import all_or_nothing
    from wsi_segment.extras import needs_extra
    from wsi_segment.inference.evaluation.slide_dataset import read_training_data
    from wsi_segment.service.cli.field_values import parse_changes

    wanted: list[Precision] = [precision for precision in ("int8", "fp16") if getattr(args, precision)]
    wishes = {name.replace("_", "-"): getattr(args, name) for name in ("balance_classes", "calibrate", "applicability")}
    needing = [*(name for name, wish in wishes.items() if wish not in (None, False)), *wanted]
    if needing and args.manifest is None:
        raise InputError(f"--{needing[0]} needs a dataset to be checked on; give --manifest DATA, as train takes it")
    dataset = read_training_data(args.manifest, parse_changes("--data", args.data)) if needing else None
    with needs_extra("train", "export"), all_or_nothing(args.out):
        model = _whole_model(args)
        if args.balance_classes is not None:
            assert dataset is not None
            model = _balanced(model, dataset, args.balance_classes, quiet=args.quiet)
        if args.calibrate:
            assert dataset is not None
            model = _calibrated(model, dataset, quiet=args.quiet)
        if args.applicability:
            assert dataset is not None
            model = _with_applicability(model, dataset, quiet=args.quiet)
        for precision in wanted:
            assert dataset is not None
            model = _with_variant(model, precision, dataset, quiet=args.quiet)
    return 0


def _whole_model(args: argparse.Namespace) -> Model:
    """Make the folder, with the mean of weights where that is asked for, and state how kinds are smoothed."""
    from wsi_segment.errors import InputError
    from wsi_segment.export.variants import with_smoothing
    from wsi_segment.inference.engine.graphs.import_options import rest_not_first
    from wsi_segment.inference.engine.kinds.smooth import radius_of

    radius, strength = args.smoothing_um, args.balance_classes
    if strength is not None and not 0 <= strength <= 1:
        raise InputError(f"--balance-classes {strength:g} is out of range; give 0 to 1")
    if radius is not None and not 0 <= radius <= _LARGEST_RADIUS:
        raise InputError(f"--smoothing-um {radius:g} is out of range; give 0 to {_LARGEST_RADIUS:g}")
    model = _averaged(args) if args.average_with else _made_model(args)
    if radius is None:
        return model
    model = with_smoothing(model, radius)
    smoothed, names = radius_of(model.card) > 0, tuple(entry.name for entry in model.card.classes)
    if not args.quiet:
        how = f"averaged within {radius:g} µm, after it is decided what is lesion" if smoothed else "given cell by cell"
        print(f"{model.folder}: kinds of lesion are {how}")
    if smoothed and (rest := rest_not_first(names)) is not None:
        print(
            f"wsi-segment: warning: {model.folder}: its first class, {names[0]}, counts as the background now, though "
            f"{rest} sounds like it; --smoothing-um 0 takes that back",
            file=sys.stderr,
        )
    return model


def _averaged(args: argparse.Namespace) -> Model:
    """Make the folder of the mean of several networks; those that have none are refused before."""
    from wsi_segment.export.averaging import average, read_relatives
    from wsi_segment.inference.engine.graphs.sizes import state_checked_window

    networks = read_relatives(args.source, args.average_with)
    model = state_checked_window(average(_made_model(args), networks))
    if not args.quiet:
        names = " and ".join(one.origin.name for one in networks[1:])
        print(f"{model.folder}: weights are now the mean of its own and those of {names}")
    return model


def _made_model(args: argparse.Namespace) -> Model:
    """Make the folder, of a run or of another model."""
    from wsi_segment.export.variants import copy_model
    from wsi_segment.inference.engine.graphs.sizes import state_checked_window
    from wsi_segment.model.card import CARD_FILE, Model, bundled_models, find_model
    from wsi_segment.service.cli.model_names import settled_name

    name = settled_name(args.name, args.out.resolve().name)
    fields = {
        "name": None if args.name is None else name,
        "version": args.model_version,
        "description": args.description,
    }
    fields["limitations"] = args.limitations
    given = {name: value for name, value in fields.items() if value is not None}
    if args.source in bundled_models() or (Path(args.source) / CARD_FILE).is_file():
        model = copy_model(find_model(args.source), args.out, changes=given, overwrite=args.overwrite)
        if not args.quiet:
            print(f"{model.folder}: {model.card.name} {model.card.version}, copied from {args.source}")
        return model
    from wsi_segment.export.model_folder import export_run

    defaults = {"name": name, "version": "0.1.0", "limitations": _LIMITATIONS}
    exported = export_run(Path(args.source), args.out, overwrite=args.overwrite, **(defaults | given))
    model = state_checked_window(Model(exported.folder, exported.card))
    checked = model.card.checked_window
    if not args.quiet:
        sides = f"blocks of up to {checked} px" if checked else "windows alone; in larger ones it gives something else"
        print(
            f"{exported.folder}: {exported.card.name} {exported.card.version}; logits differ from the network's by at "
            f"most {exported.largest_difference:.1e} on {exported.patches} patches; to be used in {sides}"
        )
    return model


def _calibrated(model: Model, dataset: Dataset, *, quiet: bool) -> Model:
    """Divide the logits of ``model.onnx`` by the temperature that is right on ``val``; other files are dropped."""
    from dataclasses import replace

    from rich.console import Console

    from wsi_segment.export.last_convolution import scale_logits
    from wsi_segment.export.variants import without_earlier_logits, without_figures
    from wsi_segment.inference.engine.networks.network import load_network
    from wsi_segment.inference.evaluation.temperature import TEMPERATURES, find_temperature
    from wsi_segment.inference.progress_bar import make_bar
    from wsi_segment.model.card import MODEL_FILE, write_card

    with make_bar(Console(stderr=True, quiet=quiet)) as bar:
        task = bar.add_task("trying temperatures on val", total=None, unit="temperatures")
        network = load_network(model, "cpu", model.card.precision)
        found = find_temperature(
            dataset, model.card, network, lambda done, total: bar.update(task, completed=done, total=total)
        )
    before = model.card.metrics.get("calibration", {}).get("temperature", 1.0)
    figures = {"split": "val", "images": found.images, "temperature": round(before * found.value, 3)}
    figures |= {"error": round(found.error, 4), "error_before": round(found.error_before, 4)}
    card = model.card
    if found.value != 1:
        scale_logits(model.folder / MODEL_FILE, found.value)
        card = without_figures(without_earlier_logits(model), "class_balance")
    card = card.with_metrics(MODEL_FILE, {"calibration": figures})
    write_card(card, model.folder)
    if not quiet:
        last = found.value in (TEMPERATURES[0], TEMPERATURES[-1])
        more = ", the last of those tried: do it again from the new model" if last else ""
        print(
            f"{model.folder}: logits divided by {found.value:g}{more}; "
            f"calibration error on val {found.error_before:.3f} before, {found.error:.3f} now"
        )
    return replace(model, card=card)


def _balanced(model: Model, dataset: Dataset, strength: float, *, quiet: bool) -> Model:
    """Add to the logits of ``model.onnx`` what makes up for the shares of the kinds in ``train``.

    Other files are dropped, and figures, since classes change.
    """
    from dataclasses import replace

    from wsi_segment.errors import DatasetError
    from wsi_segment.export.class_balance import kind_offsets
    from wsi_segment.export.last_convolution import shift_logits
    from wsi_segment.export.variants import without_earlier_logits, without_figures
    from wsi_segment.inference.evaluation.model_scores import shared_names
    from wsi_segment.model.card import MODEL_FILE, write_card

    names, pixels = shared_names(dataset, model.card), dataset.count_pixels("train")
    if len(names) < _LEAST_CLASSES:
        raise DatasetError(f"{dataset.name}: has one kind of lesion, so none is rare; leave --balance-classes out")
    if missing := [name for name, count in zip(names[1:], pixels[1:], strict=True) if not count]:
        raise DatasetError(f"{dataset.name}: no pixel of {missing[0]!r} in `train`; leave --balance-classes out")
    offsets = kind_offsets(pixels, strength)
    shift_logits(model.folder / MODEL_FILE, offsets)
    before = model.card.metrics.get("class_balance", {}).get("strength", 0.0)
    card = without_figures(without_earlier_logits(model), "calibration")
    card = card.with_metrics(MODEL_FILE, {"class_balance": {"split": "train", "strength": round(before + strength, 3)}})
    write_card(card, model.folder)
    if not quiet:
        changes = ", ".join(f"{name} {offset:+.2f}" for name, offset in zip(names, offsets, strict=True))
        print(f"{model.folder}: added to the logits: {changes}")
    return replace(model, card=card)


def _with_applicability(model: Model, dataset: Dataset, *, quiet: bool) -> Model:
    """State on the card what the images of ``train`` look like, with a threshold of ``val``."""
    from dataclasses import replace

    from rich.console import Console

    from wsi_segment.errors import DatasetError
    from wsi_segment.inference.progress_bar import make_bar
    from wsi_segment.model.card import write_card
    from wsi_segment.model.likeness import Vector, describe, fit_profile

    features: dict[str, list[Vector]] = {"train": [], "val": []}
    items = [item for item in dataset.items if item.split in features]
    with make_bar(Console(stderr=True, quiet=quiet)) as bar:
        task = bar.add_task("describing the training images", total=len(items), unit="images")
        for item in items:
            found = describe(dataset.read_image(item))
            if found is not None:
                features[item.split].append(found)
            bar.advance(task)
    train, val = features["train"], features["val"]
    try:
        profile = fit_profile(
            train, val, f"{dataset.name}: {len(train)} images of train, threshold of {len(val)} of val"
        )
    except ValueError as error:
        raise DatasetError(f"{dataset.name}: {error} to say what is like them; leave --applicability out") from error
    unlike = sum(profile.is_unlike(one) for one in val) / len(val)
    model = replace(model, card=model.card.model_copy(update={"applicability": profile.model_dump(mode="json")}))
    write_card(model.card, model.folder)
    if not quiet:
        print(f"{model.folder}: {100 * unlike:.1f} % of the images of val are beyond what is usual of train")
    return model


def _with_variant(model: Model, precision: Precision, dataset: Dataset, *, quiet: bool) -> Model:
    """Add one file, after measuring it beside ``model.onnx`` on ``val``."""
    from rich.console import Console

    from wsi_segment.export.half_precision import halve
    from wsi_segment.export.quantisation import quantise
    from wsi_segment.export.variants import Gate, add_variant
    from wsi_segment.inference.engine.graphs.conversion import as_input
    from wsi_segment.inference.engine.networks.network import load_network
    from wsi_segment.inference.evaluation.agreement import compare, plain, real_windows
    from wsi_segment.inference.grid.lattice import BLOCK_STEP
    from wsi_segment.inference.progress_bar import make_bar
    from wsi_segment.model.metrics import score

    def quantised(source: Path, target: Path) -> None:
        windows = real_windows(dataset, "train", model.card, _CALIBRATION_WINDOWS)
        size = load_network(model, "cpu", model.card.precision).batch or _BATCH
        starts = range(0, len(windows) - len(windows) % size, size)
        batches = (as_input(windows[start : start + size], model.card.input) for start in starts)
        quantise(source, target, batches, width_step=gcd(model.card.window, BLOCK_STEP))

    def measured(tried: Model) -> Gate:
        with make_bar(Console(stderr=True, quiet=quiet)) as bar:
            task = bar.add_task(f"comparing {precision} on val", total=None, unit="images")
            found = compare(
                dataset,
                "val",
                card=tried.card,
                first=load_network(tried, "cpu", tried.card.precision),
                second=load_network(tried, "cpu", precision),
                step=lambda done, total: bar.update(task, completed=done, total=total),
            )
        figures: dict[str, Any] = {"val": {"dataset": dataset.name, **plain(found)}}
        after, before = (round(score(confusion).macro_f1, 4) for confusion in (found.second, found.first))
        return Gate(after, before, found.share, figures)

    added = add_variant(model, precision, quantised if precision == "int8" else halve, measured)
    if not quiet:
        one = next(one for one in added.card.variants or () if one.precision == precision)
        val = one.metrics["val"]
        print(
            f"{added.folder / one.file}: macro F1 on val {val['macro_f1']:.4f}, {val['default']['macro_f1']:.4f} in "
            f"{model.card.precision}; {100 * val['pixels_as_default']:.2f} % of the pixels have the same class"
        )
    return added
