"""Writing a model folder from a training run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from wsi_segment.export.graph import to_onnx
from wsi_segment.export.parity import check_parity
from wsi_segment.files import refuse_existing
from wsi_segment.model.card import CARD_FILE, MODEL_FILE, WINDOW, ModelCard, sha256_of, write_card
from wsi_segment.model.training.run_folder import load_run

INTENDED_USE = "Research only. Not a medical device: not for diagnosis, prognosis or treatment of patients."


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export made."""

    folder: Path
    card: ModelCard
    largest_difference: float
    """Largest difference of a logit between torch and onnxruntime."""
    patches: int
    """Number of patches that was measured on."""


def export_run(
    run: Path,
    out: Path,
    *,
    name: str,
    version: str,
    limitations: str,
    description: str = "",
    overwrite: bool = False,
) -> Exported:
    """Export the best network of a run, check it against torch, and write its card.

    Args:
        run: Folder of a training run.
        out: The model folder to make.
        name: The card's.
        version: The card's.
        limitations: What the model must not be trusted with.
        description: The card's.
        overwrite: Replace an existing model.

    Raises:
        OutputError: the run has no checkpoint, or the folder holds a model.
        ModelError: graph and network differ.
    """
    refuse_existing(out / CARD_FILE, overwrite=overwrite)
    trained = load_run(run)
    graph = to_onnx(trained.network)
    difference = check_parity(trained.network, graph, trained.patches)
    out.mkdir(parents=True, exist_ok=True)
    onnx.save(graph, out / MODEL_FILE)
    described = trained.described
    origin = described.get("started_from")
    card = ModelCard(
        name=name,
        version=version,
        description=description,
        mpp=described["mpp"],
        mpp_source=described["mpp_source"],
        output_stride=trained.network.output_stride,
        upsampling=trained.network.upsampling,
        classes=trained.classes,
        trained_window=described["recipe"].get("patch", WINDOW),
        files={MODEL_FILE: sha256_of(out / MODEL_FILE)},
        started_from=None if origin is None else {"name": origin["name"], "sha256": origin["sha256"]},
        license=license_of(described),
        training_data=training_data_of(described),
        attribution=attribution_of(described),
        intended_use=INTENDED_USE,
        limitations=limitations,
        metrics={
            "selection": {
                "split": "val",
                "unit": "pixels of 128-px grid tiles",
                "step": int(trained.row["step"]),
                "macro_f1": round(trained.row["val_macro_f1"], 4),
                "micro_f1": round(trained.row["val_micro_f1"], 4),
                "lesion_dice": round(trained.row["val_lesion_dice"], 4),
            }
        },
    )
    write_card(card, out)
    return Exported(out, card, difference, len(trained.patches))


def training_data_of(described: dict[str, Any]) -> str:
    """Say what a run was trained on, and what the network that it began with had been, from ``run.json``."""
    images, origin = described["images"], described.get("started_from")
    own = f"{described['dataset']}: trained on {images['train']} images, chosen on {images['val']}; splits by case"
    return own if origin is None else f"{own}; began with {origin['name']} ({origin['training_data']})"


def license_of(described: dict[str, Any]) -> str:
    """Return the license of a run's images, and that of the weights that it began with where it is another one."""
    own, origin = described["license"], described.get("started_from")
    if origin is None or origin["license"] == own:
        return str(own)
    return f"{own}; of the weights that it began with: {origin['license']}"


def attribution_of(described: dict[str, Any]) -> str:
    """Name the authors of a run's images and of those that the network that it began with had seen."""
    named = [described["attribution"], (described.get("started_from") or {}).get("attribution", "")]
    return "; ".join(dict.fromkeys(text for text in named if text))
