"""Pretraining an encoder without labels: two views of one image are alike, views of others are not.

SimCLR (Chen et al. 2020): of each image in a batch two places are drawn and augmented apart; a small projector with
batch norm, as in the paper's code, maps their pooled features to the sphere, and the loss (NT-Xent) asks which of all
other views is the partner. It needs no labels and no second network, and batches of 64 do on small data.
The weights start :func:`wsi_segment.model.training.train.train` in place of ImageNet's.
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from wsi_segment.errors import DatasetError, InputError, OutputError
from wsi_segment.files import replacing
from wsi_segment.model.card import RUN_FILE, WINDOW
from wsi_segment.model.data.dataset import Dataset
from wsi_segment.model.data.patches import Patch, PatchKind, PatchReader
from wsi_segment.model.training.augment import augment
from wsi_segment.model.training.device import CPU
from wsi_segment.model.training.recipe import make_recipe
from wsi_segment.model.training.resnet import Encoder, normalise
from wsi_segment.model.training.sampling import to_tensors

ENCODER_FILE, LAST_FILE, LOG_FILE = "encoder.pt", "last.pt", "log.csv"
CHECKPOINT_SECONDS = 60.0
LOG_EVERY = 50
"""Steps between lines of the log."""

_VIEWS: dict[str, Any] = {"jitter": (0.15, 0.2, 0.2, 0.03), "blur": 1.0, "flip": True}
"""How a view is augmented, as fields of a recipe. Views stained as differently as a network must bear in the end have
nothing in common for a random encoder, so that training does not start: at most 2 % of partners were matched after 300
steps without batch norm in the projector (chance is 0.8 %), and it was no better after 60 with it; with these views it
is a quarter after 40."""


@dataclass(frozen=True, slots=True)
class Pretraining:
    """Every choice of a pretraining.

    >>> Pretraining(steps=10).batch
    64
    """

    steps: int = 2000
    batch: int = 64
    """Images per step, two views of each."""
    learning_rate: float = 1e-3
    """Peak of one cycle of AdamW."""
    temperature: float = 0.2
    """Temperature of the loss; a small one weighs the most similar views alone."""
    scale: tuple[float, float] = (0.6, 1.6)
    """Views are enlarged by a factor from this range."""

    def __post_init__(self) -> None:
        for name in ("steps", "learning_rate", "temperature"):
            if getattr(self, name) <= 0:
                raise InputError(f"pretraining: {name} is {getattr(self, name)}; it must be positive")
        if self.batch < 2:
            raise InputError(f"pretraining: batch is {self.batch}; it takes two images to tell one from another")


@dataclass(frozen=True, slots=True)
class PretrainingProgress:
    """How far a pretraining is."""

    step: int
    steps: int
    loss: float
    matched: float
    """Share of the views of the step whose partner was the most similar one."""


class _Network(nn.Module):
    """Encoder and projector; (B, 3, h, w) to vectors of length 1, (B, 128)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        # batch norm takes away what all images have in common, which in pooled features is nearly everything
        self.projector = nn.Sequential(
            nn.Linear(256, 256, bias=False),
            nn.BatchNorm1d(256),
            nn.ReLU(),
            nn.Linear(256, 128, bias=False),
            nn.BatchNorm1d(128),
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.normalize(self.projector(self.encoder(x)[3].mean(dim=(2, 3))), dim=1)


def pretrain(
    dataset: Dataset,
    run: Path,
    options: Pretraining,
    *,
    seed: int = 0,
    progress: Callable[[PretrainingProgress], None] | None = None,
    device: torch.device = CPU,
) -> Path:
    """Train an encoder on the images of ``train``, whatever is known of them, and return its weights' path.

    The same call again continues, and ends with the same weights, bit for bit on a CPU.

    Args:
        dataset: Its masks and labels are not looked at.
        run: Folder for ``encoder.pt``, ``last.pt``, ``log.csv`` and ``run.json``.
        options: How.
        seed: Of weights, views and their order.
        progress: Called after each step.
        device: Where the network is.

    Raises:
        DatasetError: there are fewer than two images of ``train``, or one is smaller than a patch.
        OutputError: the folder holds another run.
    """
    torch.use_deterministic_algorithms(device.type == "cpu")
    trainer = _Pretrainer(dataset, options, seed, device)
    _claim(run, dataset, options, seed)
    rows: list[list[float]] = []
    if (run / LAST_FILE).exists():
        state = torch.load(run / LAST_FILE, map_location="cpu", weights_only=True)
        trainer.load_state_dict(state)
        rows = state["rows"]
    started, saved = time.monotonic() - trainer.seconds, time.monotonic()
    while trainer.step < options.steps:
        loss, matched = trainer.update()
        trainer.seconds = time.monotonic() - started
        last = trainer.step == options.steps
        if trainer.step % LOG_EVERY == 0 or last:
            rows.append([trainer.step, round(trainer.seconds, 1), round(loss, 5), round(matched, 4)])
        if last or time.monotonic() - saved >= CHECKPOINT_SECONDS:
            _save(run, trainer, rows)
            saved = time.monotonic()
        if progress is not None:
            progress(PretrainingProgress(trainer.step, options.steps, loss, matched))
    return run / ENCODER_FILE


class _Pretrainer:
    """All that changes while pretraining."""

    def __init__(self, dataset: Dataset, options: Pretraining, seed: int, device: torch.device) -> None:
        self._options, self._seed, self._device = options, seed, device
        self._items = dataset.split("train")
        if len(self._items) < 2:
            raise DatasetError(f"{dataset.name}: pretraining needs two images of train or more")
        self._shapes = [dataset.image_shape(item) for item in self._items]
        for item, shape in zip(self._items, self._shapes, strict=True):
            if min(shape) < WINDOW:
                raise DatasetError(f"{item.image}: {shape[1]} x {shape[0]} px is less than a patch of {WINDOW} px")
        self._reader = PatchReader(dataset)
        self._views = make_recipe("modern", _VIEWS)
        torch.manual_seed(seed)
        self.network = _Network().to(device)
        self._optimizer = torch.optim.AdamW(self.network.parameters(), lr=options.learning_rate, weight_decay=1e-4)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, options.learning_rate, total_steps=options.steps + 1
        )
        self.step, self.seconds = 0, 0.0

    def update(self) -> tuple[float, float]:
        """Take one step; return its loss and the share of views that found their partner."""
        self.network.train()
        rng = np.random.default_rng([self._seed, self.step])
        count = min(self._options.batch, len(self._items))
        chosen = rng.choice(len(self._items), size=count, replace=False)
        vectors = [self.network(self._view([int(i) for i in chosen], rng, half)) for half in (0, 1)]
        loss, matched = contrast(vectors[0], vectors[1], self._options.temperature)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._schedule.step()
        self.step += 1
        return float(loss.detach()), matched

    def _view(self, chosen: list[int], rng: np.random.Generator, half: int) -> Tensor:
        """Read a random place of each image and augment it, as the network's input."""
        read = []
        for index in chosen:
            height, width = self._shapes[index]
            y, x = int(rng.integers(height - WINDOW + 1)), int(rng.integers(width - WINDOW + 1))
            low, high = self._options.scale
            scale = float(np.exp(rng.uniform(np.log(low), np.log(high))))
            patch = Patch(item=self._items[index], y=y, x=x, kind=PatchKind.CLASSIFICATION, classes=())
            read.append(self._reader.read(patch, scale=scale))
        pixels, ids = to_tensors([image for image, _ in read], [mask for _, mask in read])
        generator = torch.Generator().manual_seed(hash((self._seed, self.step, half)) % 2**63)
        pixels, _ = augment(pixels.to(self._device), ids.to(self._device), self._views, generator)
        return normalise(pixels)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken."""
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self.step, self.seconds = state["step"], state["seconds"]


def contrast(first: Tensor, second: Tensor, temperature: float) -> tuple[Tensor, float]:
    """Return NT-Xent of two views of each image, and the share of views whose partner is the most similar.

    Args:
        first: Vectors of length 1, (B, F).
        second: Those of the other views, in the same order.
        temperature: Similarities are divided by it.
    """
    vectors = torch.cat([first, second])
    alike = vectors @ vectors.T / temperature
    alike = alike.masked_fill(torch.eye(len(vectors), dtype=torch.bool, device=alike.device), float("-inf"))
    partner = torch.arange(len(vectors), device=alike.device).roll(len(first))
    matched = (alike.argmax(dim=1) == partner).float().mean()
    return functional.cross_entropy(alike, partner), float(matched)


def _claim(run: Path, dataset: Dataset, options: Pretraining, seed: int) -> None:
    """Describe the run in its folder, or refuse one that is described otherwise."""
    items = [item.image.name for item in dataset.split("train")]
    choices = {"pretraining": asdict(options), "views": _VIEWS, "projector": "batch norm"}
    identity = json.loads(json.dumps(choices | {"dataset": dataset.name, "images": items, "seed": seed}))
    described = run / RUN_FILE
    if described.exists():
        before = json.loads(described.read_text(encoding="utf-8"))
        differing = next((key for key in identity if before.get(key) != identity[key]), None)
        if differing is not None:
            raise OutputError(f"{run}: holds a run that differs in its {differing}; choose another `out`")
        return
    run.mkdir(parents=True, exist_ok=True)
    with replacing(described, text=True) as file:
        file.write(json.dumps(identity, indent=2) + "\n")


def _save(run: Path, trainer: _Pretrainer, rows: list[list[float]]) -> None:
    """Write log, encoder and checkpoint; the checkpoint comes last."""
    with replacing(run / LOG_FILE, text=True) as text:
        writer = csv.writer(text)
        writer.writerow(["step", "seconds", "loss", "matched"])
        writer.writerows(rows)
    encoder = {name: value.cpu().clone() for name, value in trainer.network.encoder.state_dict().items()}
    for name, content in ((ENCODER_FILE, encoder), (LAST_FILE, trainer.state_dict() | {"rows": rows})):
        with replacing(run / name) as file:
            torch.save(content, file)
