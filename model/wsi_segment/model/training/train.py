"""Training: updates by both kinds of patches, validation, checkpoints.

As published by Ciga and Martel (2021): first the segmentation patches with a cross entropy per pixel,
then the classification patches with a cross entropy per patch on the pooled map, each with its own
optimizer update; or, as a recipe may say, both in one. Everything random depends on seed and step
alone, and a checkpoint holds all the rest, so a training that was killed ends with the same weights
as one that was not: bit for bit on a CPU, up to the rounding of sums in no fixed order on a GPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from wsi_segment.errors import DatasetError
from wsi_segment.model.data.dataset import Dataset
from wsi_segment.model.data.patches import Patch, PatchKind, PatchPool, PatchReader, make_pool
from wsi_segment.model.metrics import confusion_matrix, lesion_dice, score
from wsi_segment.model.training.augment import augment
from wsi_segment.model.training.device import CPU
from wsi_segment.model.training.label_shares import LabelSetting, draw_subset
from wsi_segment.model.training.objective import Objective, taught_classes
from wsi_segment.model.training.progress import TrainingProgress
from wsi_segment.model.training.recipe import Recipe
from wsi_segment.model.training.resnet import SegmentationNetwork, normalise
from wsi_segment.model.training.run_folder import RunFolder
from wsi_segment.model.training.sampling import (
    Batch,
    Sampler,
    inverse_frequency,
    inverse_label_frequency,
    to_tensors,
)
from wsi_segment.model.training.starting_point import StartingPoint, measure_batch_norm

_Tensors = tuple[Tensor, ...] | list[Tensor]

PARITY_PATCHES = 32
"""Real patches that a run keeps, on which its export is compared with the network."""
BATCH_NORM_STEPS = 8
"""Batches of so many steps tell the statistics of batch norm in a network that is trained further."""
CHECKPOINT_SECONDS = 60.0
"""So much of a training at most is done again after it was stopped; a validation leaves a checkpoint too."""


def train(
    dataset: Dataset,
    run: Path,
    recipe: Recipe,
    *,
    seed: int = 0,
    progress: Callable[[TrainingProgress], None] | None = None,
    encoder_weights: dict[str, Tensor] | None = None,
    setting: LabelSetting | None = None,
    start: StartingPoint | None = None,
    device: torch.device = CPU,
) -> None:
    """Train a network and leave ``best.pt``, ``last.pt``, ``log.csv`` and ``run.json`` in a folder.

    The best checkpoint is the one with the highest macro F1 over the pixels of the grid tiles of the
    validation images. The same call again continues.

    >>> from wsi_segment.model import make_recipe, read_dataset
    >>> recipe = make_recipe("paper", {"steps": 1, "segmentation_batch": 2, "classification_batch": 2})
    >>> train(read_dataset(Path("data")), Path("run"), recipe, seed=3)
    >>> sorted(path.name for path in Path("run").iterdir())
    ['best.pt', 'last.pt', 'log.csv', 'patches.npy', 'run.json']

    Args:
        dataset: What to learn from.
        run: The folder; it is created where it is missing.
        recipe: How.
        seed: Of the weights, the batches, the augmentation, and of what a setting draws.
        progress: Called after each step; None for nobody.
        encoder_weights: To start the encoder from, see :mod:`wsi_segment.model.training.encoders.encoder_weights`.
        setting: The part of the training patches that may be used; None for all.
        start: A finished network to train further; its head takes the place of the recipe's. It is validated first, and
            stays the best checkpoint until a later one is better.
        device: Where the network is; a run may go on on another one.

    Raises:
        DatasetError: nothing to train on or to validate on, labels of images that name one class only, or classes that
            are not those of ``start``.
        OutputError: the folder holds a run of another dataset, recipe, seed, encoder, setting or start.
    """
    torch.use_deterministic_algorithms(device.type == "cpu")  # CUDA has none for the pixel-wise cross entropy
    if start is not None:
        start.check_classes(dataset)
        recipe = start.recipe(recipe)
    log = RunFolder(
        run,
        dataset=dataset,
        recipe=recipe,
        seed=seed,
        encoder_weights=encoder_weights,
        setting=setting,
        started_from=None if start is None else start.origin,
    )
    trainer = _Trainer(dataset, recipe, seed=seed, encoder_weights=encoder_weights, setting=setting, device=device)
    log.create(trainer.validation_pixels(PARITY_PATCHES))
    state = log.resume()
    if state is not None:
        trainer.load_state_dict(state)
    elif start is not None:
        trainer.start_from(start.network)
        log.save(trainer.validate(), trainer.state_dict(), trainer.export_state())
    started = time.monotonic() - trainer.seconds
    saved = time.monotonic()
    for step in range(trainer.step, trainer.steps):
        newest = trainer.train_step(step)
        trainer.seconds = time.monotonic() - started
        if trainer.step % recipe.validate_every == 0 or trainer.step == trainer.steps:
            row = trainer.validate()
            log.save(row, trainer.state_dict(), trainer.export_state())
            saved = time.monotonic()
        elif time.monotonic() - saved >= CHECKPOINT_SECONDS:
            log.checkpoint(trainer.state_dict())
            saved = time.monotonic()
        if progress is not None:
            progress(TrainingProgress(trainer.step, trainer.steps, *newest, trainer.val_macro_f1))


class _Trainer:
    """Network, optimizer and schedule: everything that changes while training."""

    def __init__(
        self,
        dataset: Dataset,
        recipe: Recipe,
        *,
        seed: int,
        encoder_weights: dict[str, Tensor] | None,
        setting: LabelSetting | None,
        device: torch.device,
    ) -> None:
        self._recipe, self._seed, self._classes, self._device = recipe, seed, len(dataset.classes), device
        torch.manual_seed(seed)
        self._network = SegmentationNetwork(self._classes, recipe.head, recipe.head_upsampling)
        if encoder_weights is not None:
            self._network.encoder.load_state_dict(encoder_weights)
        self._network = self._network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._average = (
            AveragedModel(self._network, multi_avg_fn=_moving_average(recipe.ema_decay), use_buffers=True)
            if recipe.ema_decay
            else None
        )
        parameters = self._network.parameters()
        optimizer = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
        self._optimizer = optimizer(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        self._reader = PatchReader(dataset)
        source = recipe.classification_patches
        pool, self._validation = make_pool(dataset, "train", source), _grid(make_pool(dataset, "val", source))
        if setting is not None:
            pool = draw_subset(pool, setting, seed, source).pool
        if not pool.segmentation and not pool.classification:
            raise DatasetError(f"{dataset.name}: no training patch; masks need tiles of 128 px with one or two classes")
        if not self._validation:
            needed = "with masks of one or two classes in 128 px, or set classification_patches=images"
            raise DatasetError(f"{dataset.name}: no validation patch; give some groups the split val, {needed}")
        self._sampler = Sampler(pool, self._reader, recipe, seed)
        self.steps = recipe.epochs * self._sampler.steps_per_epoch or recipe.steps
        self._labelled = bool(pool.classification)
        self._objective = Objective(
            recipe,
            pixel_weights=(
                None
                if recipe.class_weights == "none"
                else inverse_frequency(pool, self._reader, self._classes).to(device)
            ),
            label_weights=(
                inverse_label_frequency(pool, self._classes).to(device)
                if recipe.class_weights == "both_losses"
                else None
            ),
            taught=taught_classes(dataset, pool, recipe, device),
        )
        self._schedule = (
            torch.optim.lr_scheduler.OneCycleLR(self._optimizer, recipe.learning_rate, total_steps=self.steps + 1)
            if recipe.schedule == "one_cycle"
            else None
        )
        self.step = 0
        self.seconds = 0.0
        self.val_macro_f1: float | None = None
        self._losses: list[tuple[float, float]] = []
        """Of the steps since the last validation."""

    def start_from(self, network: SegmentationNetwork) -> None:
        """Take over a finished network; its batch norm gets the statistics of this training's first patches."""
        self._network.load_state_dict(network.state_dict())
        drawn = ((batch, step) for step in range(BATCH_NORM_STEPS) for batch in self._sampler.batches(step))
        measure_batch_norm(self._network, (self._as_input(self._augmented(*one).pixels) for one in drawn))
        if self._average is not None:
            self._average.module.load_state_dict(self._network.state_dict())

    def train_step(self, step: int) -> tuple[float, float]:
        """Update by each kind or once by both, and return the loss of each kind, NaN for one without patches."""
        segmentation, classification = self.update(step)
        newest = float(segmentation), float(classification)
        self._losses.append(newest)
        return newest

    def update(self, step: int) -> tuple[Tensor, Tensor]:
        """See :meth:`train_step`; the losses stay on the device."""
        self._network.train()
        batches = [self._augmented(batch, step) for batch in self._sampler.batches(step)]
        seen = dict.fromkeys(PatchKind, torch.tensor(float("nan")))
        for together in [[batch] for batch in batches] if self._recipe.update == "alternating" else [batches]:
            pixels = torch.cat([batch.pixels for batch in together])
            logits = self._network(self._as_input(pixels))
            parts = list(logits.split([len(batch.pixels) for batch in together]))
            losses = self._losses_of(together, parts)
            self._optimizer.zero_grad(set_to_none=True)
            torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
            seen |= {kind: loss.detach() for kind, loss in losses.items()}
        if self._schedule is not None:
            self._schedule.step()
        if self._average is not None:
            self._average.update_parameters(self._network)
        self.step = step + 1
        return seen[PatchKind.SEGMENTATION], seen[PatchKind.CLASSIFICATION]

    def _as_input(self, pixels: Tensor) -> Tensor:
        return normalise(pixels.to(self._device)).contiguous(memory_format=torch.channels_last)

    def _augmented(self, batch: Batch, step: int) -> Batch:
        segmentation = batch.kind is PatchKind.SEGMENTATION
        generator = torch.Generator().manual_seed(hash((self._seed, step, segmentation)) % 2**63)
        pixels, ids = augment(batch.pixels.to(self._device), batch.ids.to(self._device), self._recipe, generator)
        return Batch(batch.kind, pixels, ids, batch.labels.to(self._device))

    def _losses_of(self, batches: list[Batch], logits: list[Tensor]) -> dict[PatchKind, Tensor]:
        """Return what an update adds up; of a mixed batch the loss of its pixels and that of its class vectors."""
        if self._recipe.update != "mixed":
            pairs = zip(batches, logits, strict=True)
            return {batch.kind: self._objective.of_kind(batch, part, self._network) for batch, part in pairs}
        pixels, vectors = self._objective.of_mixed(batches, logits, self._network, labelled=self._labelled)
        both = {PatchKind.SEGMENTATION: pixels, PatchKind.CLASSIFICATION: vectors}
        return {kind: loss for kind, loss in both.items() if loss is not None}

    def validate(self) -> dict[str, float]:
        """Score the pixels of the validation tiles, as a row of the log."""
        network = self._best_network().eval()
        confusion = np.zeros((self._classes, self._classes + 1), np.int64)
        with torch.inference_mode():
            for start in range(0, len(self._validation), 64):
                read = [self._reader.read(patch) for patch in self._validation[start : start + 64]]
                pixels, ids = to_tensors([image for image, _ in read], [mask for _, mask in read])
                logits = network(self._as_input(pixels))
                predicted = self._network.full_size(logits).argmax(dim=1) + 1
                confusion += confusion_matrix(ids.byte().numpy(), predicted.byte().cpu().numpy(), self._classes)
        scores = score(confusion)
        self.val_macro_f1 = scores.macro_f1
        losses = np.mean(self._losses or [(np.nan, np.nan)], axis=0).tolist()
        self._losses.clear()
        return {
            "step": self.step,
            "seconds": round(self.seconds, 1),
            "learning_rate": self._optimizer.param_groups[0]["lr"],
            "segmentation_loss": losses[0],
            "classification_loss": losses[1],
            "val_macro_f1": scores.macro_f1,
            "val_micro_f1": scores.micro_f1,
            "val_lesion_dice": lesion_dice(confusion),
        }

    def validation_pixels(self, count: int) -> NDArray[np.uint8]:
        """Read pixels (count, 128, 128, 3) of validation patches spread over the split."""
        spread = np.linspace(0, len(self._validation) - 1, min(count, len(self._validation))).astype(int)
        return np.stack([self._reader.read(self._validation[i])[0] for i in spread])

    def _best_network(self) -> torch.nn.Module:
        return self._network if self._average is None else self._average.module

    def export_state(self) -> dict[str, Tensor]:
        """Return the weights that validation saw, which are those to export."""
        return {name: value.cpu().clone() for name, value in self._best_network().state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        return {
            "network": self._network.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": None if self._schedule is None else self._schedule.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "losses": list(self._losses),
            "val_macro_f1": self.val_macro_f1,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken."""
        self._network.load_state_dict(state["network"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._schedule is not None:
            self._schedule.load_state_dict(state["schedule"])
        self.step, self.seconds, self.val_macro_f1 = state["step"], state["seconds"], state["val_macro_f1"]
        self._losses = state["losses"]


def _moving_average(decay: float) -> Callable[[_Tensors, _Tensors, int | Tensor], None]:
    """Return an exponential moving average; its decay rises from 0.1, so a short training forgets its first weights.

    After n updates it is min(decay, (1 + n) / (10 + n)), as in TensorFlow's ExponentialMovingAverage.
    """

    def update(averages: _Tensors, current: _Tensors, count: int | Tensor) -> None:
        n = int(count)
        get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(averages, current, count)  # type: ignore[no-untyped-call]

    return update


def _grid(pool: PatchPool) -> list[Patch]:
    """Return each place of the grid that has a mask, once."""
    patches = [patch for patch in (*pool.segmentation, *pool.classification) if patch.item.mask is not None]
    return list({(patch.item, patch.y, patch.x): patch for patch in patches}.values())
