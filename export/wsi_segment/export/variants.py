"""Further files of a model folder: the same network in another precision, kept only if it answers as before."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wsi_segment.errors import ModelError
from wsi_segment.files import refuse_existing, replacing
from wsi_segment.model.card import CARD_FILE, MODEL_FILE, Model, ModelCard, Precision, Variant, sha256_of, write_card

LARGEST_LOSS = 0.003
"""Largest loss of macro F1 on ``val``, against the file ``model.onnx``."""
LEAST_AGREEMENT = 0.995
"""Share of the pixels of ``val`` that have the class that ``model.onnx`` gives them."""
_LEAST_CLASSES = 3
"""With fewer there is one kind of lesion, and nothing is averaged."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What a variant and ``model.onnx`` gave on the same images."""

    macro_f1: float
    macro_f1_before: float
    """Macro F1 of ``model.onnx``."""
    agreement: float
    """Share of pixels with the same class."""
    figures: dict[str, Any]
    """The variant's metrics, for the card."""

    def check(self, precision: Precision) -> None:
        """Refuse a variant that answers otherwise.

        Raises:
            ModelError: macro F1 fell by more than ``LARGEST_LOSS``, or fewer pixels than ``LEAST_AGREEMENT`` agree.
        """
        loss = round(self.macro_f1_before - self.macro_f1, 4)  # of four digits each; 0.7 - 0.697 is more than 0.003
        if not (loss <= LARGEST_LOSS and self.agreement >= LEAST_AGREEMENT):
            raise ModelError(
                f"{precision} is not kept: macro F1 on val is {self.macro_f1:.4f}, {self.macro_f1_before:.4f} before "
                f"(at most {LARGEST_LOSS} may be lost), and {100 * self.agreement:.2f} % of the pixels have the class "
                f"they had ({100 * LEAST_AGREEMENT:.1f} % are needed); run the model in {MODEL_FILE}'s precision"
            )


def copy_model(model: Model, out: Path, *, changes: dict[str, str], overwrite: bool = False) -> Model:
    """Write a model's files and card into another folder, or only the card into the model's own folder.

    Args:
        model: To copy.
        out: The folder to make; the model's own is allowed.
        changes: Fields of the card to replace.
        overwrite: Replace an existing model.

    Raises:
        OutputError: the folder holds a model.
        ModelError: a file of the model is missing or changed.
    """
    refuse_existing(out / CARD_FILE, overwrite=overwrite)
    files = [model.weights(file) for file in model.card.files]
    out.mkdir(parents=True, exist_ok=True)
    if out.resolve() != model.folder.resolve():
        for path in (*files, *model.folder.glob("LICENSE*")):
            shutil.copyfile(path, out / path.name)
    card = model.card.model_copy(update=changes)
    write_card(card, out)
    return Model(out, card)


@contextmanager
def all_or_nothing(folder: Path) -> Iterator[None]:
    """Leave a model's folder as it was if the block that makes or replaces the model fails, or is interrupted.

    Only the files of a model are put back or taken away; what else lies in the folder is left alone.
    """

    def files() -> list[Path]:
        found = (path for pattern in (CARD_FILE, "*.onnx", "LICENSE*") for path in folder.glob(pattern))
        return [path for path in found if path.is_file()]

    there, before = folder.exists(), {path.name for path in files()}
    with tempfile.TemporaryDirectory() as kept:
        for name in before:
            shutil.copyfile(folder / name, Path(kept, name))
        try:
            yield
        except BaseException:  # an interrupted export leaves nothing either
            for path in files():
                if path.name not in before:
                    path.unlink()
            for name in before:
                shutil.copyfile(Path(kept, name), folder / name)
            if not there and folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
            raise


def add_variant(
    model: Model, precision: Precision, make: Callable[[Path, Path], None], measure: Callable[[Model], Gate]
) -> Model:
    """Add a file in another precision to a model folder, with figures of its own, if it answers as before.

    Args:
        model: Its ``model.onnx`` is the source; a file of that precision is replaced.
        precision: Of the file.
        make: Writes the file, given source and target.
        measure: Compares the model's file of that precision with ``model.onnx``, given a model that has both.

    Raises:
        ModelError: the file cannot be made, or answers otherwise; the folder is as it was.
    """
    name = f"model.{precision}.onnx"
    with tempfile.TemporaryDirectory() as folder:
        tried = Path(folder)
        source = Path(shutil.copyfile(model.weights(), tried / MODEL_FILE))
        make(source, tried / name)
        variant = Variant(file=name, precision=precision)
        card = _with_variant(model.card, variant, sha256_of(tried / name))
        gate = measure(Model(tried, card))
        gate.check(precision)
        with replacing(model.folder / name) as file:
            file.write((tried / name).read_bytes())
    card = card.with_metrics(name, gate.figures)
    write_card(card, model.folder)
    return Model(model.folder, card)


def _with_variant(card: ModelCard, variant: Variant, digest: str) -> ModelCard:
    others = tuple(one for one in card.variants or () if one.precision != variant.precision)
    replaced = {one.file for one in card.variants or ()} - {one.file for one in others}
    files = {name: kept for name, kept in card.files.items() if name not in replaced}
    return card.model_copy(update={"variants": (*others, variant), "files": files | {variant.file: digest}})


def without_earlier_logits(model: Model) -> ModelCard:
    """Remove files that were made of logits that ``model.onnx`` no longer gives, and return the card without them."""
    for file in {one.file for one in model.card.variants or ()} - {MODEL_FILE}:
        (model.folder / file).unlink(missing_ok=True)
    changes = {"files": {MODEL_FILE: sha256_of(model.folder / MODEL_FILE)}, "variants": None}
    return model.card.model_copy(update=changes)


def without_figures(card: ModelCard, *kept: str) -> ModelCard:
    """Return the card without figures of other classes.

    What the network was chosen by stays, and what is ``kept`` of what was done to its logits, without the errors that
    were measured then.
    """
    metrics = {name: value for name, value in card.metrics.items() if name in ("selection", *kept)}
    if "calibration" in metrics:
        done = metrics["calibration"]
        metrics["calibration"] = {name: done[name] for name in ("split", "images", "temperature") if name in done}
    variants = card.variants and tuple(one.model_copy(update={"metrics": {}}) for one in card.variants)
    return card.model_copy(update={"metrics": metrics, "variants": variants})


def with_smoothing(model: Model, radius_um: float) -> Model:
    """State on a model's card within which radius its kinds of lesion are averaged, 0 for none.

    Figures of another radius are dropped, unless there is only one kind.
    """
    card, radius = model.card, radius_um or None
    if radius != (card.smoothing_um or None) and len(card.classes) >= _LEAST_CLASSES:
        card = without_figures(card, "class_balance", "calibration")
    card = card.model_copy(update={"smoothing_um": radius})
    write_card(card, model.folder)
    return replace(model, card=card)
