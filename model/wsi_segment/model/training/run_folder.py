"""The folder of a training run: its description, log, checkpoints, and the weights to export."""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsi_segment.errors import OutputError
from wsi_segment.files import replacing
from wsi_segment.model.card import RUN_FILE, SegmentClass
from wsi_segment.model.data.dataset import SPLITS, Dataset
from wsi_segment.model.training.label_shares import LabelSetting
from wsi_segment.model.training.recipe import Recipe
from wsi_segment.model.training.resnet import SegmentationNetwork
from wsi_segment.model.training.starting_point import Origin

LOG_FILE, LAST_FILE, BEST_FILE = "log.csv", "last.pt", "best.pt"
PATCHES_FILE = "patches.npy"
_SHORT = 60
"""Characters of two values that an error shows; digests and whole lists of classes are longer."""
LOG_COLUMNS = (
    "step",
    "seconds",
    "learning_rate",
    "segmentation_loss",
    "classification_loss",
    "val_macro_f1",
    "val_micro_f1",
    "val_lesion_dice",
)


class RunFolder:
    """The files of a run; each takes its name only when it is complete and on the disk."""

    def __init__(
        self,
        folder: Path,
        *,
        dataset: Dataset,
        recipe: Recipe,
        seed: int,
        encoder_weights: dict[str, Tensor] | None = None,
        setting: LabelSetting | None = None,
        started_from: Origin | None = None,
    ) -> None:
        self._folder = folder
        self._best = float("-inf")
        identity = {
            "dataset": dataset.name,
            "images": {split: len(dataset.split(split)) for split in SPLITS},
            "items": _digest_of_items(dataset),
            "classes": [entry.model_dump(mode="json") for entry in dataset.classes],
            "mpp": dataset.mpp,
            "mpp_source": dataset.mpp_source,
            "attribution": dataset.attribution,
            "license": dataset.license,
            "seed": seed,
            "recipe": asdict(recipe),
            "encoder_weights": None if encoder_weights is None else _digest(encoder_weights),
            "setting": None if setting is None else asdict(setting),
            "started_from": None if started_from is None else asdict(started_from),
        }
        self._identity = json.loads(json.dumps(identity))
        # a pixel size that was corrected since changes nothing about images, which are trained on as they are
        compared = set(self._identity) - {"mpp_source"} - (set() if any(i.box for i in dataset.items) else {"mpp"})
        described = folder / RUN_FILE
        if described.exists():
            before = json.loads(described.read_text(encoding="utf-8"))
            now = {key: value for key, value in self._identity.items() if key in compared}
            if difference := _difference(before, now):
                raise OutputError(f"{folder}: holds a run that differs in {difference}; choose another `out`")

    def create(self, patches: NDArray[np.uint8]) -> None:
        """Create the folder, once everything is known to be in order.

        Args:
            patches: Some real ones to keep, on which the export is compared with the network, (B, 128, 128, 3).
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        np.save(self._folder / PATCHES_FILE, patches)
        if not (self._folder / RUN_FILE).exists():
            with replacing(self._folder / RUN_FILE, text=True) as file:
                file.write(json.dumps(self._identity, indent=2) + "\n")

    def resume(self) -> dict[str, Any] | None:
        """Return the newest checkpoint's state, or None for a new run; log lines after it are dropped."""
        last = self._folder / LAST_FILE
        if not last.exists():
            (self._folder / LOG_FILE).unlink(missing_ok=True)
            return None
        state: dict[str, Any] = torch.load(last, map_location="cpu", weights_only=True)
        rows = [row for row in read_log(self._folder) if row["step"] <= state["step"]]
        self._write_log(rows)
        self._best = max((row["val_macro_f1"] for row in rows), default=self._best)
        return state

    def save(self, row: dict[str, float], state: dict[str, Any], weights: dict[str, Tensor]) -> None:
        """Keep a validation's row, and the weights if they are the best so far; the checkpoint comes last."""
        rows = [*read_log(self._folder), row]
        self._write_log(rows)
        if row["val_macro_f1"] > self._best:
            self._best = row["val_macro_f1"]
            self._replace(BEST_FILE, {"weights": weights, "row": row})
        self._replace(LAST_FILE, state)

    def checkpoint(self, state: dict[str, Any]) -> None:
        """Keep where a training is between two validations."""
        self._replace(LAST_FILE, state)

    def _replace(self, name: str, content: dict[str, Any]) -> None:
        with replacing(self._folder / name) as file:
            torch.save(content, file)

    def _write_log(self, rows: list[dict[str, float]]) -> None:
        with replacing(self._folder / LOG_FILE, text=True) as file:
            writer = csv.DictWriter(file, LOG_COLUMNS)
            writer.writeheader()
            writer.writerows(rows)


@dataclass(frozen=True, slots=True)
class TrainedRun:
    """The best weights of a finished or running training, and what they are."""

    network: SegmentationNetwork
    classes: tuple[SegmentClass, ...]
    described: dict[str, Any]
    """Contents of ``run.json``."""
    row: dict[str, float]
    """The validation that the weights won."""
    patches: NDArray[np.uint8]
    """Real patches to compare an export on, (B, 128, 128, 3)."""


def load_run(folder: Path) -> TrainedRun:
    """Load the best network of a run folder, in evaluation mode.

    Raises:
        OutputError: the folder holds no run, or none that was validated yet.
    """
    described_path, best = folder / RUN_FILE, folder / BEST_FILE
    if not described_path.is_file():
        raise OutputError(f"{folder}: no training run there; wsi-segment train makes one")
    if not best.is_file():
        raise OutputError(f"{folder}: the run has no validated checkpoint yet; let it train on")
    described = json.loads(described_path.read_text(encoding="utf-8"))
    classes = tuple(SegmentClass.model_validate(entry) for entry in described["classes"])
    network = SegmentationNetwork(
        len(classes), described["recipe"]["head"], described["recipe"].get("head_upsampling", "nearest")
    )
    content = torch.load(best, weights_only=True)
    network.load_state_dict(content["weights"])
    return TrainedRun(
        network=network.eval(),
        classes=classes,
        described=described,
        row=content["row"],
        patches=np.load(folder / PATCHES_FILE),
    )


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    """Name the first difference between two runs, with both values where they are short; None where they agree."""
    for key, value in now.items():
        there = before.get(key)
        if there == value:
            continue
        if key == "recipe" and isinstance(there, dict):
            there = json.loads(json.dumps(asdict(Recipe()))) | there  # fields that its version did not know yet
            if there == value:
                continue
            name = next(name for name in value if there.get(name) != value[name])
            return f"its recipe: {name} is {there.get(name)} there and {value[name]} here"
        both = f"{there} there and {value} here"
        return f"its {key}: {both}" if len(both) <= _SHORT else f"its {key}"
    return None


def _digest_of_items(dataset: Dataset) -> str:
    """Digest what is known of each image; files by name, so that a dataset may be moved before a run continues."""
    digest = hashlib.sha256()
    for item in dataset.items:
        mask = None if item.mask is None else item.mask.name
        known: list[object] = [item.image.name, mask, item.label, item.group, item.split, item.box]
        if item.slide_mpp is not None:
            known.append(item.slide_mpp)
        digest.update(json.dumps(known).encode())
    return digest.hexdigest()


def _digest(state: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        if isinstance(state[name], Tensor):
            digest.update(state[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def read_log(folder: Path) -> list[dict[str, float]]:
    """Return the rows of a run's log, empty where there is none."""
    path = folder / LOG_FILE
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
