"""Training: two alternating updates a step, validation, checkpoints.

As published by Ciga and Martel (2021): first the segmentation patches with a cross entropy a pixel,
then the classification patches with a cross entropy a patch on the pooled map, each with its own
optimizer update. Everything random depends on seed and step alone, and a checkpoint holds all the
rest, so a training that was killed ends with the same weights as one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from wsi_segment.model.augment import augment
from wsi_segment.model.dataset import Dataset
from wsi_segment.model.errors import DatasetError
from wsi_segment.model.losses import classification_loss, segmentation_loss
from wsi_segment.model.metrics import confusion_matrix, lesion_dice, score
from wsi_segment.model.network import SegmentationNetwork, load_encoder, normalise
from wsi_segment.model.patches import Patch, PatchKind, PatchReader
from wsi_segment.model.recipe import Recipe
from wsi_segment.model.run_folder import RunFolder
from wsi_segment.model.sampling import PatchPool, Sampler, inverse_frequency, make_pool, to_batch

PARITY_PATCHES = 32
"""Real patches that a run keeps, on which its export is compared with the network."""


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """What a watcher is told after each step."""

    step: int
    steps: int
    segmentation_loss: float
    classification_loss: float
    val_macro_f1: float | None
    """Of the newest validation, None before the first."""


def train(
    dataset: Dataset,
    run: Path,
    recipe: Recipe,
    seed: int,
    progress: Callable[[TrainingProgress], None],
    encoder_weights: dict[str, Tensor] | None = None,
) -> None:
    """Train a network and leave ``best.pt``, ``last.pt``, ``log.csv`` and ``run.json`` in a folder.

    The best checkpoint is the one with the highest macro F1 over the pixels of the grid tiles of the
    validation images. The same call again continues; a finished run returns at once.

    Raises:
        DatasetError: nothing to train on, or nothing to validate on.
        OutputError: the folder holds a run of another dataset, recipe or seed.
    """
    torch.use_deterministic_algorithms(True)
    trainer = _Trainer(dataset, recipe, seed, encoder_weights)
    log = RunFolder(run, dataset, recipe, seed)
    log.keep_patches(trainer.validation_pixels(PARITY_PATCHES))
    state = log.resume()
    if state is not None:
        trainer.load_state_dict(state)
    started = time.monotonic() - trainer.seconds
    losses: list[tuple[float, float]] = []
    for step in range(trainer.step, recipe.steps):
        losses.append(trainer.train_step(step))
        if trainer.step % recipe.validate_every == 0 or trainer.step == recipe.steps:
            trainer.seconds = time.monotonic() - started
            row = trainer.validate()
            means = [sum(column) / len(column) for column in zip(*losses, strict=True)]
            row |= {"segmentation_loss": means[0], "classification_loss": means[1]}
            losses.clear()
            log.save(row, trainer.state_dict(), trainer.export_state())
        progress(TrainingProgress(trainer.step, recipe.steps, *trainer.newest_losses, trainer.val_macro_f1))


class _Trainer:
    """Network, optimizer and schedule: everything that changes while training."""

    def __init__(self, dataset: Dataset, recipe: Recipe, seed: int, encoder_weights: dict[str, Tensor] | None) -> None:
        self._recipe, self._seed, self._classes = recipe, seed, len(dataset.classes)
        torch.manual_seed(seed)
        self._network = SegmentationNetwork(self._classes, recipe.head)
        if encoder_weights is not None:
            load_encoder(self._network.encoder, encoder_weights)
        self._network = self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._average = (
            AveragedModel(self._network, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema_decay), use_buffers=True)  # type: ignore[no-untyped-call]
            if recipe.ema_decay
            else None
        )
        parameters = self._network.parameters()
        optimizer = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
        self._optimizer = optimizer(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        self._schedule = (
            torch.optim.lr_scheduler.OneCycleLR(self._optimizer, recipe.learning_rate, total_steps=recipe.steps + 1)
            if recipe.schedule == "one_cycle"
            else None
        )
        self._reader = PatchReader(dataset)
        pool, self._validation = make_pool(dataset, "train"), _grid(make_pool(dataset, "val"))
        if not pool.segmentation and not pool.classification:
            raise DatasetError(f"{dataset.name}: no training patch; masks need tiles of 128 px with one or two classes")
        if not self._validation:
            raise DatasetError(f"{dataset.name}: no validation patch; give some groups the split val, with masks")
        self._sampler = Sampler(pool, self._reader, recipe, seed)
        self._weights = inverse_frequency(pool, self._reader, self._classes) if recipe.class_weights != "none" else None
        self.step = 0
        self.seconds = 0.0
        self.val_macro_f1: float | None = None
        self.newest_losses = (float("nan"), float("nan"))

    def train_step(self, step: int) -> tuple[float, float]:
        """One segmentation and one classification update; their losses, NaN for a kind without patches."""
        self._network.train()
        self.newest_losses = (self._update(PatchKind.SEGMENTATION, step), self._update(PatchKind.CLASSIFICATION, step))
        if self._schedule is not None:
            self._schedule.step()
        if self._average is not None:
            self._average.update_parameters(self._network)
        self.step = step + 1
        return self.newest_losses

    def _update(self, kind: PatchKind, step: int) -> float:
        batch = self._sampler.batch(kind, step)
        if batch is None:
            return float("nan")
        pixels, ids, labels = batch
        generator = torch.Generator().manual_seed(hash((self._seed, step, kind is PatchKind.SEGMENTATION)) % 2**63)
        pixels, ids = augment(pixels, ids, self._recipe, generator)
        logits = self._network(normalise(pixels).contiguous(memory_format=torch.channels_last))
        if kind is PatchKind.SEGMENTATION:
            loss = segmentation_loss(self._network.full_size(logits), ids, self._weights)
        else:
            loss = classification_loss(logits, labels, self._recipe.pooling)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return float(loss.detach())

    def validate(self) -> dict[str, float]:
        """Scores over the pixels of the validation tiles, as a row of the log."""
        network = self._best_network().eval()
        confusion = np.zeros((self._classes, self._classes + 1), np.int64)
        with torch.inference_mode():
            for start in range(0, len(self._validation), 64):
                pixels, ids, _ = to_batch(self._reader, self._validation[start : start + 64])
                logits = network(normalise(pixels).contiguous(memory_format=torch.channels_last))
                predicted = self._network.full_size(logits).argmax(dim=1) + 1
                confusion += confusion_matrix(ids.byte().numpy(), predicted.byte().numpy(), self._classes)
        scores = score(confusion)
        self.val_macro_f1 = scores.macro_f1
        return {
            "step": self.step,
            "seconds": round(self.seconds, 1),
            "learning_rate": self._optimizer.param_groups[0]["lr"],
            "val_macro_f1": scores.macro_f1,
            "val_micro_f1": scores.micro_f1,
            "val_lesion_dice": lesion_dice(confusion),
        }

    def validation_pixels(self, count: int) -> NDArray[np.uint8]:
        """Pixels (count, 128, 128, 3) of validation patches spread over the split."""
        spread = np.linspace(0, len(self._validation) - 1, min(count, len(self._validation))).astype(int)
        return np.stack([self._reader.read(self._validation[i])[0] for i in spread])

    def _best_network(self) -> torch.nn.Module:
        return self._network if self._average is None else self._average.module

    def export_state(self) -> dict[str, Tensor]:
        """Weights that validation saw, which are those to export."""
        return {name: value.clone() for name, value in self._best_network().state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "network": self._network.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": None if self._schedule is None else self._schedule.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "val_macro_f1": self.val_macro_f1,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        self._network.load_state_dict(state["network"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._schedule is not None:
            self._schedule.load_state_dict(state["schedule"])
        self.step, self.seconds, self.val_macro_f1 = state["step"], state["seconds"], state["val_macro_f1"]


def _grid(pool: PatchPool) -> list[Patch]:
    return [patch for patch in (*pool.segmentation, *pool.classification) if patch.item.mask is not None]
